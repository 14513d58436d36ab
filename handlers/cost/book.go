package cost

import (
	"bytes"
	_ "embed" // the default prices
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
)

//go:embed prices.yaml
var defaultPrices []byte

// DefaultBook returns the book that is built in.
func DefaultBook() (*Book, error) { return Load(bytes.NewReader(defaultPrices)) }

// Book knows prices by provider, model, service tier and day. It does not change
// and is safe for concurrent use. The zero Book knows no price.
type Book struct {
	periods map[key][]period // newest first
	list    []PriceRow
	hash    string
}

type key struct {
	provider string // name of a provider, or the kind of several
	model    string
	tier     string // empty is the vendor's usual one
}

// period is the prices of a model from one day until the next period begins.
type period struct {
	from time.Time
	rows []*row // by maxInput; the row without a limit is last
}

// Price returns what a provider charges for usage at a moment: the amount rounded
// to [schemas.MoneyScale] places, its currency, and which row of the book said
// so: provider/model@from, and "<=" and the band's limit or ":" and the tier where the row
// has them.
//
// Rows for the provider's name come before rows for its kind. It is not known
// where the book has no row for that model, tier, moment and size of input, or
// where the row lacks the price of some of the tokens, of a part of them or of a
// unit that was used.
func (b *Book) Price(target schemas.Target, at time.Time, usage schemas.Usage) (amount decimal.Decimal, currency, version string, known bool) {
	r := b.find(&target, at, &usage)
	if r == nil {
		return decimal.Decimal{}, "", "", false
	}
	amount, known = r.amount(&usage)
	if !known {
		return decimal.Decimal{}, "", "", false
	}
	return amount, r.currency, r.version, true
}

// find returns the row that applies, or nil. Rows of a tier come before shares of
// the usual tier's rows.
func (b *Book) find(target *schemas.Target, at time.Time, usage *schemas.Usage) *row {
	k := key{target.Provider, target.Model, usualTier(usage.Tier)}
	if r := b.row(k, at, usage); r != nil || target.Kind == "" || target.Kind == target.Provider {
		return r
	}
	k.provider = target.Kind
	return b.row(k, at, usage)
}

// row returns the row of a key, or nil.
func (b *Book) row(k key, at time.Time, usage *schemas.Usage) *row {
	if r, there := b.banded(k, at, usage); there || k.tier == "" {
		return r
	}
	tier := k.tier
	k.tier = ""
	if r, _ := b.banded(k, at, usage); r != nil {
		return r.tiers[tier]
	}
	return nil
}

// banded returns the row for the size of the input, and whether any is in force.
func (b *Book) banded(k key, at time.Time, usage *schemas.Usage) (*row, bool) {
	p := valid(b.periods[k], at)
	if p == nil {
		return nil, false
	}
	for _, r := range p.rows {
		if r.maxInput == 0 || usage.InputTokens <= r.maxInput {
			return r, true
		}
	}
	return nil, true
}

// valid returns the period that at lies in, or nil before the first.
func valid(periods []period, at time.Time) *period {
	for i := range periods {
		if !at.Before(periods[i].from) {
			return &periods[i]
		}
	}
	return nil
}

// usualTier makes the vendors' words for their usual tier one: OpenAI says
// default, Anthropic standard, Vertex AI ON_DEMAND. Other tiers have prices of their
// own.
func usualTier(tier string) string {
	switch tier {
	case "", "default", "standard", "auto", "STANDARD", "ON_DEMAND":
		return ""
	}
	return strings.ToLower(tier)
}

// Knows reports whether the book has any row for a target at a moment.
func (b *Book) Knows(target schemas.Target, at time.Time) bool {
	k := key{provider: target.Provider, model: target.Model}
	if valid(b.periods[k], at) != nil {
		return true
	}
	k.provider = target.Kind
	return valid(b.periods[k], at) != nil
}

// Hash names the text that the book was read from: the first 12 hex digits of its
// SHA-256.
func (b *Book) Hash() string { return b.hash }

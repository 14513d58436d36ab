package ledger

import (
	"slices"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/cost"
	"github.com/sira-ai/sira/schemas"
)

// Replay prices costs again.
type Replay struct {
	Book *cost.Book
	// Old is the book that the costs were booked with. It proves usage that is known
	// by its totals only: they are right if they come to the booked amount.
	Old *cost.Book
	// Kinds are the kinds of the providers, by name.
	Kinds map[string]string
	// Totals takes totals that nothing proves for all that was used.
	Totals bool
	// Final is usage that became known later, by the cost's id, "#" and the attempt.
	Final map[string]schemas.Usage
}

// Verdict says what came of a cost.
type Verdict string

// The verdicts.
const (
	Same     Verdict = "same"     // the ledger is right
	Changed  Verdict = "changed"  // there are adjustments
	Unproven Verdict = "unproven" // its usage is not known well enough to be priced again
)

// Price returns the adjustments that bring a cost to what the book says, none or
// one for each currency. A cost that it can't prove is left as it is, as is one whose
// known price the book no longer has: a price is not taken back by a book that forgot it.
func (r *Replay) Price(c *Cost) ([]Adjustment, Verdict) {
	lines, settled, ok := r.lines(c)
	if !ok {
		return nil, Unproven
	}
	state, amount, currency := cost.Total(lines)
	if state == schemas.CostUnpriced && c.State != schemas.CostUnpriced {
		return nil, Unproven
	}
	if state == c.State && amount.Equal(c.Amount) && currency == c.Currency {
		return nil, Same
	}
	kind := KindPrice
	switch {
	case c.State == schemas.CostUnpriced:
		kind = KindPriced
	case settled:
		kind = KindSettled
	}
	base := Adjustment{Cost: c, Seq: c.Adjustments + 1, Kind: kind, State: state, CurrencyAfter: currency}
	for i := range lines {
		base.Prices = append(base.Prices, lines[i].PriceVersion)
	}
	var out []Adjustment
	add := func(amount decimal.Decimal, currency string) {
		a := base
		a.Amount, a.Currency = amount, currency
		out = append(out, a)
	}
	if currency != c.Currency && !c.Amount.IsZero() {
		add(c.Amount.Neg(), c.Currency)
		add(amount, currency)
		return out, Changed
	}
	add(amount.Sub(c.Amount), currency)
	return out, Changed
}

// lines prices every line. It reports whether an estimate became final, and false
// where the usage of a line is not known.
func (r *Replay) lines(c *Cost) (out []schemas.CostLine, settled, ok bool) {
	out = make([]schemas.CostLine, len(c.Lines))
	for i := range c.Lines {
		l := &c.Lines[i]
		usage, final := r.Final[c.ID+"#"+strconv.Itoa(l.Attempt)]
		if final {
			usage.Source = schemas.UsageReported
			settled = true
		} else if usage, ok = r.usage(c, l); !ok {
			return nil, false, false
		}
		out[i] = schemas.CostLine{State: schemas.CostUnpriced}
		target := schemas.Target{Provider: l.Provider, Kind: r.Kinds[l.Provider], Model: l.Model}
		amount, currency, version, known := r.Book.Price(target, c.Time, usage)
		if !known || usage.Source == "" && usage.InputTokens == 0 && usage.OutputTokens == 0 && len(usage.Units) == 0 {
			continue
		}
		out[i].State, out[i].Amount, out[i].Currency, out[i].PriceVersion = schemas.CostEstimated, amount, currency, version
		if usage.Source == schemas.UsageReported {
			out[i].State = schemas.CostPriced
		}
	}
	return out, settled, true
}

// usage returns what a line consumed, and whether that is certain enough.
func (r *Replay) usage(c *Cost, l *Line) (schemas.Usage, bool) {
	if l.Usage != nil {
		return *l.Usage, true
	}
	if len(c.Lines) != 1 {
		return schemas.Usage{}, false
	}
	u := schemas.Usage{
		InputTokens: c.InputTokens, CacheReadTokens: c.CacheRead, CacheWriteTokens: c.CacheWrite, OutputTokens: c.OutputTokens,
		Tier: tierOf(l.Price), Source: schemas.UsageEstimated,
	}
	if l.State == schemas.CostPriced {
		u.Source = schemas.UsageReported
	}
	if l.Whole || l.State == schemas.CostUnpriced || l.Price == "" {
		return u, l.Whole || r.Totals
	}
	target := schemas.Target{Provider: l.Provider, Kind: r.Kinds[l.Provider], Model: l.Model}
	for _, book := range []*cost.Book{r.Old, r.Book} {
		if book == nil {
			continue
		}
		if amount, _, version, known := book.Price(target, c.Time, u); known && version == l.Price && amount.Equal(l.Amount) {
			return u, true
		}
	}
	return u, r.Totals
}

// tierOf returns the tier that a row's name carries behind its day and size.
func tierOf(version string) string {
	at := strings.LastIndexByte(version, '@')
	if at < 0 {
		return ""
	}
	_, tier, _ := strings.Cut(version[at:], ":")
	return tier
}

// Group is what the costs of one tenant, model and currency came to.
type Group struct {
	Tenant   string `json:"tenant"`
	Model    string `json:"model"`
	Currency string `json:"currency"`
}

// Sum is the money of a Group before and after, exact.
type Sum struct {
	Group

	Costs    int             `json:"costs"`
	Changed  int             `json:"changed"`
	Unproven int             `json:"unproven"`
	Unpriced int             `json:"unpriced"` // after
	Before   decimal.Decimal `json:"before"`
	After    decimal.Decimal `json:"after"`
	Change   decimal.Decimal `json:"change"` // After less Before
}

// Sums add up what a replay did.
type Sums map[Group]*Sum

// Add takes in one cost with its adjustments. A cost counts in the group of its
// currency afterwards.
func (s Sums) Add(c *Cost, adjustments []Adjustment, v Verdict) {
	currency, state := c.Currency, c.State
	if len(adjustments) > 0 {
		currency, state = adjustments[0].CurrencyAfter, adjustments[0].State
	}
	g := s.of(c, currency)
	g.Costs++
	switch v {
	case Changed:
		g.Changed++
	case Unproven:
		g.Unproven++
	}
	if state == schemas.CostUnpriced {
		g.Unpriced++
	}
	was := s.of(c, c.Currency)
	was.Before, was.After = was.Before.Add(c.Amount), was.After.Add(c.Amount)
	for _, a := range adjustments {
		to := s.of(c, a.Currency)
		to.After, to.Change = to.After.Add(a.Amount), to.Change.Add(a.Amount)
	}
}

func (s Sums) of(c *Cost, currency string) *Sum {
	key := Group{c.Tenant, c.Model, currency}
	if s[key] == nil {
		s[key] = &Sum{Group: key}
	}
	return s[key]
}

// List returns the sums by tenant, model and currency; those that hold nothing are
// left out.
func (s Sums) List() []Sum {
	out := make([]Sum, 0, len(s))
	for _, v := range s {
		if v.Costs > 0 || !v.Before.IsZero() || !v.After.IsZero() {
			out = append(out, *v)
		}
	}
	slices.SortFunc(out, func(a, b Sum) int {
		if c := strings.Compare(a.Tenant, b.Tenant); c != 0 {
			return c
		}
		if c := strings.Compare(a.Model, b.Model); c != 0 {
			return c
		}
		return strings.Compare(a.Currency, b.Currency)
	})
	return out
}

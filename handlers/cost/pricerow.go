package cost

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/shopspring/decimal"
)

// flat is the word for a part that costs what its side costs.
const flat = "flat"

// PriceRow is a row of a price book as it was written.
type PriceRow struct {
	Version  string `json:"version"`
	Provider string `json:"provider"`
	Model    string `json:"model"`
	Tier     string `json:"tier,omitempty"`
	From     string `json:"from"` // a day, UTC
	Currency string `json:"currency"`
	Per      int64  `json:"per"`                        // tokens that Prices and Parts are for
	MaxInput int64  `json:"max_input_tokens,omitempty"` // 0: any
	// Prices are by column: input, output, cache_read, cache_write, cache_write_1h.
	Prices map[string]decimal.Decimal `json:"prices,omitempty"`
	Parts  map[string]decimal.Decimal `json:"parts,omitempty"`
	Flat   []string                   `json:"flat,omitempty"`  // parts that cost what their side costs
	Units  map[string]decimal.Decimal `json:"units,omitempty"` // for one unit each
	Tiers  map[string]decimal.Decimal `json:"tiers,omitempty"` // shares of Prices and Parts
	Source string                     `json:"source,omitempty"`
}

// Rows returns all rows by provider, model, tier, day and size.
func (b *Book) Rows() []PriceRow {
	out := slices.Clone(b.list)
	slices.SortStableFunc(out, func(a, b PriceRow) int {
		for _, c := range []int{
			strings.Compare(a.Provider, b.Provider), strings.Compare(a.Model, b.Model), strings.Compare(a.Tier, b.Tier), strings.Compare(a.From, b.From),
		} {
			if c != 0 {
				return c
			}
		}
		return int(min(max((a.MaxInput-1)&(1<<62-1)-(b.MaxInput-1)&(1<<62-1), -1), 1)) // 0 comes last
	})
	return out
}

// RowsAt returns the rows that are in force at a moment.
func (b *Book) RowsAt(at time.Time) []PriceRow {
	newest := make(map[key]string)
	today := at.UTC().Format(time.DateOnly)
	for _, r := range b.list {
		k := key{r.Provider, r.Model, r.Tier}
		if r.From <= today && r.From > newest[k] {
			newest[k] = r.From
		}
	}
	return slices.DeleteFunc(b.Rows(), func(r PriceRow) bool { return r.From != newest[key{r.Provider, r.Model, r.Tier}] })
}

func (p *PriceRow) set(to *map[string]decimal.Decimal, name string, d decimal.Decimal) {
	if *to == nil {
		*to = make(map[string]decimal.Decimal)
	}
	(*to)[name] = d
}

// row returns what the book computes with.
func (p *PriceRow) row(prices [columns]*decimal.Decimal) *row {
	parts := make(map[string]*decimal.Decimal, len(p.Parts)+len(p.Flat))
	for name, d := range p.Parts {
		parts[name] = &d
	}
	for _, name := range p.Flat {
		parts[name] = nil
	}
	r := p.scaled(prices, parts, decimal.NewFromInt(1))
	r.version = p.Version
	for _, tier := range slices.Sorted(maps.Keys(p.Tiers)) {
		share := p.scaled(prices, parts, p.Tiers[tier])
		share.version = p.Version + ":" + tier
		if r.tiers == nil {
			r.tiers = make(map[string]*row, len(p.Tiers))
		}
		r.tiers[tier] = share
	}
	return r
}

// scaled returns the row with every price per token times a factor.
func (p *PriceRow) scaled(prices [columns]*decimal.Decimal, parts map[string]*decimal.Decimal, factor decimal.Decimal) *row {
	times := func(d *decimal.Decimal) *decimal.Decimal {
		if d == nil {
			return nil
		}
		product := d.Mul(factor)
		return &product
	}
	for i := range prices {
		prices[i] = times(prices[i])
	}
	own := make(map[string]*decimal.Decimal, len(parts))
	for name, d := range parts {
		own[name] = times(d)
	}
	r := newRow(prices, own, p.Per)
	r.currency, r.maxInput, r.units = p.Currency, p.MaxInput, p.Units
	return r
}

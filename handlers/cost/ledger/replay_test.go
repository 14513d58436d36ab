package ledger

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/cost"
	"github.com/sira-ai/sira/schemas"
)

func book(t testing.TB, rows ...string) *cost.Book {
	t.Helper()
	b, err := cost.Load(strings.NewReader("prices:\n  - " + strings.Join(rows, "\n  - ") + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func dec(s string) decimal.Decimal { return decimal.RequireFromString(s) }

var at = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const (
	oldRow = "{provider: openai, model: m, from: 2026-01-01, currency: USD, input: 3, output: 7}"
	newRow = "{provider: openai, model: m, from: 2026-01-01, currency: USD, input: 1.1, output: 7.000000000001}"
	euros  = "{provider: openai, model: m, from: 2026-01-01, currency: EUR, input: 1, output: 7}"
)

func booked(t testing.TB, b *cost.Book, u schemas.Usage) *Cost {
	t.Helper()
	c := &Cost{ID: "requests/0/1", Tenant: "acme", Model: "fast", Time: at, State: schemas.CostUnpriced, InputTokens: u.InputTokens, CacheRead: u.CacheReadTokens, OutputTokens: u.OutputTokens}
	l := Line{Attempt: 1, Provider: "main", Model: "m", State: schemas.CostUnpriced}
	amount, currency, version, known := b.Price(schemas.Target{Provider: "main", Kind: "openai", Model: "m"}, at, u)
	if known {
		l.State, l.Amount, l.Price = schemas.CostPriced, amount, version
		c.State, c.Amount, c.Currency = schemas.CostPriced, amount, currency
	}
	c.Lines = []Line{l}
	return c
}

// after returns the cost with adjustments, as the view of the ledger shows it.
func after(c *Cost, adjustments []Adjustment) *Cost {
	out := *c
	for _, a := range adjustments {
		out.Adjustments, out.State = a.Seq, a.State
		if a.CurrencyAfter != out.Currency {
			out.Amount, out.Currency = decimal.Decimal{}, a.CurrencyAfter
		}
		if a.Currency == out.Currency {
			out.Amount = out.Amount.Add(a.Amount)
		}
	}
	return &out
}

func TestAPriceFixIsAdjustedToTheLastDigitOnce(t *testing.T) {
	t.Parallel()
	before := book(t, oldRow)
	r := &Replay{Book: book(t, newRow), Old: before, Kinds: map[string]string{"main": "openai"}}
	c := booked(t, before, schemas.Usage{InputTokens: 1001, OutputTokens: 333})
	got, verdict := r.Price(c)
	if verdict != Changed || len(got) != 1 {
		t.Fatalf("got %v, %v", got, verdict)
	}
	// 1001 * (1.1-3)/1e6 + 333 * 0.000000000001/1e6, rounded to twelve places once
	if want := dec("-0.0019019"); !got[0].Amount.Equal(want) || got[0].Kind != KindPrice || got[0].Seq != 1 || got[0].Currency != "USD" {
		t.Errorf("got %+v, want %s", got[0], want)
	}
	if again, verdict := r.Price(after(c, got)); verdict != Same || len(again) > 0 {
		t.Errorf("applied twice: %v, %v", again, verdict)
	}
	// And back: the next number, so that no entry replaces an earlier one.
	back := &Replay{Book: before, Old: before, Kinds: r.Kinds}
	if got, _ := back.Price(after(c, got)); len(got) != 1 || got[0].Seq != 2 || !got[0].Amount.Equal(dec("0.0019019")) {
		t.Errorf("back: got %+v", got)
	}
}

func TestUnprovenTotalsAreLeftAlone(t *testing.T) {
	t.Parallel()
	old := book(t, oldRow)
	r := &Replay{Book: book(t, newRow), Old: old, Kinds: map[string]string{"main": "openai"}}
	c := booked(t, old, schemas.Usage{InputTokens: 1001, OutputTokens: 333})
	c.Lines[0].Amount = c.Lines[0].Amount.Add(dec("0.04")) // pictures were billed, too
	c.Amount = c.Lines[0].Amount
	if got, verdict := r.Price(c); verdict != Unproven || got != nil {
		t.Errorf("got %v, %v", got, verdict)
	}
	c.Lines[0].Whole = true // but the recorder says that it was all
	if _, verdict := r.Price(c); verdict != Changed {
		t.Errorf("the whole usage is known: %v", verdict)
	}
	two := booked(t, old, schemas.Usage{InputTokens: 1001})
	two.Lines = append(two.Lines, two.Lines[0])
	if _, verdict := r.Price(two); verdict != Unproven {
		t.Errorf("two lines share their totals: %v", verdict)
	}
	unpriced := booked(t, book(t, "{provider: x, model: m, from: 2026-01-01, currency: USD, input: 3}"), schemas.Usage{InputTokens: 1001})
	if _, verdict := r.Price(unpriced); verdict != Unproven {
		t.Errorf("usage that was never priced: %v", verdict)
	}
	r.Totals = true
	if got, verdict := r.Price(unpriced); verdict != Changed || got[0].Kind != KindPriced || got[0].State != schemas.CostEstimated || !got[0].Amount.Equal(dec("0.0011011")) {
		t.Errorf("trusted: %+v, %v", got, verdict)
	}
}

func TestAKnownUsageIsPricedWithItsUnitsWhenThePriceArrives(t *testing.T) {
	t.Parallel()
	r := &Replay{Book: book(t, "{provider: openai, model: m, from: 2026-01-01, currency: USD, input: 2, units: {images: 0.04}}"), Kinds: map[string]string{"main": "openai"}}
	u := schemas.Usage{InputTokens: 500, Source: schemas.UsageReported, Units: map[string]decimal.Decimal{"images": dec("2")}}
	c := booked(t, book(t, oldRow), u)
	if c.State != schemas.CostUnpriced {
		t.Fatal("the old book knows pictures")
	}
	c.Lines[0].Usage = &u
	got, verdict := r.Price(c)
	if verdict != Changed || got[0].Kind != KindPriced || got[0].State != schemas.CostPriced || !got[0].Amount.Equal(dec("0.081")) || got[0].Currency != "USD" {
		t.Errorf("got %+v, %v", got, verdict)
	}
}

func TestAnEstimateIsSettledByItsFinalUsage(t *testing.T) {
	t.Parallel()
	b := book(t, oldRow)
	r := &Replay{Book: b, Old: b, Kinds: map[string]string{"main": "openai"}, Final: map[string]schemas.Usage{"requests/0/1#1": {InputTokens: 10, OutputTokens: 4}}}
	c := booked(t, b, schemas.Usage{InputTokens: 10, OutputTokens: 3})
	c.State, c.Lines[0].State = schemas.CostEstimated, schemas.CostEstimated
	got, verdict := r.Price(c)
	if verdict != Changed || got[0].Kind != KindSettled || got[0].State != schemas.CostPriced || !got[0].Amount.Equal(dec("0.000007")) {
		t.Errorf("got %+v, %v", got, verdict)
	}
}

func TestANewCurrencyTakesTheOldAmountBack(t *testing.T) {
	t.Parallel()
	old := book(t, oldRow)
	r := &Replay{Book: book(t, euros), Old: old, Kinds: map[string]string{"main": "openai"}}
	c := booked(t, old, schemas.Usage{InputTokens: 1_000_000})
	got, _ := r.Price(c)
	if len(got) != 2 || got[0].Currency != "USD" || !got[0].Amount.Equal(dec("-3")) || got[1].Currency != "EUR" || !got[1].Amount.Equal(dec("1")) {
		t.Fatalf("got %+v", got)
	}
	sums := Sums{}
	sums.Add(c, got, Changed)
	var lines []string
	for _, s := range sums.List() {
		lines = append(lines, s.Currency+" "+s.Before.String()+" "+s.After.String()+" "+s.Change.String())
	}
	if diff := cmp.Diff([]string{"EUR 0 1 1", "USD 3 0 -3"}, lines); diff != "" {
		t.Error(diff)
	}
}

func TestAForgottenPriceTakesNothingBack(t *testing.T) {
	t.Parallel()
	old := book(t, oldRow)
	r := &Replay{Book: book(t, "{provider: x, model: m, from: 2026-01-01, currency: USD, input: 3}"), Old: old, Kinds: map[string]string{"main": "openai"}}
	if got, verdict := r.Price(booked(t, old, schemas.Usage{InputTokens: 5})); verdict != Unproven || got != nil {
		t.Errorf("got %v, %v", got, verdict)
	}
}

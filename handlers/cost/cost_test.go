package cost

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

const book = `
prices:
  - {provider: openai, model: m, from: 2026-01-01, currency: USD, per: 1000, input: 1, output: 2}
  - {provider: other, model: m, from: 2026-01-01, currency: USD, per: 1000, input: 3, output: 4}
  - {provider: european, model: m, from: 2026-01-01, currency: EUR, per: 1000, input: 5, output: 6}
`

func attempt(provider, model string, outcome schemas.Code, source schemas.UsageSource, in, out int64) schemas.Attempt {
	return schemas.Attempt{
		Target: schemas.Target{Provider: provider, Model: model, Region: "eu"}, Outcome: outcome,
		Usage: schemas.Usage{InputTokens: in, OutputTokens: out, Source: source},
	}
}

func job(attempts ...schemas.Attempt) *pipeline.Job {
	j := &pipeline.Job{
		Request:   &schemas.Request{ID: "r1", Tenant: "acme", Model: "fast", Labels: map[string]string{"team": "a"}},
		Origin:    pipeline.Origin{First: "requests/3/7"},
		Completed: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC),
		Attempts:  attempts,
	}
	for i := range j.Attempts {
		j.Attempts[i].Number = i + 1
	}
	if n := len(attempts); n > 0 && attempts[n-1].Outcome == schemas.OK {
		j.Answered, j.Response = &j.Attempts[n-1].Target, &schemas.Response{}
	} else if n > 0 {
		j.Failure = schemas.Fail(attempts[n-1].Outcome, "", nil)
	}
	return j
}

func settle(t testing.TB, j *pipeline.Job) *schemas.CostEvent {
	t.Helper()
	if err := New(Config{Book: load(t, book), ConfigVersion: "v1"}).Handle(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	return j.Cost
}

var decimals = cmp.Comparer(decimal.Decimal.Equal)

func dec(s string) decimal.Decimal { return decimal.RequireFromString(s) }

func TestAFailedAttemptIsBilledNextToTheAnswer(t *testing.T) {
	t.Parallel()
	got := settle(t, job(
		attempt("other", "m", schemas.StreamInterrupted, schemas.UsagePartial, 10, 5),
		attempt("other", "m", schemas.Overloaded, "", 0, 0),
		attempt("openai", "m", schemas.OK, schemas.UsageReported, 10, 20),
	))
	want := &schemas.CostEvent{
		ID: "requests/3/7", RequestID: "r1", Tenant: "acme", Labels: map[string]string{"team": "a"},
		Time: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC), Op: schemas.OpChat, Model: "fast", Outcome: schemas.OK,
		Provider: "openai", ProviderModel: "m", Region: "eu",
		State: schemas.CostEstimated, Amount: dec("0.1"), Currency: "USD",
		InputTokens: 20, OutputTokens: 25, Attempts: 3, ConfigVersion: "v1",
		Lines: []schemas.CostLine{
			{
				Attempt: 1, Kind: schemas.LineFailedAttempt, Provider: "other", Model: "m", State: schemas.CostEstimated, Amount: dec("0.05"),
				Currency: "USD", PriceVersion: "other/m@2026-01-01", InputTokens: 10, OutputTokens: 5, UsageSource: schemas.UsagePartial,
				Usage: `{"input_tokens":10,"output_tokens":5,"source":"partial"}`,
			},
			{
				Attempt: 3, Kind: schemas.LineUsage, Provider: "openai", Model: "m", State: schemas.CostPriced, Amount: dec("0.05"),
				Currency: "USD", PriceVersion: "openai/m@2026-01-01", InputTokens: 10, OutputTokens: 20, UsageSource: schemas.UsageReported,
				Usage: `{"input_tokens":10,"output_tokens":20,"source":"reported"}`,
			},
		},
	}
	if diff := cmp.Diff(want, got, decimals); diff != "" {
		t.Error(diff)
	}
}

func TestAnEventIsAsCertainAsItsLeastCertainLine(t *testing.T) {
	t.Parallel()
	reported := attempt("openai", "m", schemas.OK, schemas.UsageReported, 10, 20)
	for _, c := range []struct {
		name     string
		attempts []schemas.Attempt
		state    schemas.CostState
		amount   string
		currency string
		lines    []schemas.CostState
	}{
		{"nothing was called", nil, schemas.CostNone, "0", "", nil},
		{"a refused call costs nothing", []schemas.Attempt{attempt("openai", "m", schemas.RateLimited, "", 0, 0)}, schemas.CostNone, "0", "", nil},
		{
			"a failure that says it used nothing costs nothing",
			[]schemas.Attempt{attempt("openai", "m", schemas.Timeout, schemas.UsageNone, 5, 0)},
			schemas.CostNone, "0", "", nil,
		},
		{"reported usage is priced", []schemas.Attempt{reported}, schemas.CostPriced, "0.05", "USD", []schemas.CostState{schemas.CostPriced}},
		{
			"an aborted stream is estimated",
			[]schemas.Attempt{attempt("openai", "m", schemas.Cancelled, schemas.UsageEstimated, 10, 1)},
			schemas.CostEstimated, "0.012", "USD",
			[]schemas.CostState{schemas.CostEstimated},
		},
		{
			"filtered content that the vendor bills is priced",
			[]schemas.Attempt{attempt("openai", "m", schemas.ContentFiltered, schemas.UsageReported, 10, 0)},
			schemas.CostPriced, "0.01", "USD",
			[]schemas.CostState{schemas.CostPriced},
		},
		{
			"an unknown price is unpriced, not zero",
			[]schemas.Attempt{attempt("openai", "new", schemas.OK, schemas.UsageReported, 10, 20)},
			schemas.CostUnpriced, "0", "",
			[]schemas.CostState{schemas.CostUnpriced},
		},
		{
			"an answer of unknown usage is unpriced, not zero",
			[]schemas.Attempt{attempt("openai", "m", schemas.OK, "", 0, 0)},
			schemas.CostUnpriced, "0", "",
			[]schemas.CostState{schemas.CostUnpriced},
		},
		{
			"one unpriced line leaves the whole unpriced",
			[]schemas.Attempt{attempt("nobody", "m", schemas.StreamInterrupted, schemas.UsagePartial, 1, 1), reported},
			schemas.CostUnpriced, "0", "USD",
			[]schemas.CostState{schemas.CostUnpriced, schemas.CostPriced},
		},
		{
			"currencies are not added up",
			[]schemas.Attempt{attempt("european", "m", schemas.StreamInterrupted, schemas.UsagePartial, 1, 1), reported},
			schemas.CostUnpriced, "0", "",
			[]schemas.CostState{schemas.CostEstimated, schemas.CostPriced},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := settle(t, job(c.attempts...))
			if got.State != c.state || got.Amount.String() != c.amount || got.Currency != c.currency {
				t.Errorf("got %s %s %q, want %s %s %q", got.State, got.Amount, got.Currency, c.state, c.amount, c.currency)
			}
			var lines []schemas.CostState
			for _, l := range got.Lines {
				lines = append(lines, l.State)
				if (l.State == schemas.CostUnpriced) != (l.Currency == "") || (l.State == schemas.CostUnpriced) != (l.PriceVersion == "") {
					t.Errorf("line %+v has a price and none", l)
				}
			}
			if diff := cmp.Diff(c.lines, lines); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestALineKeepsItsUsageUnlessTheTotalsSayItAll(t *testing.T) {
	t.Parallel()
	plain := attempt("openai", "m", schemas.OK, schemas.UsageReported, 10, 20)
	if got := settle(t, job(plain)).Lines[0].Usage; got != "" {
		t.Errorf("totals are all there was, and the line has %s", got)
	}
	pictures := plain
	pictures.Usage.Units = map[string]decimal.Decimal{"images": dec("2.5")}
	pictures.Usage.Raw = []byte(`{"secret":1}`)
	if got, want := settle(t, job(pictures)).Lines[0].Usage, `{"input_tokens":10,"output_tokens":20,"source":"reported","units":{"images":"2.5"}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWithoutABookEverythingIsUnpriced(t *testing.T) {
	t.Parallel()
	j := job(attempt("openai", "m", schemas.OK, schemas.UsageReported, 10, 20))
	if err := New(Config{}).Handle(t.Context(), j); err != nil || j.Cost.State != schemas.CostUnpriced {
		t.Errorf("got %v, %v", j.Cost.State, err)
	}
}

// go test -bench . -benchmem ./handlers/cost.
func BenchmarkHandle(b *testing.B) {
	prices, err := DefaultBook()
	if err != nil {
		b.Fatal(err)
	}
	stage := New(Config{Book: prices, ConfigVersion: "v1"})
	answer := attempt("main", "gpt-4o", schemas.OK, schemas.UsageReported, 1200, 340)
	answer.Target.Kind, answer.Usage.CacheReadTokens = "openai", 1000
	broken := answer
	broken.Outcome, broken.Usage.Source = schemas.StreamInterrupted, schemas.UsagePartial
	for name, attempts := range map[string][]schemas.Attempt{"answer": {answer}, "broken_then_answer": {broken, answer}, "none": nil} {
		b.Run(name, func(b *testing.B) {
			j := job(attempts...)
			b.ReportAllocs()
			for b.Loop() {
				_ = stage.Handle(b.Context(), j)
			}
		})
	}
}

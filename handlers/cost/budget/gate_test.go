package budget

import (
	"context"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

func job(id, tenant string) *pipeline.Job {
	return &pipeline.Job{
		Request: &schemas.Request{ID: id, Tenant: tenant, Model: "m", Labels: map[string]string{"team": "red", "key": "k"}},
		Origin:  pipeline.Origin{First: id}, Route: "r",
	}
}

// gate returns a gate with a running owner of two budgets, one of all and one of
// a team.
func gate(t *testing.T, open bool) (*Gate, *Owner, func()) {
	t.Helper()
	budgets := []Config{
		{ID: "all", Limit: dec("10"), Currency: "USD", Window: Month},
		{ID: "red", Tenant: "acme", Labels: Labels{"team": "red"}, Limit: dec("2"), Currency: "USD", Window: Month},
	}
	o, err := NewOwner(budgets)
	if err != nil {
		t.Fatal(err)
	}
	desk := NewDesk()
	g, err := NewGate(GateConfig{Budgets: budgets, Desk: desk, First: dec("1"), Open: open})
	if err != nil {
		t.Fatal(err)
	}
	g.now = func() time.Time { return noon }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- desk.Run(ctx, o, &tape{left: -1}) }()
	stop := func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		ended <- nil
	}
	t.Cleanup(stop)
	return g, o, stop
}

func TestARefusedRequestGivesItsOtherBudgetsBack(t *testing.T) {
	t.Parallel()
	g, o, stop := gate(t, false)
	for _, id := range []string{"1", "2"} {
		if err := g.Reserve(t.Context(), job(id, "acme")); err != nil {
			t.Fatal(err)
		}
	}
	refused := job("3", "acme")
	if f := schemas.AsFailure(g.Reserve(t.Context(), refused)); f == nil || f.Code != schemas.BudgetExceeded ||
		f.Message != `budget "red": the limit of 2 USD for this month is reached; the next month begins 2026-12-01T00:00:00Z` {
		t.Errorf("got %v", f)
	}
	refused.Failure, refused.Cost = schemas.Fail(schemas.BudgetExceeded, "", nil), &schemas.CostEvent{State: schemas.CostNone}
	if err := g.Settle(t.Context(), refused); err != nil {
		t.Fatal(err)
	}
	if err := g.Reserve(t.Context(), job("4", "other")); err != nil {
		t.Errorf("another tenant's request: %v", err)
	}
	stop()
	if s, _ := o.Snapshot("all"); !s.Reserved.Equal(dec("3")) || !s.Spent.IsZero() {
		t.Errorf("all: %s reserved, %s spent; want 3 and 0", s.Reserved, s.Spent)
	}
}

func TestWhatWasSpentIsSettledAndAnUnknownPriceIsNotZero(t *testing.T) {
	t.Parallel()
	g, o, stop := gate(t, false)
	for id, cost := range map[string]*schemas.CostEvent{
		"priced":   {State: schemas.CostPriced, Amount: dec("0.25"), Currency: "USD"},
		"unpriced": {State: schemas.CostUnpriced},
		"euros":    {State: schemas.CostPriced, Amount: dec("0.25"), Currency: "EUR"},
		"none":     {State: schemas.CostNone},
	} {
		j := job(id, "other")
		if err := g.Reserve(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		j.Cost = cost
		if err := g.Settle(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if s, _ := o.Snapshot("all"); !s.Spent.Equal(dec("2.25")) || !s.Reserved.IsZero() {
		t.Errorf("%s spent, %s reserved; want 2.25 and 0", s.Spent, s.Reserved)
	}
}

func TestAnAbsentOwnerClosesTheGateUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	for _, open := range []bool{false, true} {
		g, _, stop := gate(t, open)
		stop()
		err := g.Reserve(t.Context(), job("1", "acme"))
		if f := schemas.AsFailure(err); open != (err == nil) || err != nil && f.Code != schemas.Unavailable {
			t.Errorf("open %v: got %v", open, err)
		}
	}
}

func TestReservationsAreLearned(t *testing.T) {
	t.Parallel()
	g, _, _ := gate(t, false)
	for n := range 50 {
		j := job("x", "acme")
		j.Cost = &schemas.CostEvent{State: schemas.CostPriced, Amount: decimal.New(int64(n+1), -4), Currency: "USD"}
		if err := g.Settle(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	if got := g.learn.Estimate(keyOf(job("y", "acme"))); got.LessThan(dec("0.0048")) || got.GreaterThan(dec("0.0055")) {
		t.Errorf("reserves %s for calls of up to 0.005", got)
	}
}

package budget

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// counter is a desk whose owner is in this process.
type counter struct {
	t     *testing.T
	mu    sync.Mutex
	owner *Owner
	asks  int
	away  bool // nobody answers
	known map[string]Standing
}

func (d *counter) Ask(ctx context.Context, c Command) (Change, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asks++
	if d.away {
		return Change{}, context.DeadlineExceeded
	}
	c.At = noon
	changes := d.owner.Handle(c)
	return changes[len(changes)-1], ctx.Err()
}

func (d *counter) Tell(c Command) {
	c.At = noon
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owner.Handle(c)
}

func (d *counter) Known(budget string) (Standing, bool) {
	s, ok := d.known[budget]
	return s, ok
}

// settle carries out what the job's transaction would publish.
func (d *counter) settle(job *pipeline.Job) {
	d.t.Helper()
	for _, r := range job.Also {
		c, err := ParseCommand(r.Value)
		if err != nil || r.Topic != "settle" || string(r.Key) != c.Budget {
			d.t.Errorf("%s %s: %v", r.Topic, r.Key, err)
		}
		c.At = noon
		d.owner.Handle(c)
	}
}

func (d *counter) used(budget string) string {
	s, _ := d.owner.Snapshot(budget)
	return s.Spent.String() + " " + s.Reserved.String()
}

func job(id, tenant string) *pipeline.Job {
	return &pipeline.Job{
		Request: &schemas.Request{ID: id, Tenant: tenant, Model: "m", Labels: map[string]string{"team": "red", "key": "k"}},
		Origin:  pipeline.Origin{First: id}, Route: "r", Deadline: noon.Add(time.Minute),
	}
}

// finish gives the job a cost and settles it.
func (d *counter) finish(g *Gate, j *pipeline.Job, cost *schemas.CostEvent) {
	d.t.Helper()
	j.Cost = cost
	if err := g.Settle(d.t.Context(), j); err != nil {
		d.t.Fatal(err)
	}
	d.settle(j)
}

func gate(t *testing.T, edit func([]Config)) (*Gate, *counter) {
	t.Helper()
	budgets := []Config{
		{ID: "all", Limit: dec("10"), Currency: "USD", Window: Month, First: dec("1")},
		{ID: "red", Tenant: "acme", Labels: Labels{"team": "red"}, Limit: dec("2"), Currency: "USD", Window: Month, First: dec("1")},
		{ID: "seen", Tenant: "acme", Limit: dec("0.5"), Currency: "USD", Window: Month, Mode: Shadow, First: dec("0.5")},
	}
	if edit != nil {
		edit(budgets)
	}
	o, err := NewOwner(slices.Clone(budgets))
	if err != nil {
		t.Fatal(err)
	}
	d := &counter{t: t, owner: o, known: map[string]Standing{}}
	g, err := NewGate(GateConfig{Budgets: budgets, Desk: d, Topic: "settle"})
	if err != nil {
		t.Fatal(err)
	}
	g.now = func() time.Time { return noon }
	return g, d
}

func TestARefusedRequestGivesItsOtherBudgetsBack(t *testing.T) {
	t.Parallel()
	g, d := gate(t, nil)
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
	d.finish(g, refused, &schemas.CostEvent{State: schemas.CostNone})
	if err := g.Reserve(t.Context(), job("4", "other")); err != nil {
		t.Errorf("another tenant's request: %v", err)
	}
	if got := d.used("all") + ", " + d.used("red") + ", " + d.used("seen"); got != "0 3, 0 2, 0 1" {
		t.Errorf("spent and reserved: %s", got)
	}
}

func TestWhatWasSpentIsSettledAndAnUnknownPriceIsNotZero(t *testing.T) {
	t.Parallel()
	g, d := gate(t, nil)
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
		d.finish(g, j, cost)
	}
	if got := d.used("all"); got != "2.25 0" {
		t.Errorf("spent and reserved: %s", got)
	}
}

// A request that expires in a later round asks nobody, and its first round was paid
// for.
func TestWhatEarlierRoundsSpentIsSettled(t *testing.T) {
	t.Parallel()
	g, d := gate(t, nil)
	first := job("1", "acme")
	if err := g.Reserve(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	later := job("1", "acme")
	later.Origin.Round = 1
	d.finish(g, later, &schemas.CostEvent{State: schemas.CostPriced, Amount: dec("0.5"), Currency: "USD"})
	if got := d.used("all"); got != "0.5 0" {
		t.Errorf("spent and reserved: %s", got)
	}
}

func TestAnAbsentOwnerClosesTheGateUnlessToldOtherwise(t *testing.T) {
	t.Parallel()
	for _, outage := range []Outage{RefuseOnOutage, AllowOnOutage} {
		g, d := gate(t, func(c []Config) { c[0].Outage, c[1].Outage = outage, outage })
		d.away = true
		err := g.Reserve(t.Context(), job("1", "acme"))
		if f := schemas.AsFailure(err); (outage == AllowOnOutage) != (err == nil) || err != nil && f.Code != schemas.Unavailable {
			t.Errorf("%s: got %v", outage, err)
		}
	}
}

func TestAStopIsNoFailureOfTheBudget(t *testing.T) {
	t.Parallel()
	g, _ := gate(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := g.Reserve(ctx, job("1", "acme"))
	if _, failed := errors.AsType[*schemas.Failure](err); failed || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Known spending only grows, so a worker that knows of enough need not ask.
func TestWhatIsKnownToBeSpentIsRefusedWithoutAQuestion(t *testing.T) {
	t.Parallel()
	g, d := gate(t, nil)
	from, _ := Month.Bounds(noon, time.UTC)
	d.known["red"] = Standing{Window: from, Spent: dec("1.5"), Reserved: dec("0")}
	j := job("1", "acme")
	if f := schemas.AsFailure(g.Reserve(t.Context(), j)); f == nil || f.Code != schemas.BudgetExceeded || d.asks != 0 {
		t.Errorf("got %v after %d questions", f, d.asks)
	}
	d.finish(g, j, &schemas.CostEvent{State: schemas.CostNone})
	if len(j.Also) > 0 {
		t.Error("what was never reserved is settled")
	}
	d.known["red"] = Standing{Window: from.AddDate(0, -1, 0), Spent: dec("2")}
	if err := g.Reserve(t.Context(), job("2", "acme")); err != nil {
		t.Errorf("last month's spending refuses: %v", err)
	}
}

func TestRequestsWithoutABudgetAskNobody(t *testing.T) {
	t.Parallel()
	g, d := gate(t, func(c []Config) { c[0].Tenant = "acme" })
	j := job("1", "other")
	if err := g.Reserve(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	d.finish(g, j, &schemas.CostEvent{State: schemas.CostPriced, Amount: dec("1"), Currency: "USD"})
	if d.asks != 0 || len(j.Also) != 0 {
		t.Errorf("%d questions, %d commands", d.asks, len(j.Also))
	}
}

func TestReservationsAreLearned(t *testing.T) {
	t.Parallel()
	g, d := gate(t, nil)
	for n := range 50 {
		d.finish(g, job(fmt.Sprint(n), "acme"), &schemas.CostEvent{State: schemas.CostPriced, Amount: decimal.New(int64(n+1), -4), Currency: "USD"})
	}
	if got := g.learn.Estimate(keyOf(job("y", "acme"), "USD"), dec("1")); got.LessThan(dec("0.0048")) || got.GreaterThan(dec("0.0055")) {
		t.Errorf("reserves %s for calls of up to 0.005", got)
	}
}

// Bytes on the topics of commands may be anybody's.
func FuzzParseCommand(f *testing.F) {
	for _, c := range []Command{reserve("a/0/1", "0.25", noon), settle("a/0/1", "1e-12", noon)} {
		b, err := json.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"budget":"b","action":"settle","id":"x","amount":"1e999999999"}`))
	f.Add([]byte(`{"budget":"b","action":"settle","id":"x","amount":-1}`))
	// An amount finer than money is could be written into no event, and held the
	// owner up for ever.
	f.Add([]byte(`{"budget":"b","action":"reserve","id":"x","amount":"1e-14"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseCommand(b)
		if err != nil {
			if !errors.Is(err, ErrNoCommand) {
				t.Errorf("got %v", err)
			}
			return
		}
		c.Budget, c.At = "b", noon
		o := owner(t, Hard, "10")
		for _, change := range o.Handle(c) {
			if change.Spent.IsNegative() || change.Reserved.IsNegative() || change.Amount.Exponent() < -schemas.MoneyScale || change.Amount.GreaterThan(maxAmount) {
				t.Errorf("%s leaves %s spent, %s reserved", b, change.Spent, change.Reserved)
			}
		}
	})
}

// BenchmarkGateWithoutABudget is what budgets cost requests that have none.
//
//	go test -bench GateWithout -benchmem ./handlers/cost/budget
func BenchmarkGateWithoutABudget(b *testing.B) {
	budgets := make([]Config, 200)
	for i := range budgets {
		budgets[i] = Config{ID: fmt.Sprint(i), Tenant: fmt.Sprint(i), Limit: dec("10"), Currency: "USD", Window: Month}
	}
	g, err := NewGate(GateConfig{Budgets: budgets, Desk: &counter{}, Topic: "settle"})
	if err != nil {
		b.Fatal(err)
	}
	j := job("1", "acme")
	j.Cost = &schemas.CostEvent{State: schemas.CostPriced, Amount: dec("1"), Currency: "USD"}
	for b.Loop() {
		if err := errors.Join(g.Reserve(b.Context(), j), g.Settle(b.Context(), j)); err != nil {
			b.Fatal(err)
		}
	}
}

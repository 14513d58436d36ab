package routing_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

func TestMeasuredFollowsTheLastCallsAndForgets(t *testing.T) {
	t.Parallel()
	m := new(routing.Measured)
	target := schemas.Target{Provider: "a", Model: "m"}
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	add := func(region string, ms int64, outcome schemas.Code) {
		at = at.Add(time.Second)
		m.Add(&schemas.Attempt{Target: schemas.Target{Provider: "a", Kind: "openai", Model: "m", Region: region, Endpoint: "e"}, Outcome: outcome, StartedAt: at, LatencyMS: ms, FirstTokenMS: ms / 4})
	}
	if _, known := m.Health(target, at); known {
		t.Error("known without calls")
	}
	for range 200 {
		add("eu", 1000, schemas.OK)
		add("us", 400, schemas.OK)
	}
	in := func(region string) routing.Observed {
		seen, _ := m.Health(schemas.Target{Provider: "a", Model: "m", Region: region}, at)
		return seen
	}
	if eu, us, all := in("eu").Latency, in("us").Latency, in("").Latency; eu != time.Second || us != 400*time.Millisecond || all <= us || all >= eu {
		t.Errorf("eu %s, us %s, all %s", eu, us, all)
	}
	if first := in("eu").FirstToken; first != 250*time.Millisecond {
		t.Errorf("first token %s", first)
	}
	for range 60 {
		add("eu", 100, schemas.Unavailable)
	}
	add("eu", 1, schemas.InvalidRequest) // the request's fault
	add("eu", 1, schemas.Cancelled)      // nobody's
	if seen := in("eu"); seen.Failures < 0.9 || seen.Latency != time.Second || seen.Calls != 260 {
		t.Errorf("after an outage: %+v", seen)
	}
	if whole, known := m.Health(schemas.Target{Provider: "a"}, at); !known || whole.Calls != 460 {
		t.Errorf("the provider: %+v", whole)
	}
	if _, known := m.Health(target, at.Add(11*time.Minute)); known {
		t.Error("still known after eleven minutes without a call")
	}
}

func TestMeasuredIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	m := new(routing.Measured)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 500 {
				m.Add(attempt("a", 10, schemas.OK))
				m.Health(schemas.Target{Provider: "a"}, time.Now())
			}
		})
	}
	wg.Wait()
}

// watching is a strategy that keeps what it observes.
type watching struct{ seen *[]string }

func (watching) Rank(_ *routing.Query, c []routing.Candidate) []routing.Candidate { return c }

func (w watching) Observe(q *routing.Query) {
	for a, failed := range q.Calls {
		word := "ok "
		if failed {
			word = "failed "
		}
		*w.seen = append(*w.seen, word+a.Target.Provider)
	}
}

func TestOnlyTheRoutesStrategyObservesTheCallsOfThisRound(t *testing.T) {
	t.Parallel()
	var seen, other []string
	spec := routing.TargetSpec{Target: schemas.Target{Provider: "a", Model: "m"}}
	r := routing.NewRouter([]routing.Model{{Name: "chat", Targets: []routing.TargetSpec{spec}}}, []routing.Rule{
		{Name: "other", Models: []string{"none"}, Strategy: watching{&other}}, {Name: "mine", Strategy: watching{&seen}},
	}, routing.Sources{})
	j := job("r1", "chat")
	j.Route, j.Origin.Round = "mine", 1
	j.Attempts = []schemas.Attempt{
		{Round: 0, Target: schemas.Target{Provider: "earlier"}, Outcome: schemas.OK},
		{Round: 1, Target: schemas.Target{Provider: "a"}, Outcome: schemas.Timeout},
		{Round: 1, Target: schemas.Target{Provider: "b"}, Outcome: schemas.ContentFiltered},
		{Round: 1, Target: schemas.Target{Provider: "c"}, Outcome: schemas.OK},
	}
	measured := new(routing.Measured)
	learn := r.Learn(measured)
	for _, j := range []*pipeline.Job{j, {Request: j.Request, Route: "gone"}, {Request: j.Request}} {
		if err := learn.Handle(t.Context(), j); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"failed a", "ok c"}, seen); diff != "" || other != nil {
		t.Errorf("other saw %v: %s", other, diff)
	}
	if _, known := measured.Health(schemas.Target{Provider: "earlier"}, time.Time{}); known {
		t.Error("a call of an earlier round was measured again")
	}
}

// A canary of several workers is decided by what all saw.
func TestProgressJoinsLikeOneWorker(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	a := routing.Progress{Stage: 1, Since: since.Add(time.Minute), Canary: routing.Tally{Calls: 3, Failures: 1}}
	b := routing.Progress{Stage: 1, Since: since, Canary: routing.Tally{Calls: 4}, Baseline: routing.Tally{Calls: 9}}
	back := routing.Progress{Stage: 0, RolledBack: true, Why: "x"}
	tests := map[string]struct{ a, b, want routing.Progress }{
		"tallies of a stage add up": {a, b, routing.Progress{Stage: 1, Since: since, Canary: routing.Tally{Calls: 7, Failures: 1}, Baseline: routing.Tally{Calls: 9}}},
		"the later stage counts":    {a, routing.Progress{Stage: 2}, routing.Progress{Stage: 2}},
		"a roll-back counts most":   {back, routing.Progress{Stage: 2}, back},
	}
	for name, tt := range tests {
		for _, got := range []routing.Progress{tt.a.Join(tt.b), tt.b.Join(tt.a)} {
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	}
}

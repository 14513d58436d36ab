package canary_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/handlers/routing/canary"
	rt "github.com/sira-ai/sira/handlers/routing/routingtest"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

const stages = `{"name": "next", "targets": ["new"], "unit": "labels.user", "stages": [
	{"share": 0.05, "for": "10m", "calls": 200}, {"share": 0.25, "for": "10m", "calls": 500}, {"share": 1, "for": "10m", "calls": 500}]}`

// traffic sends requests through a canary, ten a second.
type traffic struct {
	strategy routing.Strategy
	canaries routing.Canaries
	random   *rand.Rand
	outcome  func(c *routing.Candidate) (failed bool, latency time.Duration)
	n        int
	sent     map[string]int // by provider
	note     string         // of the last canary candidate
}

func newTraffic(t testing.TB, settings string, failing map[string]float64, latency map[string]time.Duration) *traffic {
	t.Helper()
	w := &traffic{strategy: rt.Build(t, canary.Entry, settings), random: rand.New(rand.NewPCG(7, 7)), sent: map[string]int{}}
	w.outcome = func(c *routing.Candidate) (bool, time.Duration) {
		p := c.Target.Provider
		return w.random.Float64() < failing[p], time.Duration(float64(latency[p]) * (0.5 + w.random.Float64()))
	}
	return w
}

// one sends a request now and settles it.
func (w *traffic) one() {
	w.n++
	j := &pipeline.Job{Request: rt.Job(fmt.Sprint("r", w.n), "user", fmt.Sprint("u", w.random.IntN(5000))).Request, Started: time.Now()}
	q := routing.NewQuery(j, routing.Sources{Canaries: w.canaries})
	all := rt.Targets("old/m", "new/m")
	c := w.strategy.Rank(q, all)
	w.note = q.Notes(&rt.Targets("old/m", "new/m")[1])
	failed, latency := w.outcome(&c[0])
	w.sent[c[0].Target.Provider]++
	a := schemas.Attempt{Target: c[0].Target, Outcome: schemas.OK, StartedAt: j.Started, LatencyMS: latency.Milliseconds()}
	if failed {
		a.Outcome = schemas.Unavailable
	}
	j.Attempts = []schemas.Attempt{a}
	if o, ok := w.strategy.(routing.Observer); ok {
		o.Observe(routing.NewQuery(j, routing.Sources{Canaries: w.canaries}))
	}
}

func (w *traffic) send(d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		w.one()
		time.Sleep(100 * time.Millisecond)
	}
}

func same(ms int) map[string]time.Duration {
	d := time.Duration(ms) * time.Millisecond
	return map[string]time.Duration{"old": d, "new": d}
}

func TestAGoodCanaryIsPromotedStageByStage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTraffic(t, stages, map[string]float64{"old": 0.01, "new": 0.01}, same(800))
		share := func(d time.Duration) float64 {
			before := w.sent["new"]
			n := w.n
			w.send(d)
			return float64(w.sent["new"]-before) / float64(w.n-n)
		}
		if s := share(9 * time.Minute); s < 0.03 || s > 0.07 {
			t.Errorf("stage 1 has %.3f of the requests, want 0.05", s)
		}
		w.send(2 * time.Minute)
		if s := share(8 * time.Minute); s < 0.20 || s > 0.30 {
			t.Errorf("stage 2 has %.3f of the requests, want 0.25", s)
		}
		w.send(15 * time.Minute)
		if s := share(time.Minute); s != 1 || !strings.Contains(w.note, "promoted") {
			t.Errorf("at the end it has %.3f of the requests, want all; note %q", s, w.note)
		}
	})
}

func TestACanaryThatFailsIsRolledBackWithinItsGuard(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{0.10, 0.30, 1} {
		synctest.Test(t, func(t *testing.T) {
			w := newTraffic(t, stages, map[string]float64{"old": 0.01, "new": rate}, same(800))
			w.send(10 * time.Minute) // the first stage
			if !strings.Contains(w.note, "rolled back") {
				t.Fatalf("failing %.2f: not rolled back within the first stage: %d requests met it", rate, w.sent["new"])
			}
			if most := map[float64]int{0.10: 200, 0.30: 30, 1: 6}[rate]; w.sent["new"] > most {
				t.Errorf("failing %.2f: %d requests met the canary, want at most %d", rate, w.sent["new"], most)
			}
			before := w.sent["new"]
			w.send(time.Hour)
			if w.sent["new"] != before {
				t.Error("it is asked again after it was rolled back")
			}
		})
	}
}

func TestASlowCanaryIsRolledBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newTraffic(t, stages, nil, map[string]time.Duration{"old": 800 * time.Millisecond, "new": 1600 * time.Millisecond})
		w.send(10 * time.Minute)
		if !strings.Contains(w.note, "rolled back") || w.sent["new"] > 150 {
			t.Errorf("note %q after %d requests", w.note, w.sent["new"])
		}
	})
}

// The guards may be looked at after every call: over many canaries that are as
// good as the baseline hardly one may be rolled back.
func TestAnEqualCanaryIsHardlyEverRolledBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		back := 0
		for i := range 100 {
			w := newTraffic(t, `{"name": "x", "targets": ["new"], "unit": "labels.user", "stages": [{"share": 0.5, "for": "100h"}],
				"guards": {"failures": 0, "slower": 1, "alpha": 0.01}}`, map[string]float64{"old": 0.05, "new": 0.05}, same(800))
			w.random = rand.New(rand.NewPCG(uint64(i), 1))
			for range 2000 {
				w.one()
			}
			time.Sleep(time.Second)
			w.one()
			if strings.Contains(w.note, "rolled back") {
				back++
			}
		}
		if back > 4 { // two guards of 1 %: a mean of at most 2
			t.Errorf("%d of 100 equal canaries were rolled back", back)
		}
	})
}

// shared is the progress of all workers, as a state topic would carry it.
type shared map[string]map[string]routing.Progress

type worker struct {
	shared
	name string
}

func (w worker) Exchange(name string, mine routing.Progress) (routing.Progress, bool) {
	if w.shared[name] == nil {
		w.shared[name] = map[string]routing.Progress{}
	}
	w.shared[name][w.name] = mine
	all := mine
	for other, p := range w.shared[name] {
		if other != w.name {
			all = all.Join(p)
		}
	}
	return all, w.name == "0"
}

func TestWorkersThatShareProgressDecideTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		common := shared{}
		var all []*traffic
		for i := range 4 {
			w := newTraffic(t, stages, map[string]float64{"old": 0.01, "new": 0.3}, same(800))
			w.canaries, w.random = worker{common, fmt.Sprint(i)}, rand.New(rand.NewPCG(uint64(i), 2))
			all = append(all, w)
		}
		for range 600 {
			for _, w := range all {
				w.one()
			}
			time.Sleep(time.Second)
		}
		met := 0
		for i, w := range all {
			met += w.sent["new"]
			if !strings.Contains(w.note, "rolled back") {
				t.Errorf("worker %d goes on", i)
			}
		}
		if met > 80 { // each alone would need some 40
			t.Errorf("%d requests met the canary", met)
		}
	})
}

func TestOnlyTheOwnerPromotesAndTheOthersFollow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		common := shared{}
		join := func(name string) *traffic {
			w := newTraffic(t, `{"name": "next", "targets": ["new"], "unit": "labels.user", "stages": [{"share": 0.5, "for": "1m", "calls": 20}]}`, nil, same(800))
			w.canaries = worker{common, name}
			return w
		}
		owner, other := join("0"), join("1")
		other.send(10 * time.Minute)
		if strings.Contains(other.note, "promoted") {
			t.Fatal("it was promoted by a worker that is not the owner")
		}
		owner.one()
		other.send(2 * time.Second)
		if !strings.Contains(other.note, "promoted") {
			t.Errorf("the owner has promoted it, the other says %q", other.note)
		}
	})
}

func TestAUnitStaysWithTheCanaryWhileItsShareGrows(t *testing.T) {
	t.Parallel()
	with := func(share string) map[string]bool {
		s := rt.Build(t, canary.Entry, `{"name": "x", "targets": ["new"], "unit": "labels.user", "stages": [{"share": `+share+`, "for": "1h"}]}`)
		in := map[string]bool{}
		for i := range 2000 {
			user := fmt.Sprint("u", i)
			c := s.Rank(routing.NewQuery(rt.Job("r", "user", user), routing.Sources{}), rt.Targets("old/m", "new/m"))
			in[user] = c[0].Target.Provider == "new"
		}
		return in
	}
	few, many := with("0.1"), with("0.4")
	for user, in := range few {
		if in && !many[user] {
			t.Fatalf("%s lost the canary when its share grew", user)
		}
	}
}

func TestWithNothingElseTheCanaryStays(t *testing.T) {
	t.Parallel()
	s := rt.Build(t, canary.Entry, `{"name": "x", "targets": ["new"], "stages": [{"share": 0.0001, "for": "1h"}]}`)
	c := s.Rank(routing.NewQuery(rt.Job("r1"), routing.Sources{}), rt.Targets("new/m"))
	if diff := cmp.Diff([]string{"new/m"}, rt.Order(c)); diff != "" {
		t.Error(diff)
	}
}

func TestMistakesAreFound(t *testing.T) {
	t.Parallel()
	for settings, says := range map[string]string{
		`{}`: "name:", `{"name": "x"}`: "targets:", `{"name": "x", "targets": ["a"]}`: "stages:",
		`{"name": "x", "targets": ["a"], "stages": [{"share": 0.5, "for": "soon"}]}`:                                      "500ms, 30s or 2h",
		`{"name": "x", "targets": ["a"], "stages": [{"share": 0.5, "for": "1h"}, {"share": 0.5, "for": "1h"}]}`:           "stages[1].share",
		`{"name": "x", "targets": ["a"], "stages": [{"share": 1, "for": "1h"}], "guards": {"failures": 0.1, "alpha": 0}}`: "alpha",
		`{"name": "x", "unit": "hour", "targets": ["a"], "stages": [{"share": 1, "for": "1h"}]}`:                          "unit:",
	} {
		if got := rt.Check(canary.Entry, settings); !strings.Contains(got, says) {
			t.Errorf("%s: %q does not say %q", settings, got, says)
		}
	}
}

package fleet

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sira-ai/sira/handlers/anomaly/endpoint"
	"github.com/sira-ai/sira/handlers/anomaly/predict"
	"github.com/sira-ai/sira/schemas"
)

var start = time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)

// world plays the endpoints a, b and c of provider p to fleets, tick by tick.
type world struct {
	t      *testing.T
	random *rand.Rand
	ticks  int
	slow   float64 // how much slower a answers
	faults float64 // share of a's calls that fail
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return &world{t: t, random: rand.New(rand.NewPCG(1, 2)), slow: 1}
}

func (w *world) now() time.Time { return start.Add(time.Duration(w.ticks) * endpoint.Tick) }

// seen draws what happens in a tick to the endpoints, of which a gets share percent
// of its calls.
func (w *world) seen(share int) []schemas.EndpointSums {
	w.ticks++
	var out []schemas.EndpointSums
	for _, id := range []string{"a", "b", "c"} {
		var s endpoint.Stats
		slow, faults, n := 1.0, 0.001, 10
		if id == "a" {
			slow, faults, n = w.slow, w.faults, 0
			for range 10 {
				if w.random.IntN(100) < share {
					n++
				}
			}
		}
		for range n {
			first := time.Duration(slow * 0.4 * math.Exp(0.3*w.random.NormFloat64()) * float64(time.Second))
			c := endpoint.Call{FirstToken: first, Gap: time.Duration(slow * float64(60*time.Millisecond)), Latency: 5 * first}
			if w.random.Float64() < faults {
				c.Outcome = endpoint.Fault
			}
			s.Observe(c)
		}
		out = append(out, Sums(Name{"p", id}, "eu", s))
	}
	return out
}

func (w *world) fleet() *Fleet {
	w.t.Helper()
	m, err := predict.Default()
	if err != nil {
		w.t.Fatal(err)
	}
	return New("p", Defaults(), m, "v1", NewLayout([][]string{{"p"}}))
}

// play gives a fleet a tick and returns the shifts.
func (w *world) play(f *Fleet) []schemas.HealthEvent {
	share := 100
	if f.Knows(Name{"p", "a"}) {
		share = f.member(Name{"p", "a"}).hold.Share
	}
	seen := w.seen(share)
	for i := range seen {
		f.Add(Name{seen[i].Provider, seen[i].Endpoint}, seen[i].Region, StatsOf(&seen[i]))
	}
	return f.Tick(w.now(), nil)
}

// quiet plays good health.
func (w *world) quiet(f *Fleet, ticks int) {
	w.t.Helper()
	for range ticks {
		if events := w.play(f); len(events) > 0 {
			w.t.Fatalf("in good health: %+v", events)
		}
	}
}

// burn makes a slower and slower until calls are withheld from it, before it fails.
func (w *world) burn(f *Fleet) schemas.HealthEvent {
	w.t.Helper()
	for i := range 120 {
		w.slow, w.faults = 1+float64(i)/24, 0.0004*float64(i)
		if events := w.play(f); len(events) > 0 {
			return events[0]
		}
	}
	w.t.Fatal("ten minutes of slow burn are not noticed")
	return schemas.HealthEvent{}
}

func TestASlowBurnMovesTrafficBeforeItFailsAndBackSlowlyAfter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.fleet()
	w.quiet(f, 200)
	e := w.burn(f)
	a := f.member(Name{"p", "a"})
	if e.Endpoint != "a" || e.FromShare != 100 || e.ToShare != 5 || !e.Applied || e.ID != "p/a#1" || a.state.Bad() > 0.2 {
		t.Errorf("event %+v with %.2f of the calls failing", e, a.state.Bad())
	}
	if len(e.Reasons) == 0 || !strings.Contains(strings.Join(e.Reasons, " "), "first_token") {
		t.Errorf("reasons %v", e.Reasons)
	}
	w.slow, w.faults = 3, 0.9
	for range 60 {
		if events := w.play(f); len(events) > 0 {
			t.Errorf("while it fails: %+v", events)
		}
	}
	w.slow, w.faults = 1, 0.001
	begun, back := 0, 0
	for i := 1; back == 0; i++ {
		for _, e := range w.play(f) {
			if begun > 0 || e.ToShare != 100 || e.ID != "p/a#2" {
				t.Errorf("after its recovery: %+v", e)
			}
			begun = i
		}
		if a.hold.Share == 100 {
			back = i
		}
		if i > 2000 {
			t.Fatalf("calls do not come back: probability %.2f", a.probability)
		}
	}
	if calm := time.Duration(begun) * endpoint.Tick; calm < 3*time.Minute || back-begun < 40 {
		t.Errorf("calls begin to come back after %s, and are back %d ticks later", calm, back-begun)
	}
}

func TestTheNextOwnerNeitherForgetsNorRepeatsAShift(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.fleet()
	w.quiet(one, 200)
	w.burn(one)
	states, err := one.States(w.now(), "analyst-1")
	if err != nil || len(states) != 3 {
		t.Fatalf("%d states, %v", len(states), err)
	}
	two := w.fleet()
	for i := range states {
		if err := two.Restore(&states[i]); err != nil {
			t.Fatal(err)
		}
	}
	before, after := one.member(Name{"p", "a"}), two.member(Name{"p", "a"})
	if diff := cmp.Diff(before.hold, after.hold); diff != "" || after.shifts != 1 || !after.since.Equal(before.since) {
		t.Errorf("the hold differs, or the number %d of the last shift:\n%s", after.shifts, diff)
	}
	for range 20 {
		if events := w.play(two); len(events) > 0 {
			t.Errorf("the next owner reports %+v", events)
		}
	}
	broken := states[0]
	broken.Memory, broken.Share = "{", 7
	if err := two.Restore(&broken); err == nil || two.member(Name{"p", "a"}).hold.Share != 7 {
		t.Errorf("error %v, share %d", err, two.member(Name{"p", "a"}).hold.Share)
	}
}

func guide(t *testing.T) *Guide {
	t.Helper()
	m, err := predict.Default()
	if err != nil {
		t.Fatal(err)
	}
	return NewGuide(Defaults(), m, "v1", NewLayout([][]string{{"p"}}))
}

func adviceOf(t *testing.T, all []Advice, id string) Advice {
	t.Helper()
	i := slices.IndexFunc(all, func(a Advice) bool { return a.Endpoint == id })
	if i < 0 {
		t.Fatalf("no advice for %s in %v", id, all)
	}
	return all[i]
}

func TestAWorkerFollowsTheAnalystAndTrustsItselfWhenThatIsSilent(t *testing.T) {
	t.Parallel()
	w, g := newWorld(t), guide(t)
	tick := func(share int) (Advice, []schemas.HealthEvent) {
		all, events := g.Tick(w.now(), w.seen(share))
		return adviceOf(t, all, "a"), events
	}
	say := func(share int, low bool) {
		g.Hear(schemas.EndpointState{Provider: "p", Endpoint: "a", Time: w.now(), Share: share, Low: low, Probability: 0.9, Reasons: []string{"others saw it"}}, w.now())
	}
	for range 200 {
		say(100, false)
		tick(100)
	}
	say(5, true)
	if a, events := tick(100); a.Own || a.Share != 5 || a.Reasons[0] != "others saw it" || len(events) != 0 {
		t.Errorf("with news: %+v and %v", a, events)
	}
	// Silence: it goes on from 5 %, and what it sees itself is good health.
	begun, before := 0, 5
	for i := range 400 {
		a, events := tick(before)
		if a.Share < before || a.Share > before+2 {
			t.Fatalf("tick %d: from %d to %d percent", i, before, a.Share)
		}
		before = a.Share
		if len(events) > 0 {
			begun = i
			if e := events[0]; len(events) > 1 || !a.Own || e.ToShare != 100 {
				t.Errorf("tick %d: %+v", i, events)
			}
		}
	}
	if wait := time.Duration(begun) * endpoint.Tick; before != 100 || wait < Defaults().Silence+3*time.Minute {
		t.Errorf("%d percent in the end, on the way since %s", before, wait)
	}
	// Nobody speaks, and the endpoint burns: it notices by itself.
	for i := range 120 {
		w.slow = 1 + float64(i)/24
		if a, events := tick(100); len(events) > 0 {
			if a.Share != 5 || !a.Own {
				t.Errorf("it decides %+v", a)
			}
			return
		}
	}
	t.Error("left alone it notices nothing")
}

func TestOldNewsIsWhereAWorkerBeginsAndNotWhatItFollows(t *testing.T) {
	t.Parallel()
	for age, want := range map[time.Duration]int{time.Minute: 5, time.Hour: 100} {
		w, g := newWorld(t), guide(t)
		g.Hear(schemas.EndpointState{Provider: "p", Endpoint: "a", Time: w.now().Add(-age), Share: 5, Low: true}, w.now())
		all, _ := g.Tick(w.now(), w.seen(100))
		if a := adviceOf(t, all, "a"); a.Share != want || !a.Own {
			t.Errorf("news of %s ago: %+v, want %d percent of its own judgement", age, a, want)
		}
	}
}

func TestProvidersOfOneModelAreJudgedTogether(t *testing.T) {
	t.Parallel()
	l := NewLayout([][]string{{"openai", "azure", "openai"}, {"mistral"}, {"azure", "bedrock"}})
	for provider, want := range map[string]string{"openai": "azure", "azure": "azure", "bedrock": "azure", "mistral": "mistral", "else": "else"} {
		if got := l.Fleet(provider); got != want {
			t.Errorf("%s is of fleet %s, want %s", provider, got, want)
		}
	}
	want := [][]string{{"azure", "openai"}, {"azure", "bedrock"}}
	if diff := cmp.Diff(want, l.models["azure"]); diff != "" {
		t.Error(diff)
	}
}

func TestEndpointsThatLeaveAreForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.fleet()
	w.quiet(f, 3)
	for range forgotten + 1 {
		f.Add(Name{"p", "b"}, "", endpoint.Stats{})
		f.Tick(w.now(), nil)
	}
	if f.Knows(Name{"p", "a"}) || !f.Knows(Name{"p", "b"}) {
		t.Errorf("%d members remain", len(f.members))
	}
}

// A follower takes 20 s of silence for an owner that is gone.
func TestAnIdleEndpointIsSpokenOfOftenEnough(t *testing.T) {
	t.Parallel()
	w, g := newWorld(t), guide(t)
	f := w.fleet()
	for range 30 {
		w.ticks++
		f.Add(Name{"p", "a"}, "", endpoint.Stats{})
		f.Tick(w.now(), nil)
		states, err := f.States(w.now(), "analyst")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range states {
			g.Hear(s, w.now())
		}
		all, _ := g.Tick(w.now(), []schemas.EndpointSums{{Provider: "p", Endpoint: "a"}})
		if a := adviceOf(t, all, "a"); a.Own && w.ticks > 2 {
			t.Fatalf("tick %d: %+v", w.ticks, a)
		}
	}
}

func TestSumsSurviveTheTripAndLiesDoNot(t *testing.T) {
	t.Parallel()
	var s endpoint.Stats
	s.Observe(endpoint.Call{FirstToken: time.Second, Gap: time.Millisecond, Latency: time.Minute, Input: 10, Output: 20})
	s.Observe(endpoint.Call{Outcome: endpoint.Truncated})
	sums := Sums(Name{"p", "a"}, "eu", s)
	if diff := cmp.Diff(s, StatsOf(&sums), cmpopts.EquateApprox(0, 0)); diff != "" {
		t.Error(diff)
	}
	lie := schemas.EndpointSums{Calls: -4, Faults: 3, Limited: math.MaxInt64, FirstToken: schemas.LogSum{N: 1, Log: math.NaN()}, Gap: schemas.LogSum{N: 1, Log: 1e300}}
	if got := StatsOf(&lie); got.Calls != 3+mostCalls || got.FirstToken.N != 0 || got.Gap.N != 0 {
		t.Errorf("read as %+v", got)
	}
}

func TestConfigThatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	good := Defaults()
	if err := good.Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	for want, edit := range map[string]func(*Config){
		"mode is":    func(c *Config) { c.Mode = "on" },
		"tick is":    func(c *Config) { c.Tick = 0 },
		"publish is": func(c *Config) { c.Publish = time.Hour },
		"silence is": func(c *Config) { c.Silence = c.Tick },
		"trickle is": func(c *Config) { c.Trickle = 0 },
	} {
		c := Defaults()
		edit(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

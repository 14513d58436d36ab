package endpoint

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// calls draws the calls of a tick: every one with the pace given, a share of them
// with an outcome.
func calls(r *rand.Rand, n int, pace float64, o Outcome, share float64) Stats {
	var s Stats
	for range n {
		d := time.Duration(pace * math.Exp(0.3*r.NormFloat64()) * float64(time.Second))
		c := Call{FirstToken: d, Gap: d / 5, Latency: 10 * d}
		if r.Float64() < share {
			c.Outcome = o
		}
		s.Observe(c)
	}
	return s
}

// settled is a state that has seen an hour of good health.
func settled(r *rand.Rand) *State {
	s := new(State)
	for range 720 {
		t := calls(r, 10, 0.4, Fault, 0.002)
		s.Tick(&t, Around{Healthy: true})
	}
	return s
}

func TestSumsOfWorkersAreTheSumOfAll(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 0))
	var all, one, two Stats
	for i := range 1000 {
		c := Call{FirstToken: time.Duration(r.IntN(1e9)), Gap: time.Duration(r.IntN(1e8)), Latency: time.Duration(r.IntN(1e10)), Outcome: Outcome(r.IntN(5))}
		all.Observe(c)
		if i%3 == 0 {
			one.Observe(c)
		} else {
			two.Observe(c)
		}
	}
	one.Add(two)
	if diff := cmp.Diff(all, one, cmpopts.EquateApprox(1e-12, 0)); diff != "" {
		t.Error(diff)
	}
	if all.Bad() == 0 || all.Bad() >= all.Calls {
		t.Errorf("%d bad of %d", all.Bad(), all.Calls)
	}
}

func TestEveryTroubleRaisesItsOwnFeature(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		pace    float64
		outcome Outcome
		share   float64
		raised  Feature
	}{
		{"slow", 1.2, OK, 0, FirstTokenNow},
		{"failing", 0.4, Fault, 0.3, FaultsNow},
		{"limited", 0.4, Limited, 0.3, LimitedNow},
		{"overloaded", 0.4, Overloaded, 0.3, OverloadedNow},
		{"broken off", 0.4, Truncated, 0.3, TruncatedNow},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(2, 0))
			s := settled(r)
			quiet := calls(r, 10, 0.4, OK, 0)
			before := s.Tick(&quiet, Around{})
			var f Features
			for range 6 { // half a minute
				tick := calls(r, 10, tc.pace, tc.outcome, tc.share)
				f = s.Tick(&tick, Around{})
			}
			if before[tc.raised] > 0.2 || f[tc.raised] < 0.7 {
				t.Errorf("%s went from %.2f to %.2f", tc.raised, before[tc.raised], f[tc.raised])
			}
			if bad := s.Bad(); math.Abs(bad-tc.share) > 0.15 {
				t.Errorf("%.2f of the calls are bad, want about %.2f", bad, tc.share)
			}
		})
	}
}

func TestWhatAllEndpointsSeeIsNotTheFaultOfOne(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 0))
	s := settled(r)
	for range 12 {
		tick := calls(r, 10, 0.8, OK, 0)
		f := s.Tick(&tick, Around{Slower: s.Slower()})
		if f[FirstTokenNow] > 0.3 {
			t.Fatalf("as slow as all others it still counts %.2f", f[FirstTokenNow])
		}
	}
	if s.Slower() < 0.4 {
		t.Errorf("it says itself that it is %.2f slower, want about 0.6", s.Slower())
	}
}

func TestTroubleDoesNotBecomeTheCustom(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(4, 0))
	s := settled(r)
	var f Features
	for range 720 { // an hour of it
		tick := calls(r, 10, 1.2, Fault, 0.3)
		f = s.Tick(&tick, Around{Healthy: false})
	}
	if f[FirstTokenNow] < 0.8 || f[FaultsNow] < 2 {
		t.Errorf("after an hour it counts %.2f and %.2f", f[FirstTokenNow], f[FaultsNow])
	}
}

func TestSilenceIsNoRecovery(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 0))
	s := settled(r)
	for range 6 {
		tick := calls(r, 10, 0.4, Fault, 0.9)
		s.Tick(&tick, Around{})
	}
	before := s.Bad()
	for range 100 {
		s.Tick(new(Stats), Around{})
	}
	if s.Bad() < before {
		t.Errorf("without a call the share of bad ones fell from %.2f to %.2f", before, s.Bad())
	}
}

func TestWholeAnswersAreWatchedByTheirLatency(t *testing.T) {
	t.Parallel()
	var s State
	tick := func(latency time.Duration, tokens int64) Features {
		var t Stats
		for range 10 {
			t.Observe(Call{Latency: latency, Output: tokens})
		}
		return s.Tick(&t, Around{Healthy: s.Slower() == 0})
	}
	for range 60 {
		tick(time.Second, 50)
	}
	var longer, slower Features
	for range 6 {
		longer = tick(3*time.Second, 150)
	}
	for range 6 {
		slower = tick(9*time.Second, 150)
	}
	if longer[FirstTokenNow] > 0.1 || slower[FirstTokenNow] < 0.7 {
		t.Errorf("longer answers count %.2f, slower ones %.2f", longer[FirstTokenNow], slower[FirstTokenNow])
	}
}

func TestBaselineFromOutsideReplacesWhatWasSeen(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(6, 0))
	s := new(State)
	s.Expect(Baseline{FirstToken: 100 * time.Millisecond})
	tick := calls(r, 100, 0.4, OK, 0)
	if f := s.Tick(&tick, Around{}); f[FirstTokenNow] < 1 {
		t.Errorf("four times the baseline counts %.2f", f[FirstTokenNow])
	}
}

// Run with go test ./handlers/anomaly/endpoint -bench . -benchmem.
func BenchmarkObserve(b *testing.B) {
	b.ReportAllocs()
	var s Stats
	c := Call{FirstToken: 300 * time.Millisecond, Gap: 40 * time.Millisecond, Latency: 3 * time.Second}
	for b.Loop() {
		s.Observe(c)
	}
}

func BenchmarkTick(b *testing.B) {
	b.ReportAllocs()
	r := rand.New(rand.NewPCG(7, 0))
	s := settled(r)
	tick := calls(r, 10, 0.4, OK, 0)
	for b.Loop() {
		s.Tick(&tick, Around{Healthy: true})
	}
}

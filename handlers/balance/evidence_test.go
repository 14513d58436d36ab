package balance_test

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/schemas"
)

// run makes calls, a tenth of a second apart, that fail with probability share,
// until the breaker opens; it returns how many.
func run(t *testing.T, p *balance.Pool, share float64, most int, draws *rand.Rand) int {
	t.Helper()
	for n := range most {
		if state(p) == balance.Open {
			return n
		}
		l := acquire(t, p, "", "m")
		if draws.Float64() < share {
			l.Done(fail(schemas.Unavailable), 0)
		} else {
			l.Done(nil, 0)
		}
		time.Sleep(100 * time.Millisecond) // synctest's clock
	}
	return most
}

func TestTheBreakerWaitsForEvidenceAndNotLonger(t *testing.T) {
	t.Parallel()
	tests := []struct {
		share float64
		most  int  // calls
		opens bool // within them
	}{
		{0.01, 20_000, false},
		{0.02, 5000, false},
		{0.10, 1500, true},
		{0.25, 400, true},
		{0.50, 100, true},
		{0.90, 30, true},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			for seed := range uint64(3) {
				p, _ := single(t)
				n := run(t, p, tt.share, tt.most, rand.New(rand.NewPCG(seed, 1)))
				if opened := n < tt.most; opened != tt.opens {
					t.Errorf("at %v failures, seed %d: opened %t after %d calls", tt.share, seed, opened, n)
				}
			}
		})
	}
}

// A share that a document sets by hand still opens the breaker on its own.
func TestTheOldRatioStillOpens(t *testing.T) {
	t.Parallel()
	c := balance.Defaults()
	c.Breaker.Ratio = 0.5
	b, err := balancers().Build("round_robin", nil, catalogEnv)
	if err != nil {
		t.Fatal(err)
	}
	p, err := balance.NewPool("acme", c, b, endpoints(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		acquire(t, p, "", "m").Done(nil, 0)
		acquire(t, p, "", "m").Done(fail(schemas.Internal), 0)
	}
	if got := state(p); got != balance.Open {
		t.Errorf("half of ten calls failed and the breaker is %s", got)
	}
}

// opening is how long the breaker is open from now.
func opening(p *balance.Pool) time.Duration { return time.Until(p.Snapshot()[0].OpenUntil) }

func within(d, most time.Duration) bool { return d > most*4/5-time.Millisecond && d <= most }

func TestOpeningsGrowWhileProbesFailAndBeginAnewAfterACalm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := single(t)
		open(t, p)
		for i, most := range []time.Duration{10 * time.Second, 20 * time.Second, 25 * time.Second, 25 * time.Second} {
			if d := opening(p); !within(d, most) {
				t.Errorf("opening %d lasts %s, want up to a fifth less than %s", i, d, most)
			}
			time.Sleep(opening(p)) // synctest's clock
			acquire(t, p, "", "m").Done(fail(schemas.Unavailable), 0)
		}
		recover := func() {
			time.Sleep(opening(p)) // synctest's clock
			acquire(t, p, "", "m").Done(nil, 0)
			acquire(t, p, "", "m").Done(nil, 0)
		}
		recover()
		open(t, p) // at once: it flaps
		if d := opening(p); !within(d, 25*time.Second) {
			t.Errorf("the opening after a flap lasts %s", d)
		}
		recover()
		time.Sleep(31 * time.Second) // synctest's clock
		open(t, p)
		if d := opening(p); !within(d, 10*time.Second) {
			t.Errorf("the opening after a calm lasts %s", d)
		}
	})
}

// Endpoints that fail together must not be probed together, nor by all workers.
func TestOpeningsAreJitteredByEndpointAndSeed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		seen := map[time.Duration]bool{}
		for seed := range uint64(4) {
			c := balance.Defaults()
			c.Seed = seed
			b, err := balancers().Build("round_robin", nil, catalogEnv)
			if err != nil {
				t.Fatal(err)
			}
			p, err := balance.NewPool("acme", c, b, endpoints(5), nil)
			if err != nil {
				t.Fatal(err)
			}
			for range 500 {
				if l, err := p.Acquire(0, "", "m", time.Now()); err == nil {
					l.Done(fail(schemas.Unavailable), 0)
				}
			}
			for _, v := range p.Snapshot() {
				seen[time.Until(v.OpenUntil)] = true
			}
		}
		if len(seen) != 20 {
			t.Errorf("20 breakers open for %d different times", len(seen))
		}
	})
}

// A hundred calls are under way when the endpoint dies. The sixth failure and
// those after it find the breaker open; none of them may be taken for a probe.
func TestFailuresAtOnceOpenTheBreakerOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, states := single(t)
		var leases []*balance.Lease
		for range 100 {
			leases = append(leases, acquire(t, p, "", "m"))
		}
		for _, l := range leases {
			go l.Done(fail(schemas.Network), time.Second)
		}
		synctest.Wait()
		if len(*states) != 1 || !within(opening(p), 10*time.Second) {
			t.Errorf("the breaker went to %v and is open for %s", *states, opening(p))
		}
	})
}

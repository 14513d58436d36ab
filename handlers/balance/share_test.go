package balance_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
)

// Weights alone don't do it: least_load sees endpoints of equal load while there
// is little to do, and peak_ewma would never ask an endpoint of a twentieth of
// its weight, so that nobody learned that it is well again.
func TestEveryBalancerGivesAnEndpointItsShareOfFewCalls(t *testing.T) {
	t.Parallel()
	for _, kind := range balancers().Kinds() {
		p := newPool(t, kind, nil, endpoints(3)...)
		p.Endpoint("e1").SetShare(5)
		const calls = 6000
		got := 0
		for range calls {
			l := acquire(t, p, "", "m")
			if l.Endpoint.ID == "e1" {
				got++
			}
			l.Done(nil, time.Millisecond)
		}
		if share := 300 * float64(got) / calls; share < 2 || share > 8 {
			t.Errorf("%s gives %.1f %% of its calls to an endpoint with a share of 5 %%", kind, share)
		}
	}
}

func TestAShareIsNeverNothing(t *testing.T) {
	t.Parallel()
	p := newPool(t, "round_robin", nil, endpoints(2)...)
	e := p.Endpoint("e0")
	e.SetShare(-5)
	if e.Share() != 1 {
		t.Errorf("a share of -5 %% is %d %%", e.Share())
	}
	if got := share(t, p, "e0", 10_000); got == 0 || got > 0.02 {
		t.Errorf("it gets %.4f of the calls", got)
	}
}

func TestAWithheldCallIsMadeWhereNobodyElseTakesIt(t *testing.T) {
	t.Parallel()
	p := newPool(t, "least_load", nil, endpoints(1)...)
	p.Endpoint("e0").SetShare(1)
	withheld := 0
	for range 500 {
		acquire(t, p, "", "m").Done(nil, 0)
		l, err := p.AcquireFree(0, "", "m", time.Now(), nil)
		if err == nil {
			l.Done(nil, 0)
			continue
		}
		if unusable, ok := errors.AsType[*balance.UnusableError](err); !ok || !unusable.Withheld || unusable.Until.IsZero() {
			t.Fatalf("refused with %v", err)
		}
		withheld++
	}
	if withheld < 480 {
		t.Errorf("%d of 500 calls were withheld, want about 495", withheld)
	}
}

func TestASuspicionOpensTheBreakerSoonerAndNeverAlone(t *testing.T) {
	t.Parallel()
	calls := func(probability float64) (n int) {
		synctest.Test(t, func(t *testing.T) {
			p, _ := single(t)
			p.Endpoint("a").Suspect(probability)
			for range 500 {
				acquire(t, p, "", "m").Done(nil, 0)
			}
			if got := state(p); got != balance.Closed {
				t.Errorf("a suspicion of %v made the breaker %s", probability, got)
			}
			n = run(t, p, 0.3, 400, rand.New(rand.NewPCG(1, 1)))
		})
		return n
	}
	plain, told, certain := calls(0), calls(0.6), calls(1)
	if certain > told || told >= plain {
		t.Errorf("it opens after %d calls, %d with a suspicion of 0.6 and %d with 1", plain, told, certain)
	}
	if n := calls(math.NaN()); n != plain {
		t.Errorf("no number at all makes it open after %d calls", n)
	}
}

package balance_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/schemas"
)

// share returns what part of n calls the endpoint gets.
func share(t *testing.T, p *balance.Pool, id string, n int) float64 {
	t.Helper()
	got := 0
	for range n {
		l := acquire(t, p, "", "m")
		if l.Endpoint.ID == id {
			got++
		}
		l.Done(fail(schemas.Cancelled), 0)
	}
	return float64(got) / float64(n)
}

func two(t *testing.T) *balance.Pool {
	return newPool(t, "round_robin", nil, balance.EndpointConfig{ID: "a"}, balance.EndpointConfig{ID: "b"})
}

// ramps checks that endpoint b of two comes back evenly within ten seconds.
func ramps(t *testing.T, p *balance.Pool) {
	t.Helper()
	for _, at := range []struct{ weight, after float64 }{{0.1, 0}, {0.5, 5}, {1, 5}} {
		time.Sleep(time.Duration(at.after * float64(time.Second))) // synctest's clock
		if got, want := share(t, p, "b", 1000), at.weight/(1+at.weight); math.Abs(got-want) > 0.01 {
			t.Errorf("with %v of its weight it gets %.3f of the calls, want %.3f", at.weight, got, want)
		}
	}
}

func TestARecoveredEndpointStartsSlowly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := two(t)
		bad := p.Endpoint("b")
		for bad.Usable(time.Now()) {
			l := acquire(t, p, "", "m")
			if l.Endpoint == bad {
				l.Done(fail(schemas.Unavailable), 0)
			} else {
				l.Done(nil, 0)
			}
		}
		time.Sleep(11 * time.Second) // synctest's clock
		for p.Snapshot()[1].State != balance.Closed {
			acquire(t, p, "", "m").Done(nil, 0)
		}
		ramps(t, p)
	})
}

func TestANewEndpointStartsSlowlyButNotTheFirstOnes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "round_robin", nil, balance.EndpointConfig{ID: "a"}, balance.EndpointConfig{ID: "c"})
		if got := share(t, p, "c", 100); got != 0.5 {
			t.Errorf("an endpoint of the first hour gets %v", got)
		}
		if err := p.Replace([]balance.EndpointConfig{{ID: "a"}, {ID: "b"}}); err != nil {
			t.Fatal(err)
		}
		if v := p.Snapshot(); v[0].Start != 0 || v[1].Start != 10 {
			t.Errorf("the snapshot says %d and %d percent", v[0].Start, v[1].Start)
		}
		ramps(t, p)
	})
}

func TestNearEndpointsArePreferred(t *testing.T) {
	t.Parallel()
	c := balance.Defaults()
	c.Locality = balance.LocalityConfig{Region: "eu", Zone: "a", Remote: 20}
	b, err := balancers().Build("round_robin", nil, catalogEnv)
	if err != nil {
		t.Fatal(err)
	}
	p, err := balance.NewPool("acme", c, b, []balance.EndpointConfig{
		{ID: "near", Region: "eu", Zone: "a"}, {ID: "next", Region: "eu", Zone: "b"}, {ID: "far", Region: "us", Zone: "a"},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]float64{"near": 100, "next": 20, "far": 4} {
		if got := share(t, p, id, 1240); math.Abs(got-want/124) > 0.001 {
			t.Errorf("%s gets %.3f of the calls, want %.3f", id, got, want/124)
		}
	}
}

func TestWeightsChangeWhileCallsGoOn(t *testing.T) {
	t.Parallel()
	p := two(t)
	b := p.Endpoint("b")
	for weight, want := range map[int]float64{3: 0.75, 0: 0.5, 1: 0.5} {
		b.SetWeight(weight)
		if got := share(t, p, "b", 2100); math.Abs(got-want) > 0.01 {
			t.Errorf("weight %d: got %.3f of the calls, want %.3f", weight, got, want)
		}
	}
}

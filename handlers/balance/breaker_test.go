package balance_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/schemas"
)

// single returns a pool of one endpoint and the states its breaker went to.
func single(t *testing.T) (*balance.Pool, *[]string) {
	t.Helper()
	states := &[]string{}
	p := newPool(t, "round_robin", func(c balance.Change) { *states = append(*states, c.To) }, balance.EndpointConfig{ID: "a"})
	return p, states
}

func state(p *balance.Pool) string { return p.Snapshot()[0].State }

func TestWhatOpensTheBreaker(t *testing.T) {
	t.Parallel()
	repeat := func(n int, codes ...schemas.Code) (out []schemas.Code) {
		for range n {
			out = append(out, codes...)
		}
		return out
	}
	tests := []struct {
		name  string
		calls []schemas.Code
		every time.Duration
		want  string
	}{
		{"four failures in a row do not", repeat(4, schemas.Unavailable), 0, balance.Closed},
		{"five do", repeat(5, schemas.Unavailable), 0, balance.Open},
		{"half of twenty does", repeat(10, schemas.OK, schemas.Timeout), 0, balance.Open},
		{"half of eighteen does not", repeat(9, schemas.OK, schemas.Timeout), 0, balance.Closed},
		{"a third of 33 does", repeat(11, schemas.OK, schemas.OK, schemas.Internal), 0, balance.Open},
		{"three in a hundred never do", repeat(200, append(repeat(32, schemas.OK), schemas.Internal)...), 0, balance.Closed},
		{"half of few calls does", repeat(12, schemas.OK, schemas.Internal), 5 * time.Second, balance.Open},
		{"failures of one in an hour do not", repeat(50, schemas.Internal), time.Hour, balance.Closed},
		{"bad requests never do", repeat(50, schemas.InvalidRequest), 0, balance.Closed},
		{"filtered content never does", repeat(50, schemas.ContentFiltered), 0, balance.Closed},
		{"requesters who leave never do", repeat(50, schemas.Cancelled), 0, balance.Closed},
		{"a bad request between failures neither helps nor harms", repeat(5, schemas.InvalidRequest, schemas.Internal), 0, balance.Open},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, _ := single(t)
				for _, code := range tt.calls {
					l := acquire(t, p, "", "m")
					if code == schemas.OK {
						l.Done(nil, 0)
					} else {
						l.Done(fail(code), 0)
					}
					time.Sleep(tt.every) // synctest's clock
				}
				if got := state(p); got != tt.want {
					t.Errorf("the breaker is %s, want %s", got, tt.want)
				}
			})
		})
	}
}

// gobreaker forgets a call that began before its window. A provider that hangs
// makes nothing but such calls.
func TestCallsLongerThanTheWindowCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := single(t)
		leases := make([]*balance.Lease, 5)
		for i := range leases {
			leases[i] = acquire(t, p, "", "m")
		}
		time.Sleep(2 * time.Minute) // synctest's clock
		for _, l := range leases {
			l.Done(fail(schemas.Timeout), 2*time.Minute)
		}
		if got := state(p); got != balance.Open {
			t.Errorf("the breaker is %s", got)
		}
	})
}

func open(t *testing.T, p *balance.Pool) {
	t.Helper()
	for range 5 {
		acquire(t, p, "", "m").Done(fail(schemas.Unavailable), 0)
	}
}

func TestTheBreakerProbesAndCloses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, states := single(t)
		open(t, p)
		_, err := p.Acquire(0, "", "m", time.Now())
		u, ok := errors.AsType[*balance.UnusableError](err)
		if !ok || time.Until(u.Until) > 10*time.Second || time.Until(u.Until) < 8*time.Second {
			t.Fatalf("got %v, want to be told to come back in 8 to 10 s", err)
		}
		time.Sleep(time.Until(u.Until)) // synctest's clock
		first, second := acquire(t, p, "", "m"), acquire(t, p, "", "m")
		if _, err := p.Acquire(0, "", "m", time.Now()); err == nil {
			t.Error("a third probe went through")
		}
		first.Done(nil, 0)
		second.Done(nil, 0)
		if diff := cmp.Diff([]string{balance.Open, balance.HalfOpen, balance.Closed}, *states); diff != "" {
			t.Error(diff)
		}
		acquire(t, p, "", "m").Done(nil, 0)
	})
}

func TestAFailedProbeOpensItAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, states := single(t)
		open(t, p)
		time.Sleep(11 * time.Second) // synctest's clock
		acquire(t, p, "", "m").Done(fail(schemas.Overloaded), 0)
		if diff := cmp.Diff([]string{balance.Open, balance.HalfOpen, balance.Open}, *states); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAProbeThatSaysNothingGivesItsTurnBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := single(t)
		open(t, p)
		time.Sleep(11 * time.Second) // synctest's clock
		for range 5 {
			acquire(t, p, "", "m").Done(fail(schemas.Cancelled), 0)
		}
		if got := state(p); got != balance.HalfOpen {
			t.Errorf("the breaker is %s", got)
		}
	})
}

// Ten calls begin while all is well and fail after the breaker has opened,
// probed and closed: old news must not open it again.
func TestCallsFromBeforeAChangeHaveNoSay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := single(t)
		var old []*balance.Lease
		for range 10 {
			old = append(old, acquire(t, p, "", "m"))
		}
		open(t, p)
		time.Sleep(11 * time.Second) // synctest's clock
		acquire(t, p, "", "m").Done(nil, 0)
		acquire(t, p, "", "m").Done(nil, 0)
		for _, l := range old {
			l.Done(fail(schemas.Timeout), 0)
			l.Done(fail(schemas.Timeout), 0) // and the second Done never counts
		}
		v := p.Snapshot()[0]
		if v.State != balance.Closed || v.InFlight != 0 || v.Calls != 17 {
			t.Errorf("got %+v", v)
		}
	})
}

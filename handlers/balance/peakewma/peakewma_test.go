package peakewma_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/peakewma"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

func pool(t *testing.T, n int) *balance.Pool {
	t.Helper()
	b, err := catalog.New("balancer", peakewma.Entry).Build("peak_ewma", nil, catalog.Env{})
	if err != nil {
		t.Fatal(err)
	}
	var endpoints []balance.EndpointConfig
	for i := range n {
		endpoints = append(endpoints, balance.EndpointConfig{ID: fmt.Sprint(i)})
	}
	p, err := balance.NewPool("acme", balance.Defaults(), b, endpoints, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func acquire(t *testing.T, p *balance.Pool) *balance.Lease {
	t.Helper()
	l, err := p.Acquire(0, "", "m", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// play has a call begin every 10 ms for d. took says how long one lasts and
// whether it is answered. It returns how many calls each endpoint got.
func play(t *testing.T, p *balance.Pool, d time.Duration, took func(id string) (time.Duration, *schemas.Failure)) map[string]int {
	got := map[string]int{}
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(10 * time.Millisecond) { // synctest's clock
		l := acquire(t, p)
		got[l.Endpoint.ID]++
		go func() {
			d, failure := took(l.Endpoint.ID)
			time.Sleep(d) // synctest's clock
			l.Done(failure, d)
		}()
	}
	time.Sleep(time.Minute) // synctest's clock: the calls that are left end
	return got
}

func TestASlowEndpointGetsFewCallsButSome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		got := play(t, pool(t, 4), time.Minute, func(id string) (time.Duration, *schemas.Failure) {
			if id == "0" {
				return 2 * time.Second, nil
			}
			return 200 * time.Millisecond, nil
		})
		if got["0"] == 0 || got["0"] > 600 {
			t.Errorf("the slow one of four got %d of 6000 calls, want some but at most a tenth", got["0"])
		}
		for _, id := range []string{"1", "2", "3"} {
			if got[id] < 1500 {
				t.Errorf("%s got %d of 6000 calls", id, got[id])
			}
		}
	})
}

// A failure in a millisecond must not draw calls as an answer in one would. The
// failures are few enough for the breaker.
func TestFailingFastIsNotBeingFast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		got := play(t, pool(t, 2), time.Minute, func(id string) (time.Duration, *schemas.Failure) {
			if id == "0" {
				if n.Add(1)%40 == 0 {
					return time.Millisecond, &schemas.Failure{Code: schemas.Overloaded}
				}
			}
			return 200 * time.Millisecond, nil
		})
		if got["0"] > got["1"] {
			t.Errorf("the endpoint that fails got %d calls, the other %d", got["0"], got["1"])
		}
	})
}

// Before the first answer nothing is known but the calls in flight.
func TestNewcomersShareBeforeTheFirstAnswer(t *testing.T) {
	t.Parallel()
	p := pool(t, 2)
	got := map[string]int{}
	for range 100 {
		got[acquire(t, p).Endpoint.ID]++
	}
	if got["0"] < 49 || got["0"] > 51 {
		t.Errorf("got %v", got)
	}
}

func TestAnIdleSpellForgivesASlowAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := pool(t, 2)
		slow, fast := acquire(t, p), acquire(t, p)
		slow.Done(nil, 10*time.Second)
		fast.Done(nil, time.Second)
		for range 20 {
			l := acquire(t, p)
			if l.Endpoint == slow.Endpoint {
				t.Fatal("the slow endpoint was asked at once")
			}
			l.Done(nil, time.Second)
		}
		time.Sleep(30 * time.Second) // synctest's clock
		fast = nil
		for range 20 {
			l := acquire(t, p)
			if l.Endpoint == slow.Endpoint {
				fast = l
			}
			l.Done(nil, time.Second)
			time.Sleep(time.Second) // synctest's clock
		}
		if fast == nil {
			t.Error("the slow endpoint was never asked again")
		}
	})
}

func TestTheSameSeedGivesTheSameDraws(t *testing.T) {
	t.Parallel()
	draw := func() (ids string) {
		p := pool(t, 8)
		for range 50 {
			ids += acquire(t, p).Endpoint.ID
		}
		return ids
	}
	if first, second := draw(), draw(); first != second {
		t.Errorf("%s, then %s", first, second)
	}
}

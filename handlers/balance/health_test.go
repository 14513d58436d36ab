package balance_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/schemas"
)

// site is an endpoint's outside world: it is up or down, and knows when it was
// probed.
type site struct {
	mu     sync.Mutex
	err    error
	hangs  bool
	panics bool
	probed []time.Time
}

func (s *site) Probe(ctx context.Context) error {
	s.mu.Lock()
	s.probed = append(s.probed, time.Now())
	err, hangs := s.err, s.hangs
	s.mu.Unlock()
	if s.panics {
		panic("a mistake")
	}
	if hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (s *site) set(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *site) times() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.probed...)
}

// watch runs the health checks of p with s behind every endpoint, until the test
// ends them.
func watch(t *testing.T, p *balance.Pool, s *site) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	h := balance.NewHealth(p, func(*balance.Endpoint) balance.Prober { return s }, zap.NewNop())
	go func() { done <- h.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestProbesCloseABreakerWithoutARequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := single(t)
		s := &site{err: errors.New("down")}
		defer watch(t, p, s)()
		synctest.Wait()
		open(t, p)
		time.Sleep(2 * time.Minute) // synctest's clock
		if n := len(s.times()); n < 4 || n > 8 {
			t.Errorf("%d probes in two minutes of 10 to 25 s", n)
		}
		if got := state(p); got != balance.Open {
			t.Fatalf("the breaker is %s", got)
		}
		s.set(nil)
		recovered := time.Now()
		for state(p) != balance.Closed {
			time.Sleep(100 * time.Millisecond) // synctest's clock
		}
		if d := time.Since(recovered); d > 30*time.Second {
			t.Errorf("back after %s", d)
		}
	})
}

func TestRequestsAreNoProbesWhileHealthRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := single(t)
		s := &site{hangs: true}
		stop := watch(t, p, s)
		synctest.Wait()
		open(t, p)
		time.Sleep(15 * time.Second) // synctest's clock: a probe is under way and hangs
		if len(s.times()) == 0 {
			t.Fatal("no probe")
		}
		if l, err := p.Acquire(0, "", "m", time.Now()); err == nil {
			l.Done(nil, 0)
			t.Error("a request was let through beside the probe")
		}
		stop()
		time.Sleep(time.Minute) // synctest's clock: without Health, requests probe again
		acquire(t, p, "", "m").Done(nil, 0)
	})
}

func TestAnIdleEndpointIsProbedLessAndLess(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := single(t)
		s := &site{}
		defer watch(t, p, s)()
		start := time.Now()
		time.Sleep(time.Hour) // synctest's clock
		times := s.times()
		if len(times) < 6 || len(times) > 12 {
			t.Fatalf("%d probes in an idle hour", len(times))
		}
		if first := times[0].Sub(start); first > time.Minute || first < 48*time.Second {
			t.Errorf("the first probe came after %s", first)
		}
		if last := times[len(times)-1].Sub(times[len(times)-2]); last < 8*time.Minute || last > 10*time.Minute {
			t.Errorf("the last two are %s apart", last)
		}
	})
}

func TestABusyEndpointIsNotProbed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := single(t)
		s := &site{}
		defer watch(t, p, s)()
		for range 60 {
			acquire(t, p, "", "m").Done(nil, time.Second)
			time.Sleep(10 * time.Second) // synctest's clock
		}
		if n := len(s.times()); n != 0 {
			t.Errorf("%d probes", n)
		}
	})
}

func TestAnIdleEndpointThatDiesIsFoundBeforeARequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := single(t)
		defer watch(t, p, &site{err: errors.New("down")})()
		time.Sleep(70 * time.Second) // synctest's clock
		if got := state(p); got == balance.Closed {
			t.Error("the breaker is closed ten seconds after the first failed probe")
		}
	})
}

func TestAProbeThatPanicsHasFailed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := single(t)
		defer watch(t, p, &site{panics: true})()
		time.Sleep(70 * time.Second) // synctest's clock
		if got := state(p); got == balance.Closed {
			t.Error("the breaker is closed")
		}
	})
}

func TestAProbeThatIsRateLimitedSaysNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, _ := single(t)
		s := &site{err: schemas.Fail(schemas.RateLimited, "", nil)}
		defer watch(t, p, s)()
		synctest.Wait()
		open(t, p)
		time.Sleep(10 * time.Minute) // synctest's clock
		if got := state(p); got != balance.HalfOpen {
			t.Errorf("the breaker is %s", got)
		}
		if n := len(s.times()); n > 20 {
			t.Errorf("%d probes of an endpoint that asked for fewer", n)
		}
	})
}

func TestEndpointsThatJoinAreProbedAndThoseThatLeaveAreNot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "round_robin", nil, endpoints(1)...)
		sites := map[string]*site{"e0": {}, "new": {}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		h := balance.NewHealth(p, func(e *balance.Endpoint) balance.Prober { return sites[e.ID] }, zap.NewNop())
		go func() { done <- h.Run(ctx) }()
		time.Sleep(30 * time.Second) // synctest's clock
		if err := p.Replace([]balance.EndpointConfig{{ID: "new"}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute) // synctest's clock
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if len(sites["e0"].probed) != 0 || len(sites["new"].probed) == 0 {
			t.Errorf("%d probes of the one that left, %d of the other", len(sites["e0"].probed), len(sites["new"].probed))
		}
	})
}

package limit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sira-ai/sira/handlers/balance/limit"
)

// crowd is requests that wait in goroutines of their own.
type crowd struct {
	l  *limit.Limiter
	wg sync.WaitGroup

	mu       sync.Mutex
	order    []string // of admission
	refused  map[string]error
	places   map[string]limit.Place
	admitted map[string]time.Time
}

func newCrowd(l *limit.Limiter) *crowd {
	return &crowd{l: l, refused: map[string]error{}, places: map[string]limit.Place{}, admitted: map[string]time.Time{}}
}

// send has a request of a name wait, and keep its admission for hold.
func (c *crowd) send(ctx context.Context, name string, a limit.Ask, hold time.Duration) {
	c.wg.Go(func() {
		g, err := c.l.Wait(ctx, a, func(p limit.Place) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.places[name] = p
		})
		c.mu.Lock()
		if err != nil {
			c.refused[name] = err
		} else {
			c.order = append(c.order, name)
			c.admitted[name] = time.Now()
		}
		c.mu.Unlock()
		if err == nil {
			time.Sleep(hold) // synctest's clock
			g.Done(limit.Outcome{})
		}
	})
	synctest.Wait()
}

func TestWaitersGoByPriorityThenDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(limiter(t, limit.Rule{Scope: limit.Tenant, Concurrency: 1}))
		ask := func(priority int, deadline time.Duration) limit.Ask {
			a := tenant("a")
			a.Priority = priority
			if deadline > 0 {
				a.Deadline = time.Now().Add(deadline)
			}
			return a
		}
		c.send(t.Context(), "first", ask(0, 0), time.Second)
		c.send(t.Context(), "bulk", ask(-1, 40*time.Second), time.Second)
		c.send(t.Context(), "late", ask(0, 50*time.Second), time.Second)
		c.send(t.Context(), "soon", ask(0, 20*time.Second), time.Second)
		c.send(t.Context(), "again", ask(0, 50*time.Second), time.Second)
		c.send(t.Context(), "urgent", ask(1, 0), time.Second)
		c.wg.Wait()
		if got := strings.Join(c.order, " "); got != "first urgent soon late again bulk" {
			t.Errorf("admitted %s, refused %v", got, c.refused)
		}
	})
}

func TestPositionAndETAAreTrue(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]limit.Rule{
		"requests": {Scope: limit.Tenant, Requests: 60},
		"tokens":   {Scope: limit.Tenant, Tokens: 6000},
	} {
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd(limiter(t, rule))
			ask := tenant("a")
			ask.Tokens = 100
			for try(t, c.l, ask) {
			}
			start := time.Now()
			for i := range 10 {
				c.send(t.Context(), fmt.Sprint(i), ask, 0)
			}
			c.wg.Wait()
			for i := range 10 {
				p, took := c.places[fmt.Sprint(i)], c.admitted[fmt.Sprint(i)].Sub(start)
				if p.Position != i+1 || (took-p.ETA).Abs() > 10*time.Millisecond {
					t.Errorf("%s: the %dth was told position %d and %s, and went after %s", name, i, p.Position, p.ETA, took)
				}
			}
		})
	}
}

func TestARequestThatWouldBeTooLateIsToldAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(limiter(t, limit.Rule{Scope: limit.Tenant, Requests: 6}))
		for try(t, c.l, tenant("a")) {
		}
		start := time.Now()
		hasty := tenant("a")
		hasty.Deadline = start.Add(5 * time.Second)
		c.send(t.Context(), "hasty", hasty, 0)
		c.wg.Wait()
		if !errors.Is(c.refused["hasty"], limit.ErrTooLate) || time.Since(start) != 0 {
			t.Errorf("got %v after %s", c.refused["hasty"], time.Since(start))
		}
	})
}

// What was to be in time and is not after all ends at its deadline.
func TestAWaitEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(limiter(t, limit.Rule{Scope: limit.Tenant, Concurrency: 1}))
		c.send(t.Context(), "holder", tenant("a"), time.Hour)
		start := time.Now()
		a := tenant("a")
		a.Deadline = start.Add(7 * time.Second)
		g, err := c.l.Wait(t.Context(), a, nil)
		if g != nil || !errors.Is(err, limit.ErrTooLate) || time.Since(start) != 7*time.Second {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
		c.wg.Wait()
	})
}

func TestACancelledWaiterLeavesItsPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(limiter(t, limit.Rule{Scope: limit.Tenant, Concurrency: 1}))
		c.send(t.Context(), "holder", tenant("a"), time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		c.send(ctx, "gone", tenant("a"), time.Second)
		c.send(t.Context(), "next", tenant("a"), time.Second)
		cancel()
		c.wg.Wait()
		if !errors.Is(c.refused["gone"], context.Canceled) || !slices.Equal(c.order, []string{"holder", "next"}) {
			t.Errorf("admitted %v, refused %v", c.order, c.refused)
		}
	})
}

func TestAFullQueueKeepsTheBest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conf := limit.Defaults()
		conf.Queue, conf.Rules = 2, []limit.Rule{{Scope: limit.Tenant, Concurrency: 1}}
		l, err := limit.New(conf)
		if err != nil {
			t.Fatal(err)
		}
		c := newCrowd(l)
		for i, name := range []string{"holder", "low", "middle", "lower", "high"} {
			a := tenant("a")
			a.Priority = []int{0, 1, 2, 0, 3}[i]
			c.send(t.Context(), name, a, time.Second)
		}
		c.wg.Wait()
		if !slices.Equal(c.order, []string{"holder", "high", "middle"}) {
			t.Errorf("admitted %v", c.order)
		}
		for _, name := range []string{"low", "lower"} {
			if !errors.Is(c.refused[name], limit.ErrFull) {
				t.Errorf("%s: %v", name, c.refused[name])
			}
		}
	})
}

// A tenant at its limit must not hold up another one that waits for nothing.
func TestOneTenantsQueueIsNotAnothers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(limiter(t, limit.Rule{Scope: limit.Tenant, Concurrency: 1}, limit.Rule{Scope: limit.Model, Concurrency: 3}))
		on := func(tenant string) limit.Ask { return limit.Ask{Subject: limit.Subject{Tenant: tenant, Model: "m"}} }
		for i := range 5 {
			c.send(t.Context(), fmt.Sprint("a", i), on("a"), 10*time.Second)
		}
		c.send(t.Context(), "b", on("b"), time.Second)
		c.mu.Lock()
		if !slices.Equal(c.order, []string{"a0", "b"}) {
			t.Errorf("admitted %v", c.order)
		}
		c.mu.Unlock()
		c.wg.Wait()
	})
}

// Many waiters over several limits at once: all are admitted, none twice, and the
// limits hold at every moment.
func TestNobodyIsForgotten(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conf := limit.Defaults()
		conf.Queue, conf.MaxWait = 1000, time.Hour
		conf.Rules = []limit.Rule{
			{Scope: limit.Tenant, Concurrency: 3, Requests: 300}, {Scope: limit.Key, Requests: 600, Tokens: 40_000}, {Scope: limit.Model, Concurrency: 5},
		}
		l, err := limit.New(conf)
		if err != nil {
			t.Fatal(err)
		}
		c := newCrowd(l)
		for i := range 300 {
			c.send(t.Context(), fmt.Sprint(i), limit.Ask{
				Subject:  limit.Subject{Tenant: fmt.Sprint("t", i%4), Key: fmt.Sprint("k", i%3), Model: fmt.Sprint("m", i%2)},
				Tokens:   int64(i % 7 * 100),
				Priority: i % 3,
			}, time.Duration(i%5)*300*time.Millisecond)
			if i%40 == 0 {
				if err := l.SetShare(1, 1+i/40%3); err != nil {
					t.Fatal(err)
				}
			}
		}
		c.wg.Wait()
		if len(c.order) != 300 || len(c.refused) != 0 {
			t.Errorf("%d of 300 were admitted, refused: %v", len(c.order), c.refused)
		}
	})
}

// Without a share nothing is admitted; waiters go on when it comes.
func TestWaitersGoOnWhenAShareComes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(limiter(t, limit.Rule{Scope: limit.Tenant, Requests: 600, Concurrency: 10}))
		if err := c.l.SetShare(0, 1); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		c.send(t.Context(), "early", tenant("a"), 0)
		time.Sleep(10 * time.Second) // synctest's clock
		if err := c.l.SetShare(1, 2); err != nil {
			t.Fatal(err)
		}
		c.wg.Wait()
		if took := c.admitted["early"].Sub(start); took < 11*time.Second || took > 12*time.Second {
			t.Errorf("admitted after %s, refused %v", took, c.refused)
		}
	})
}

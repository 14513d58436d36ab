package invoke

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/limit"
	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// limited is build with limits.
func limited(t *testing.T, vendors map[string]provider.Provider, keys int, rules ...limit.Rule) (*setup, *limit.Limiter, *[]limit.Place) {
	t.Helper()
	s := build(t, nil, vendors, keys)
	c := limit.Defaults()
	c.Rules = rules
	l, err := limit.New(c)
	if err != nil {
		t.Fatal(err)
	}
	places := new([]limit.Place)
	s.limits = Limits{Limiter: l, Priority: map[string]int{"interactive": 8, "bulk": 1}, Queued: func(p limit.Place) { *places = append(*places, p) }}
	return s, l, places
}

func TestOverATenantsLimitARequestWaitsItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, places := limited(t, map[string]provider.Provider{"a": good()}, 1, limit.Rule{Scope: limit.Tenant, Requests: 60, Burst: 1})
		began := time.Now()
		for range 4 {
			if err := s.Handle(t.Context(), ask("a").Job); err != nil {
				t.Fatal(err)
			}
		}
		// One at once and little more; each further one takes a second.
		if took := time.Since(began); took < 2*time.Second || took > 4*time.Second {
			t.Errorf("four requests took %s at one a second", took)
		}
		if len(*places) == 0 || (*places)[0].Scope != limit.Tenant || (*places)[0].Position != 1 || (*places)[0].ETA <= 0 {
			t.Errorf("they stood at %+v", *places)
		}
	})
}

func TestTheUrgentGoFirst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, _ := limited(t, map[string]provider.Provider{"a": good()}, 1, limit.Rule{Scope: limit.Model, Requests: 60, Burst: 1})
		var (
			mu    sync.Mutex
			order []string
			wg    sync.WaitGroup
		)
		for i, lane := range []string{"bulk", "bulk", "bulk", "interactive"} {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond) // synctest's clock
				job := ask("a")
				job.Origin.Lane = lane
				if err := s.Handle(t.Context(), job.Job); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				order = append(order, lane)
			})
		}
		wg.Wait()
		last := 0
		for i, lane := range order {
			if lane == "interactive" {
				last = i
			}
		}
		if last > 2 { // what was free at once had gone before it came
			t.Errorf("they went %v", order)
		}
	})
}

func TestWhatCanNotHaveItsTurnInTimeSaysSoAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := good()
		s, _, _ := limited(t, map[string]provider.Provider{"a": v}, 1, limit.Rule{Scope: limit.Tenant, Requests: 1, Burst: 1})
		if err := s.Handle(t.Context(), ask("a").Job); err != nil {
			t.Fatal(err)
		}
		began, job := time.Now(), ask("a")
		job.Deadline = began.Add(10 * time.Second)
		f := failure(t, s.Handle(t.Context(), job.Job))
		if f.Code != schemas.RateLimited || f.RetryAfterMS < 50_000 || time.Since(began) != 0 || v.calls() != 1 {
			t.Errorf("got %s, %d ms, after %s and %d calls", f.Code, f.RetryAfterMS, time.Since(began), v.calls())
		}
	})
}

func TestAKeyAtItsLimitIsPassedOverForTheNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, _, places := limited(t, map[string]provider.Provider{"a": good(), "b": good()}, 2, limit.Rule{Scope: limit.Key, Name: "a/a-0", Requests: 1, Burst: 1})
		began, at := time.Now(), map[string]int{}
		for range 6 {
			job := ask("a", "b")
			if err := s.Handle(t.Context(), job.Job); err != nil {
				t.Fatal(err)
			}
			at[job.Answered.Endpoint]++
		}
		if diff := cmp.Diff(map[string]int{"a-0": 1, "a-1": 5}, at); diff != "" || time.Since(began) != 0 || len(*places) != 0 {
			t.Errorf("after %s, with %d in queues:\n%s", time.Since(began), len(*places), diff)
		}
		for _, e := range s.pools["a"].Snapshot() {
			if e.InFlight != 0 {
				t.Errorf("%s has %d in flight", e.ID, e.InFlight)
			}
		}
	})
}

func TestWhereEveryKeyIsAtItsLimitTheQueueDecides(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, l, places := limited(t, map[string]provider.Provider{"a": good()}, 1, limit.Rule{Scope: limit.Endpoint, Requests: 4, Burst: 1})
		began := time.Now()
		for range 3 {
			if err := s.Handle(t.Context(), ask("a").Job); err != nil {
				t.Fatal(err)
			}
		}
		// Longer than max_wait: a limit is waited for until the deadline.
		if took := time.Since(began); took < 25*time.Second || took > 35*time.Second {
			t.Errorf("three calls took %s at one in 15 s", took)
		}
		if len(*places) != 2 || (*places)[1].Name != "a/a-0" || len(l.Lines()) != 0 {
			t.Errorf("they stood at %+v", *places)
		}
	})
}

func TestWhatProvidersSayOfTheirLimitsIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var said wire.RateLimit
		v := &vendor{answer: func(_ context.Context, _ int, call provider.Call, _ provider.Emit) (*schemas.Response, error) {
			call.RateLimit(said)
			return answerOK(), nil
		}}
		s, _, places := limited(t, map[string]provider.Provider{"a": v}, 1)
		said.Requests = wire.Window{Limit: 100, Remaining: 99, ResetAt: time.Now().Add(time.Minute)}
		for range 300 { // plenty is left, so nothing is counted
			if err := s.Handle(t.Context(), ask("a").Job); err != nil {
				t.Fatal(err)
			}
		}
		said.Requests = wire.Window{Limit: 100, Remaining: 0, ResetAt: time.Now().Add(7 * time.Second)}
		if err := s.Handle(t.Context(), ask("a").Job); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		said = wire.RateLimit{}
		if err := s.Handle(t.Context(), ask("a").Job); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < 7*time.Second || took > 8*time.Second || len(*places) != 1 {
			t.Errorf("waited %s, want the provider's 7 s; %+v", took, *places)
		}
	})
}

func TestTokensAreCountedAsUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// 513 tokens are expected and 4 used: what was not used is given back.
		s, _, _ := limited(t, map[string]provider.Provider{"a": good()}, 1, limit.Rule{Scope: limit.Tenant, Tokens: 1000, Burst: 1})
		began := time.Now()
		for range 20 {
			if err := s.Handle(t.Context(), ask("a").Job); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("80 tokens took %s at 1000 a minute", took)
		}
	})
}

// Discovery replaces endpoints while calls are made: each call goes on with the
// caller it began with, and the next takes the new one.
func TestEndpointsAreReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		old, fresh := streaming(time.Second, -1), good()
		s := build(t, nil, map[string]provider.Provider{"a": old}, 1)
		var wg sync.WaitGroup
		under := ask("a").streamed()
		wg.Go(func() {
			if err := s.Handle(t.Context(), under.Job); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		replace := func(endpoints ...balance.EndpointConfig) {
			t.Helper()
			if err := s.pools["a"].Replace(endpoints); err != nil {
				t.Fatal(err)
			}
		}
		replace(balance.EndpointConfig{ID: "new-1", Caller: fresh}, balance.EndpointConfig{ID: "new-2", Caller: fresh})
		for range 4 {
			job := ask("a")
			if err := s.Handle(t.Context(), job.Job); err != nil || job.Answered.Endpoint == "a-0" {
				t.Errorf("%v at %v", err, job.Answered)
			}
		}
		wg.Wait()
		if under.Answered.Endpoint != "a-0" || fresh.calls() != 4 {
			t.Errorf("%s answered, %d calls to the new ones", under.Answered.Endpoint, fresh.calls())
		}
		if err := s.pools["a"].Replace([]balance.EndpointConfig{{ID: "nothing"}}); err == nil {
			t.Error("an endpoint without a caller was taken")
		}
	})
}

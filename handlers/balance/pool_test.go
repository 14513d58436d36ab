package balance_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/consistenthash"
	"github.com/sira-ai/sira/handlers/balance/leastload"
	"github.com/sira-ai/sira/handlers/balance/peakewma"
	"github.com/sira-ai/sira/handlers/balance/performance"
	"github.com/sira-ai/sira/handlers/balance/roundrobin"
	"github.com/sira-ai/sira/handlers/balance/spillover"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

var catalogEnv = catalog.Env{}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func balancers() *catalog.Catalog[balance.Balancer] {
	return catalog.New("balancer", roundrobin.Entry, leastload.Entry,
		peakewma.Entry, consistenthash.Entry, performance.Entry, spillover.Entry)
}

func newPool(t testing.TB, kind string, onChange func(balance.Change), endpoints ...balance.EndpointConfig) *balance.Pool {
	t.Helper()
	b, err := balancers().Build(kind, nil, catalog.Env{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := balance.NewPool("acme", balance.Defaults(), b, endpoints, onChange)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func acquire(t testing.TB, p *balance.Pool, region, model string) *balance.Lease {
	t.Helper()
	l, err := p.Acquire(0, region, model, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func fail(code schemas.Code) *schemas.Failure { return &schemas.Failure{Code: code} }

func TestEndpointsAreAskedByWeight(t *testing.T) {
	t.Parallel()
	t.Run("round_robin takes smooth turns", func(t *testing.T) {
		t.Parallel()
		p := newPool(t, "round_robin", nil,
			balance.EndpointConfig{ID: "a", Weight: 5}, balance.EndpointConfig{ID: "b"}, balance.EndpointConfig{ID: "c"})
		var got strings.Builder
		for range 14 {
			l := acquire(t, p, "", "m")
			got.WriteString(l.Endpoint.ID)
			l.Done(nil, 0)
		}
		if got.String() != "aabacaaaabacaa" {
			t.Errorf("got %s", got.String())
		}
	})
	t.Run("least_load fills by weight", func(t *testing.T) {
		t.Parallel()
		p := newPool(t, "least_load", nil, balance.EndpointConfig{ID: "a", Weight: 3}, balance.EndpointConfig{ID: "b"})
		got := map[string]int{}
		for range 40 {
			got[acquire(t, p, "", "m").Endpoint.ID]++
		}
		if diff := cmp.Diff(map[string]int{"a": 30, "b": 10}, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("least_load gives idle endpoints turns", func(t *testing.T) {
		t.Parallel()
		p := newPool(t, "least_load", nil, balance.EndpointConfig{ID: "a"}, balance.EndpointConfig{ID: "b"}, balance.EndpointConfig{ID: "c"})
		got := map[string]int{}
		for range 30 {
			l := acquire(t, p, "", "m")
			got[l.Endpoint.ID]++
			l.Done(nil, 0)
		}
		if diff := cmp.Diff(map[string]int{"a": 10, "b": 10, "c": 10}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestConcurrentPicksKeepExactShares(t *testing.T) {
	t.Parallel()
	p := newPool(t, "round_robin", nil, balance.EndpointConfig{ID: "a", Weight: 3}, balance.EndpointConfig{ID: "b"})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				l, err := p.Acquire(0, "", "m", time.Now())
				if err != nil {
					t.Error(err)
					return
				}
				l.Done(nil, time.Millisecond)
			}
		})
	}
	wg.Wait()
	for i, want := range []int64{3000, 1000} {
		if v := p.Snapshot()[i]; v.Calls != want || v.InFlight != 0 {
			t.Errorf("%s: %d calls, %d in flight; want %d, 0", v.ID, v.Calls, v.InFlight, want)
		}
	}
}

func TestOnlyTheRegionIsAsked(t *testing.T) {
	t.Parallel()
	p := newPool(t, "round_robin", nil,
		balance.EndpointConfig{ID: "eu-1", Region: "eu"}, balance.EndpointConfig{ID: "us-1", Region: "us"}, balance.EndpointConfig{ID: "any"})
	for range 5 {
		if id := acquire(t, p, "eu", "m").Endpoint.ID; id != "eu-1" {
			t.Errorf("a request for eu went to %s", id)
		}
	}
	_, err := p.Acquire(0, "ap", "m", time.Now())
	if u, ok := errors.AsType[*balance.UnusableError](err); !ok || !u.Until.IsZero() {
		t.Errorf("got %v, want an error without a time", err)
	}
}

func TestWhatRestsAfterAFailure(t *testing.T) {
	t.Parallel()
	const other = "other" // another model
	tests := []struct {
		name    string
		failure schemas.Failure
		// Which of k1's two endpoints and k2's one can be asked afterwards.
		free, freeOther []string
		until           time.Duration // when all of k1 is back
	}{
		{"429 rests the key", schemas.Failure{Code: schemas.RateLimited, RetryAfterMS: 7000}, []string{"k2"}, []string{"k2"}, 7 * time.Second},
		{"429 without advice rests it for a second", schemas.Failure{Code: schemas.RateLimited}, []string{"k2"}, []string{"k2"}, time.Second},
		{"a used-up quota rests the key", schemas.Failure{Code: schemas.QuotaExhausted}, []string{"k2"}, []string{"k2"}, 5 * time.Minute},
		{"a quota's reset of a month is not believed", schemas.Failure{Code: schemas.QuotaExhausted, RetryAfterMS: 30 * 24 * 3600_000}, []string{"k2"}, []string{"k2"}, time.Hour},
		{"a refused key rests long, whatever is advised", schemas.Failure{Code: schemas.Auth, RetryAfterMS: 1}, []string{"k2"}, []string{"k2"}, 10 * time.Minute},
		{"a model that a key may not use rests with it", schemas.Failure{Code: schemas.Permission}, []string{"k2"}, []string{"k1-a", "k1-b", "k2"}, 10 * time.Minute},
		{"a model that is gone rests everywhere", schemas.Failure{Code: schemas.NotFound}, nil, []string{"k1-a", "k1-b", "k2"}, 5 * time.Minute},
		{"503 with advice rests the endpoint", schemas.Failure{Code: schemas.Overloaded, RetryAfterMS: 4000}, []string{"k1-b", "k2"}, []string{"k1-b", "k2"}, 4 * time.Second},
		{"503 without leaves it to the breaker", schemas.Failure{Code: schemas.Overloaded}, []string{"k1-a", "k1-b", "k2"}, []string{"k1-a", "k1-b", "k2"}, 0},
		{"a bad request rests nothing", schemas.Failure{Code: schemas.InvalidRequest, RetryAfterMS: 4000}, []string{"k1-a", "k1-b", "k2"}, []string{"k1-a", "k1-b", "k2"}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPool(t, "round_robin", nil,
					balance.EndpointConfig{ID: "k1-a", Key: "k1"}, balance.EndpointConfig{ID: "k1-b", Key: "k1"}, balance.EndpointConfig{ID: "k2", Key: "k2"})
				l := acquire(t, p, "", "m")
				if l.Endpoint.ID != "k1-a" {
					t.Fatalf("the first turn is %s", l.Endpoint.ID)
				}
				l.Done(&tt.failure, time.Second)
				if diff := cmp.Diff(tt.free, free(p, "m")); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(tt.freeOther, free(p, other)); diff != "" {
					t.Errorf("for another model: %s", diff)
				}
				time.Sleep(tt.until - 1) // synctest's clock
				if tt.until > 0 && len(free(p, "m")) == 3 {
					t.Error("back too early")
				}
				time.Sleep(time.Nanosecond)
				if got := free(p, "m"); len(got) != 3 {
					t.Errorf("after %s only %v can be asked", tt.until, got)
				}
			})
		})
	}
}

// free returns the endpoints that can be asked for model now, in order.
func free(p *balance.Pool, model string) []string {
	got := map[string]bool{}
	for range 12 {
		l, err := p.Acquire(0, "", model, time.Now())
		if err != nil {
			return nil
		}
		got[l.Endpoint.ID] = true
		l.Done(fail(schemas.Cancelled), 0)
	}
	var ids []string
	for _, e := range p.Endpoints() {
		if got[e.ID] {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

func TestARestIsNeverShortened(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "round_robin", nil, balance.EndpointConfig{ID: "a"})
		first, second := acquire(t, p, "", "m"), acquire(t, p, "", "m")
		first.Done(&schemas.Failure{Code: schemas.RateLimited, RetryAfterMS: 9000}, 0)
		second.Done(&schemas.Failure{Code: schemas.RateLimited, RetryAfterMS: 1000}, 0)
		_, err := p.Acquire(0, "", "m", time.Now())
		u, ok := errors.AsType[*balance.UnusableError](err)
		if !ok || time.Until(u.Until) != 9*time.Second {
			t.Errorf("got %v", err)
		}
	})
}

func TestMistakesInEndpointsAreAllNamed(t *testing.T) {
	t.Parallel()
	_, err := balance.NewPool("acme", balance.Defaults(), nil, []balance.EndpointConfig{
		{ID: "a"}, {ID: "a"}, {Key: "k"}, {ID: "b", Weight: -1},
	}, nil)
	for _, want := range []string{"endpoints[1].id", "endpoints[2].id", "endpoints[3].weight"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	var empty balance.Config
	if err := empty.Validate(); strings.Count(fmt.Sprint(err), "\n") != 20 {
		t.Errorf("want 21 faults, got %v", err)
	}
	nan := balance.Defaults()
	nan.Breaker.Failing, nan.Breaker.Evidence, nan.Breaker.Ratio, nan.Breaker.Jitter, nan.Health.Jitter = math.NaN(), math.NaN(), math.NaN(), math.NaN(), math.NaN()
	if err := nan.Validate(); strings.Count(fmt.Sprint(err), "\n") != 4 {
		t.Errorf("want five faults, got %v", err)
	}
}

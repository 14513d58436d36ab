package balance_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// serving is how long calls took and how many failed.
type serving struct {
	p99    time.Duration
	failed float64 // share
}

// serve plays twenty minutes of 20 calls a second against eight endpoints, each of
// which answers in about a second. From the fifth to the fifteenth minute one
// gets slower by the calls it has in flight and fails more and more of them.
func serve(t *testing.T, kind string) (s serving) {
	p := newPool(t, kind, nil, endpoints(8)...)
	draws := rand.New(rand.NewPCG(1, 2))
	start := time.Now()
	var (
		mu     sync.Mutex
		took   []time.Duration
		failed int
		calls  sync.WaitGroup
	)
	for i := 0; time.Since(start) < 20*time.Minute; i++ {
		l, err := p.Acquire(uint64(i%500+1), "", "m", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		d := time.Duration((0.5 + draws.ExpFloat64()/2) * float64(time.Second))
		bad := false
		if at := time.Since(start).Minutes(); l.Endpoint.ID == "e3" && at > 5 && at < 15 {
			d *= time.Duration(2 + l.Endpoint.InFlight()/2)
			bad = draws.Float64() < (at-5)/40
		}
		calls.Go(func() {
			time.Sleep(d) // synctest's clock
			mu.Lock()
			took = append(took, d)
			if bad {
				failed++
			}
			mu.Unlock()
			if bad {
				l.Done(fail(schemas.Overloaded), d)
			} else {
				l.Done(nil, d)
			}
		})
		time.Sleep(time.Duration(draws.ExpFloat64() * float64(50*time.Millisecond))) // synctest's clock
	}
	calls.Wait()
	slices.Sort(took)
	return serving{took[len(took)*99/100], float64(failed) / float64(len(took))}
}

// go test -v -run Degrades ./handlers/balance shows the numbers.
func TestBalancersThatMeasureServeBetterWhenAnEndpointDegrades(t *testing.T) {
	t.Parallel()
	results := map[string]serving{}
	for _, kind := range balancers().Kinds() {
		synctest.Test(t, func(t *testing.T) { results[kind] = serve(t, kind) })
		t.Logf("%-16s p99 %6.2f s, %.2f %% failed", kind, results[kind].p99.Seconds(), results[kind].failed*100)
	}
	base := results["round_robin"]
	for _, kind := range []string{"peak_ewma", "performance", "least_load"} {
		if r := results[kind]; r.p99 >= base.p99 || r.failed > base.failed {
			t.Errorf("%s: p99 %s and %.2f %% failed, no better than round_robin's %s and %.2f %%", kind, r.p99, r.failed*100, base.p99, base.failed*100)
		}
	}
}

package integration

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/consistenthash"
	"github.com/sira-ai/sira/handlers/balance/leastload"
	"github.com/sira-ai/sira/handlers/balance/peakewma"
	"github.com/sira-ai/sira/handlers/balance/performance"
	"github.com/sira-ai/sira/handlers/balance/roundrobin"
	"github.com/sira-ai/sira/handlers/balance/spillover"
	"github.com/sira-ai/sira/handlers/routing/replay"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// The world of the table in docs/routing.md: eight endpoints, of which one is slower
// and fails for a fifth of the trace. All take longer the more calls they have.
const (
	sickFrom, sickTo = 0.4, 0.6 // of the trace's time
	sickSlower       = 8
	sickFailures     = 0.25
	firstToken       = 300 * time.Millisecond
	perToken         = 15 * time.Millisecond
	crowd            = 32 // calls in flight that make an endpoint take twice as long
)

// served is how a balancer did.
type served struct {
	p50, p99 time.Duration
	failed   int
	requests int
	while    int // of them, while an endpoint was sick
	sick     int // of those, the calls that it got
}

func (s *served) String() string {
	return fmt.Sprintf("%.2f s | %.1f s | %.2f %% | %.1f %%", s.p50.Seconds(), s.p99.Seconds(),
		100*float64(s.failed)/float64(s.requests), 100*float64(s.sick)/float64(s.while))
}

// underway is a call and when it ends.
type underway struct {
	at, began time.Time
	lease     *balance.Lease
	failed    bool
}

type ending []underway

func (e ending) Len() int           { return len(e) }
func (e ending) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e ending) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }

// Push implements heap.Interface.
func (e *ending) Push(x any) {
	if u, ok := x.(underway); ok {
		*e = append(*e, u)
	}
}

// Pop implements heap.Interface.
func (e *ending) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

// replayBalancer sends a trace through a pool, one event after another in virtual
// time, so that each run comes to the same. Each request is one call.
func replayBalancer(t *testing.T, entry balance.Entry, trace []replay.Arrival, breaker bool) served {
	t.Helper()
	b, err := catalog.New("balancer", entry).Build(entry.Kind, nil, catalog.Env{})
	if err != nil {
		t.Fatal(err)
	}
	c := balance.Defaults()
	if !breaker {
		c.Breaker.Consecutive, c.Breaker.Evidence = math.MaxUint32, math.MaxFloat64
	}
	var endpoints []balance.EndpointConfig
	for i := range 8 {
		endpoints = append(endpoints, balance.EndpointConfig{ID: fmt.Sprint("e", i)})
	}
	pool, err := balance.NewPool("p", c, b, endpoints, nil)
	if err != nil {
		t.Fatal(err)
	}
	var (
		s      served
		took   []time.Duration
		calls  ending
		draws  = rand.New(rand.NewPCG(1, 2))
		start  = time.Now()
		length = trace[len(trace)-1].At
	)
	finish := func(until time.Time) {
		for len(calls) > 0 && !calls[0].at.After(until) {
			u, _ := heap.Pop(&calls).(underway)
			time.Sleep(time.Until(u.at)) // synctest's clock
			d := u.at.Sub(u.began)
			took = append(took, d)
			if u.failed {
				s.failed++
				u.lease.Done(schemas.Fail(schemas.Unavailable, "", nil), d)
				continue
			}
			u.lease.Done(nil, d)
		}
		time.Sleep(time.Until(until)) // synctest's clock
	}
	for i, a := range trace {
		finish(start.Add(a.At))
		s.requests++
		place := float64(a.At) / float64(length)
		sick := place >= sickFrom && place < sickTo
		if sick {
			s.while++
		}
		luck, chance := math.Exp(0.3*draws.NormFloat64()), draws.Float64()
		l, err := pool.Acquire(uint64(i%500+1), "", "m", time.Now())
		if err != nil {
			s.failed++
			continue
		}
		d := float64(firstToken) + float64(perToken)*float64(a.Output)
		d *= luck * (1 + float64(l.Endpoint.InFlight()-1)/crowd)
		u := underway{began: time.Now(), lease: l}
		if l.Endpoint.ID == "e3" && sick {
			s.sick++
			d *= sickSlower
			u.failed = chance < sickFailures
		}
		u.at = u.began.Add(time.Duration(d))
		heap.Push(&calls, u)
	}
	finish(start.Add(length + time.Hour))
	slices.Sort(took)
	s.p50, s.p99 = took[len(took)/2], took[len(took)*99/100]
	return s
}

// ownTrace is twenty minutes of a service whose load swings, with answers of very
// different lengths.
func ownTrace() []replay.Arrival {
	draws := rand.New(rand.NewPCG(3, 4))
	var out []replay.Arrival
	for at := 0.0; at < 1200; {
		out = append(out, replay.Arrival{
			At: time.Duration(at * float64(time.Second)), Input: 1 + draws.IntN(4000), Output: min(1000, 1+int(math.Exp(4.7+0.9*draws.NormFloat64()))),
		})
		at += draws.ExpFloat64() / (5.5 + 3*math.Sin(at/60))
	}
	return out
}

// The table in docs/routing.md, where the published traces are at hand:
// go test -v -run Balancers ./integration.
func TestBalancersThatMeasureDoBetter(t *testing.T) {
	const own = "our own"
	traces := map[string][]replay.Arrival{own: ownTrace()}
	files, _ := filepath.Glob("../../shared/data/workloads/azure_2023/*.csv")
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		trace, err := replay.ReadTrace(f, 0)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		traces[filepath.Base(file)] = trace
	}
	page, err := os.ReadFile("../docs/routing.md")
	if err != nil {
		t.Fatal(err)
	}
	table := strings.ReplaceAll(string(page), "*", "")
	entries := []balance.Entry{roundrobin.Entry, leastload.Entry, peakewma.Entry, performance.Entry, consistenthash.Entry, spillover.Entry}
	for name, trace := range traces {
		for _, breaker := range []bool{false, true} {
			t.Logf("%s, %d requests, breaker %v: p50 | p99 | failed | of the calls while e3 was sick, e3's", name, len(trace), breaker)
			got := map[string]served{}
			for _, e := range entries {
				synctest.Test(t, func(t *testing.T) { got[e.Kind] = replayBalancer(t, e, trace, breaker) })
				s := got[e.Kind]
				t.Logf("| `%s` | %s |", e.Kind, &s)
				_, row, _ := strings.Cut(table, "| `"+e.Kind+"` | ")
				row, _, _ = strings.Cut(row, "\n")
				// Other processors round a multiplication and an addition together.
				if _, figures, _ := strings.Cut(s.String(), " | "); len(files) > 0 && name != own && !breaker && runtime.GOARCH == "amd64" && !strings.Contains(row, figures) {
					t.Errorf("docs/routing.md says of %s in %s: %s; it is now %s", e.Kind, name, row, figures)
				}
			}
			base := got["round_robin"]
			for _, kind := range []string{"peak_ewma", "performance", "least_load"} {
				if s := got[kind]; !breaker && (s.p99 >= base.p99 || s.failed >= base.failed) {
					t.Errorf("%s: %s is no better than round_robin: %s, %s", name, kind, &s, &base)
				}
			}
		}
	}
}

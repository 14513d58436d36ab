package balance_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/schemas"
)

func TestWhatStaysKeepsWhatIsKnownOfIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "round_robin", nil,
			balance.EndpointConfig{ID: "a", Key: "k1"}, balance.EndpointConfig{ID: "b", Key: "k2", Region: "eu"})
		for _, e := range p.Endpoints() {
			for e.Usable(time.Now()) { // both are broken, and b's key is out of quota
				l := acquire(t, p, "", "m")
				l.Done(fail(schemas.Unavailable), 0)
			}
		}
		old := p.Endpoints()
		if err := p.Replace([]balance.EndpointConfig{
			{ID: "new", Key: "k3"}, {ID: "a", Key: "k1", Weight: 7, Caller: "caller"}, {ID: "b", Key: "k2", Region: "us"},
		}); err != nil {
			t.Fatal(err)
		}
		now := p.Endpoints()
		if now[1] != old[0] || now[1].Weight() != 7 || now[1].Caller() != "caller" || now[1].Usable(time.Now()) {
			t.Errorf("a did not stay: %+v", p.Snapshot()[1])
		}
		if now[2] == old[1] || !now[2].Usable(time.Now()) {
			t.Errorf("b in another region is another endpoint: %+v", p.Snapshot()[2])
		}
		if now[2].Index() == old[1].Index() || now[0].Index() == old[1].Index() {
			t.Error("an index was given away in the very moment its endpoint left")
		}
		if len(p.InRegion("eu")) != 0 || len(p.InRegion("us")) != 1 {
			t.Error("the regions are the old ones")
		}
	})
}

func TestAKeyThatRestsKeepsRestingUnderOtherEndpoints(t *testing.T) {
	t.Parallel()
	p := newPool(t, "round_robin", nil, balance.EndpointConfig{ID: "a", Key: "k"})
	acquire(t, p, "", "m").Done(fail(schemas.QuotaExhausted), 0)
	if err := p.Replace([]balance.EndpointConfig{{ID: "b", Key: "k"}}); err != nil {
		t.Fatal(err)
	}
	if p.Endpoint("b").Usable(time.Now()) || p.Endpoint("a") != nil {
		t.Error("the key's quota was forgotten")
	}
}

func TestAMistakeLeavesTheEndpointsAlone(t *testing.T) {
	t.Parallel()
	p := newPool(t, "round_robin", nil, balance.EndpointConfig{ID: "a"})
	if err := p.Replace(nil); err == nil {
		t.Error("a pool became empty")
	}
	err := p.Replace([]balance.EndpointConfig{{ID: "b"}, {ID: "b"}, {ID: "c", Priority: -1}})
	for _, want := range []string{"endpoints[1].id", "endpoints[2].priority"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	acquire(t, p, "", "m").Done(nil, 0)
}

// A caller indexes what it knows of endpoints: an index must not pass to another
// endpoint while a call of the former is under way.
func TestAnIndexIsNotGivenAwayUnderACall(t *testing.T) {
	t.Parallel()
	p := newPool(t, "round_robin", nil, balance.EndpointConfig{ID: "0"})
	l := acquire(t, p, "", "m")
	taken := l.Endpoint.Index()
	for i := range 5 {
		if err := p.Replace([]balance.EndpointConfig{{ID: fmt.Sprint(i + 1)}}); err != nil {
			t.Fatal(err)
		}
		if p.Endpoints()[0].Index() == taken {
			t.Fatalf("endpoint %d has the index of a call under way", i+1)
		}
	}
	l.Done(nil, 0)
	most := 0
	for i := range 50 {
		if err := p.Replace([]balance.EndpointConfig{{ID: fmt.Sprint("n", i)}}); err != nil {
			t.Fatal(err)
		}
		most = max(most, p.Endpoints()[0].Index())
	}
	if most > 2 {
		t.Errorf("indexes grew to %d though one endpoint was in use", most)
	}
}

// meddler has the endpoints replaced between a call's choice and its beginning.
type meddler struct {
	pool *balance.Pool
	next []balance.EndpointConfig
}

func (m *meddler) Pick(_ uint64, endpoints []*balance.Endpoint) *balance.Endpoint {
	if m.next != nil {
		next := m.next
		m.next = nil
		if err := m.pool.Replace(next); err != nil {
			panic(err)
		}
	}
	return endpoints[0]
}

// A call has chosen an endpoint; before it counts as in flight, the endpoint
// leaves and its index seems free. The call must go elsewhere.
func TestACallDoesNotBeginAtAnEndpointThatLeft(t *testing.T) {
	t.Parallel()
	m := &meddler{}
	p, err := balance.NewPool("acme", balance.Defaults(), m, []balance.EndpointConfig{{ID: "old"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	old := p.Endpoint("old")
	m.pool, m.next = p, []balance.EndpointConfig{{ID: "new"}}
	if id := acquire(t, p, "", "m").Endpoint.ID; id != "new" {
		t.Errorf("the call went to %s", id)
	}
	if n := old.InFlight(); n != 0 {
		t.Errorf("%d calls in flight where there are none", n)
	}
}

// Run it with -race. Every lease must be of an endpoint whose index is its own.
func TestEndpointsAreReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	for _, kind := range balancers().Kinds() {
		p := newPool(t, kind, nil, endpoints(8)...)
		var (
			owners [64]sync.Mutex
			wg     sync.WaitGroup
			stop   = make(chan struct{})
			inUse  sync.Map // index -> *Endpoint and how many
		)
		for g := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
					}
					l, err := p.Acquire(uint64(g*1000+i%100+1), "", "m", time.Now())
					if err != nil {
						continue // all were replaced at that moment
					}
					at := l.Endpoint.Index()
					owners[at].Lock()
					if other, _ := inUse.LoadOrStore(at, l.Endpoint); other != l.Endpoint && other.(*balance.Endpoint).InFlight() > 0 {
						t.Errorf("%s: index %d belongs to two endpoints", kind, at)
					}
					inUse.Store(at, l.Endpoint)
					owners[at].Unlock()
					if i%50 == 0 {
						l.Done(fail(schemas.Cancelled), 0)
					} else {
						l.Done(nil, time.Duration(i%20)*time.Millisecond)
					}
				}
			})
		}
		for i := range 60 {
			var next []balance.EndpointConfig
			for j := range 4 + i%5 {
				next = append(next, balance.EndpointConfig{ID: fmt.Sprint("e", (i/3+j)%16), Weight: 1 + (i+j)%4})
			}
			if err := p.Replace(next); err != nil {
				t.Fatal(err)
			}
		}
		close(stop)
		wg.Wait()
		for _, v := range p.Snapshot() {
			if v.InFlight != 0 {
				t.Errorf("%s: %s has %d calls in flight for ever", kind, v.ID, v.InFlight)
			}
		}
	}
}

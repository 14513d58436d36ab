package consistenthash_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/consistenthash"
	"github.com/sira-ai/sira/pipeline/catalog"
)

func pool(t *testing.T, settings string, endpoints ...balance.EndpointConfig) *balance.Pool {
	t.Helper()
	b, err := catalog.New("balancer", consistenthash.Entry).Build("consistent_hash", catalog.Settings(settings), catalog.Env{})
	if err != nil {
		t.Fatal(err)
	}
	c := balance.Defaults()
	c.SlowStart.Window = 0
	p, err := balance.NewPool("acme", c, b, endpoints, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func named(n int) []balance.EndpointConfig {
	var out []balance.EndpointConfig
	for i := range n {
		out = append(out, balance.EndpointConfig{ID: fmt.Sprint("endpoint-", i)})
	}
	return out
}

func acquire(t *testing.T, p *balance.Pool, affinity uint64) *balance.Lease {
	t.Helper()
	l, err := p.Acquire(affinity, "", "m", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// homes returns which endpoint each of the first n affinities prefers.
func homes(t *testing.T, p *balance.Pool, n int) []string {
	t.Helper()
	out := make([]string, n)
	for i := range out {
		l := acquire(t, p, uint64(i)+1)
		out[i] = l.Endpoint.ID
		l.Done(nil, 0)
	}
	return out
}

func TestFewKeysMoveWhenAnEndpointJoinsOrLeaves(t *testing.T) {
	t.Parallel()
	const keys = 10_000
	for _, n := range []int{2, 5, 20} {
		p := pool(t, "", named(n)...)
		before := homes(t, p, keys)
		if err := p.Replace(named(n + 1)); err != nil {
			t.Fatal(err)
		}
		after := homes(t, p, keys)
		moved := 0
		for i := range before {
			if before[i] != after[i] {
				moved++
				if after[i] != fmt.Sprint("endpoint-", n) {
					t.Fatalf("a key moved from %s to %s, which did not join", before[i], after[i])
				}
			}
		}
		if most := keys/(n+1) + keys/20; moved > most {
			t.Errorf("%d of %d keys moved when the %dth endpoint joined, want at most %d", moved, keys, n+1, most)
		}
		if err := p.Replace(named(n)); err != nil { // and it leaves again
			t.Fatal(err)
		}
		for i, home := range homes(t, p, keys) {
			if home != before[i] {
				t.Fatalf("key %d is not back at %s but at %s", i, before[i], home)
			}
		}
	}
}

func TestKeysAreSpreadByWeight(t *testing.T) {
	t.Parallel()
	endpoints := named(4)
	for i := range endpoints {
		endpoints[i].Weight = i + 1
	}
	p := pool(t, "", endpoints...)
	const draws = 1_000_000
	got := map[string]int{}
	b, all := build(t), p.Endpoints()
	for i := range uint64(draws) {
		got[b.Pick(balance.Mix(i+1), all).ID]++
	}
	for i, e := range endpoints {
		if want := draws * float64(e.Weight) / 10; math.Abs(float64(got[e.ID])-want) > 0.01*want {
			t.Errorf("endpoint %d got %d keys, want %.0f within 1 %%", i, got[e.ID], want)
		}
	}
}

func build(t *testing.T) balance.Balancer {
	t.Helper()
	b, err := consistenthash.New(consistenthash.Config{Load: 1.25, Seed: 1}, catalog.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// All calls are of one key, the worst there is; none ends until the pool is busy,
// then they end in turn.
func TestNoEndpointExceedsItsLoadBound(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{"", `{"load":1.05}`, `{"load":2}`} {
		load := map[string]float64{"": 1.25, `{"load":1.05}`: 1.05, `{"load":2}`: 2}[settings]
		endpoints := named(7)
		endpoints[3].Weight = 4
		p := pool(t, settings, endpoints...)
		var leases []*balance.Lease
		for i := range 2000 {
			l := acquire(t, p, 42)
			leases = append(leases, l)
			bound := math.Ceil(load * float64(len(leases)) * float64(l.Endpoint.Weight()) / 10)
			if got := l.Endpoint.InFlight(); float64(got) > bound {
				t.Fatalf("load %v: %s has %d calls of %d, the bound is %.0f", load, l.Endpoint.ID, got, len(leases), bound)
			}
			if i > 300 && i%3 == 0 {
				leases[0].Done(nil, 0)
				leases = leases[1:]
			}
		}
	}
}

func TestACallWithoutAffinityGoesAnywhere(t *testing.T) {
	t.Parallel()
	p := pool(t, "", named(4)...)
	got := map[string]bool{}
	for range 100 {
		l := acquire(t, p, 0)
		got[l.Endpoint.ID] = true
		l.Done(nil, 0)
	}
	if len(got) != 4 {
		t.Errorf("only %v were asked", got)
	}
}

func TestMistakesSayWhatToWrite(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{`{"load":1}`, `{"load":0.5}`, `{"lode":2}`} {
		if err := catalog.New("balancer", consistenthash.Entry).Check("consistent_hash", catalog.Settings(settings)); err == nil {
			t.Errorf("%s was accepted", settings)
		}
	}
}

// The first in rank that is below its bound is found by bounds of the scores; it must
// be that of the scores.
func TestTheFirstInRankIsThatOfTheLeastScore(t *testing.T) {
	t.Parallel()
	for _, calls := range []int{0, 40, 1000} {
		for n := 2; n <= 70; n += 4 {
			endpoints := named(n)
			for i := range endpoints {
				endpoints[i].Weight = 1 + (i*i*7+n)%(1+n*n)
			}
			p, b := pool(t, "", endpoints...), build(t)
			all, inFlight, weight := p.Endpoints(), 0.0, 0.0
			for i := range calls {
				acquire(t, p, uint64(i)+1_000_000)
			}
			for _, e := range all {
				inFlight += float64(e.InFlight())
				weight += float64(e.LiveWeight())
			}
			for affinity := uint64(1); affinity <= 1000; affinity++ {
				var want *balance.Endpoint
				least := math.Inf(1)
				for _, e := range all {
					v := float64(((balance.Mix(affinity)|1)*e.Hash())>>11) / (1 << 53)
					bound := math.Ceil(1.25*(inFlight+1)/weight*float64(e.LiveWeight()) - 1e-9)
					if s := -math.Log1p(-v) / float64(e.LiveWeight()); s < least && float64(e.InFlight()) < bound {
						want, least = e, s
					}
				}
				if got := b.Pick(affinity, all); got != want {
					t.Fatalf("of %d endpoints with %d calls affinity %d went to %s, want %s", n, calls, affinity, got.ID, want.ID)
				}
			}
		}
	}
}

// Two calls of different affinity must not share the order of the others too: when an
// endpoint leaves, its keys spread over all that stay.
func TestTheKeysOfAnEndpointThatLeavesSpreadOverAllOthers(t *testing.T) {
	t.Parallel()
	const n, keys = 20, 200_000
	b, all := build(t), pool(t, "", named(n)...).Endpoints()
	got := map[string]int{}
	moved := 0
	for affinity := uint64(1); affinity <= keys; affinity++ {
		if b.Pick(affinity, all) == all[0] {
			got[b.Pick(affinity, all[1:]).ID]++
			moved++
		}
	}
	for _, e := range all[1:] {
		want := float64(moved) / (n - 1)
		if math.Abs(float64(got[e.ID])-want) > 5*math.Sqrt(want) {
			t.Errorf("%s took over %d of %d keys, want about %.0f", e.ID, got[e.ID], moved, want)
		}
	}
}

func TestACallWithoutAffinityGoesAnywhereByWeight(t *testing.T) {
	t.Parallel()
	endpoints := named(5)
	for i := range endpoints {
		endpoints[i].Weight = 1 << (2 * i)
	}
	b, all := build(t), pool(t, "", endpoints...).Endpoints()
	const draws = 1_000_000
	got, sum := map[string]int{}, 0
	for range draws {
		got[b.Pick(0, all).ID]++
	}
	for _, e := range endpoints {
		sum += e.Weight
	}
	for _, e := range endpoints {
		if want := draws * float64(e.Weight) / float64(sum); math.Abs(float64(got[e.ID])-want) > 5*math.Sqrt(want) {
			t.Errorf("weight %d got %d calls, want about %.0f", e.Weight, got[e.ID], want)
		}
	}
}

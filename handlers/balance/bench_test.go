package balance_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/pipeline/catalog"
)

func endpoints(n int) []balance.EndpointConfig {
	var out []balance.EndpointConfig
	for i := range n {
		out = append(out, balance.EndpointConfig{ID: fmt.Sprint("e", i), Weight: 1 + i%3})
	}
	return out
}

// spread has half of the endpoints as a second level, for balancers that spill over.
func spread(n int) []balance.EndpointConfig {
	out := endpoints(n)
	for i := range out {
		out[i].Priority = i % 2
	}
	return out
}

// One pick among usable endpoints of weights 1 to 3, without affinity. The promise
// is 200 ns among 64, and no allocation:
// go test -run - -bench Pick -benchmem -cpu 1 ./handlers/balance.
func BenchmarkPick(b *testing.B) {
	for _, kind := range balancers().Kinds() {
		for _, n := range []int{1, 8, 64} {
			benchmarkPick(b, fmt.Sprintf("%s/%d", kind, n), kind, endpoints(n))
		}
	}
	benchmarkPick(b, "spillover/64/two_levels", "spillover", spread(64))
	benchmarkAffinity(b, "consistent_hash/64/affinity", 0)
	benchmarkAffinity(b, "consistent_hash/64/affinity_busy", 500)
}

// benchmarkAffinity picks for ever other affinities while so many calls are in flight.
func benchmarkAffinity(b *testing.B, name string, calls uint64) {
	p := newPool(b, "consistent_hash", nil, endpoints(64)...)
	for i := range calls {
		if _, err := p.Acquire(i+1, "", "m", time.Now()); err != nil {
			b.Fatal(err)
		}
	}
	balancer, err := balancers().Build("consistent_hash", nil, catalog.Env{})
	if err != nil {
		b.Fatal(err)
	}
	es, affinity := p.Endpoints(), uint64(0)
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			affinity++
			balancer.Pick(affinity, es)
		}
	})
}

func benchmarkPick(b *testing.B, name, kind string, configs []balance.EndpointConfig) {
	balancer, err := balancers().Build(kind, nil, catalog.Env{})
	if err != nil {
		b.Fatal(err)
	}
	es := newPool(b, kind, nil, configs...).Endpoints()
	if w, ok := balancer.(balance.Watcher); ok {
		w.Watch(es)
	}
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			balancer.Pick(0, es)
		}
	})
	b.Run(name+"/parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				balancer.Pick(0, es)
			}
		})
	})
}

// A whole lease: go test -bench Lease -benchmem ./handlers/balance.
func BenchmarkLease(b *testing.B) {
	for _, n := range []int{1, 8, 64} {
		p := newPool(b, "least_load", nil, endpoints(n)...)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					l, err := p.Acquire(0, "", "m", time.Now())
					if err != nil {
						b.Error(err)
						return
					}
					l.Done(nil, time.Millisecond)
				}
			})
		})
	}
}

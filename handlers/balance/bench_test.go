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

// go test -bench Pick -benchmem ./handlers/balance.
func BenchmarkPick(b *testing.B) {
	for _, kind := range balancers().Kinds() {
		for _, n := range []int{1, 8, 64} {
			balancer, err := balancers().Build(kind, nil, catalog.Env{})
			if err != nil {
				b.Fatal(err)
			}
			es := newPool(b, kind, nil, endpoints(n)...).Endpoints()
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				for b.Loop() {
					balancer.Pick(0, es)
				}
			})
			b.Run(fmt.Sprintf("%s/%d/parallel", kind, n), func(b *testing.B) {
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						balancer.Pick(0, es)
					}
				})
			})
		}
	}
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

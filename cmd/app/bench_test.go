package app

import (
	"fmt"
	"testing"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// Match, rank and pick: a decision among 100 targets, and one of 8 endpoints of the
// first. The promise is 2 us and 2 allocations:
// go test -run - -bench Decision -benchmem -cpu 1 ./cmd/app.
func BenchmarkDecision(b *testing.B) {
	model := routing.ModelConfig{Name: "chat"}
	for i := range 100 {
		model.Targets = append(model.Targets, routing.TargetConfig{Provider: fmt.Sprint("p", i), Model: "m"})
	}
	var endpoints []balance.EndpointConfig
	for i := range 8 {
		endpoints = append(endpoints, balance.EndpointConfig{ID: fmt.Sprint("e", i)})
	}
	balancer, err := balancers().Build("least_load", nil, catalog.Env{})
	if err != nil {
		b.Fatal(err)
	}
	pool, err := balance.NewPool("p0", balance.Defaults(), balancer, endpoints, nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, strategy := range []string{"priority", "weighted"} {
		router, err := routing.New(routing.Config{
			Models: []routing.ModelConfig{model},
			Routes: []routing.RouteConfig{{Name: "other", When: `tenant == "other"`}, {Name: "all", When: `tenant == "acme"`, Strategy: strategy}},
		}, strategies(), catalog.Env{})
		if err != nil {
			b.Fatal(err)
		}
		job := &pipeline.Job{Request: &schemas.Request{ID: "0192f0c1-7b7e-7cc3-98c4-dc0c0c07398f", Tenant: "acme", Model: "chat"}, Started: time.Now()}
		ctx, all := b.Context(), pool.InRegion("")
		b.Run(strategy, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := router.Handle(ctx, job); err != nil {
					b.Fatal(err)
				}
				balancer.Pick(0, all)
			}
		})
	}
}

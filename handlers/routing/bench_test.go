package routing_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sira-ai/sira/handlers/routing"
)

// go test -run - -bench Route -benchmem -cpu 1 ./handlers/routing.
func BenchmarkRoute(b *testing.B) {
	configs := map[string][]routing.RouteConfig{
		"default":  nil,
		"weighted": {{Name: "w", Strategy: "weighted"}},
		"when":     {{Name: "vip", When: `tenant == "vip" and labels.team == "x"`}, {Name: "rest"}},
		"computed": {{Name: "big", When: `size.tokens > 10000 and time.hour >= 9`}, {Name: "rest"}},
		"guarded":  {{Name: "eu", When: `tenant startsWith "ac"`, Guard: true, Residency: []string{"eu-*"}}, {Name: "rest"}},
	}
	for name, routes := range configs {
		m := models()
		for i := range m {
			for j := range m[i].Targets {
				m[i].Targets[j].Region = "eu-west-1"
			}
		}
		r := build(b, routing.Config{Models: m, Routes: routes})
		j := job("0192f0c1-7b7e-7cc3-98c4-dc0c0c07398f", "chat")
		ctx := b.Context()
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Handle(ctx, j); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// wide is a model of n targets.
func wide(n int) []routing.ModelConfig {
	m := routing.ModelConfig{Name: "chat"}
	for i := range n {
		m.Targets = append(m.Targets, routing.TargetConfig{Provider: fmt.Sprint("p", i), Model: "m", Region: "eu-west-1"})
	}
	return []routing.ModelConfig{m}
}

// Match and rank with 100 targets:
// go test -run - -bench Targets -benchmem -cpu 1 ./handlers/routing.
func BenchmarkTargets(b *testing.B) {
	for _, strategy := range []string{"priority", "weighted"} {
		r := build(b, routing.Config{Models: wide(100), Routes: []routing.RouteConfig{
			{Name: "other", When: `tenant == "other"`}, {Name: "all", When: `tenant == "acme"`, Strategy: strategy},
		}})
		j := job("0192f0c1-7b7e-7cc3-98c4-dc0c0c07398f", "chat")
		ctx := b.Context()
		b.Run(strategy, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Handle(ctx, j); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// manyRoutes are n routes of five sorts, a default last.
func manyRoutes(n int) []routing.RouteConfig {
	routes := make([]routing.RouteConfig, 0, n)
	for i := range n - 1 {
		r := routing.RouteConfig{Name: fmt.Sprint("r", i)}
		switch i % 5 {
		case 0:
			r.When = fmt.Sprintf(`tenant == "t%d"`, i)
		case 1:
			r.When = fmt.Sprintf(`labels.team == "team%d" and size.tokens > 100`, i)
		case 2:
			r.When = fmt.Sprintf(`tenant in ["t%d", "u%d"] and lane == "interactive"`, i, i)
		case 3:
			r.When = fmt.Sprintf(`(tenant == "t%d" or tenant == "v%d") and hour >= 8 and hour < 20`, i, i)
		case 4:
			r.Models, r.When = []string{"small"}, fmt.Sprintf(`labels.project == "p%d"`, i)
		}
		routes = append(routes, r)
	}
	return append(routes, routing.RouteConfig{Name: "rest"})
}

// The 99th percentile of a decision among 10,000 routes, of requests that match
// the first, the last and some between:
// go test -run - -bench TenThousand -benchmem -cpu 1 ./handlers/routing.
func BenchmarkTenThousandRoutes(b *testing.B) {
	r := build(b, routing.Config{Models: models(), Routes: manyRoutes(10_000)})
	jobs := some(10_000)
	ctx := b.Context()
	took := make([]time.Duration, 0, 1<<20)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		began := time.Now()
		if err := r.Handle(ctx, jobs[i%len(jobs)]); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
}

// Reading the configuration of 10,000 routes:
// go test -bench Compile -benchmem ./handlers/routing.
func BenchmarkCompile(b *testing.B) {
	for b.Loop() {
		if _, err := routing.Compile(`tenant in ["t1", "u1"] and lane == "interactive" and size.tokens > 100`, nil); err != nil {
			b.Fatal(err)
		}
	}
}

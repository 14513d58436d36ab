package routing_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// A decision on the short way, and one that is explained, come to the same targets.
func TestChoosingAndRankingComeToTheSame(t *testing.T) {
	t.Parallel()
	const arms = `"arms": [{"name": "a", "targets": ["p1*"]}, {"name": "b", "targets": ["p2", "p*/m1"]}, {"name": "c", "targets": ["none"]}]`
	for _, n := range []int{1, 2, 5, 8, 16, 17, 40, 100} {
		for _, one := range []struct {
			strategy, settings string
			more               bool // an explanation says more
		}{
			{"weighted", `{}`, false},
			{"priority", `{}`, false},
			{"ab", `{"experiment": "x", "unit": "request.id", ` + arms + `}`, false},
			{"ab", `{"experiment": "x", "unit": "labels.none", ` + arms + `}`, true},
			{"geo", `{"origin": "\"eu-west-1\""}`, true},
			{"geo", `{"origin": "\"eu-west-1\"", "near": {"eu-*": ["us-*", "eu-north-1", "eu-*"]}}`, true},
			{"geo", `{"origin": "\"\""}`, true},
			{"preference", `{"prefer": ["p3", "p1*"], "avoid": ["p2*/m0"], "tenants": {"acme": {"prefer": ["p5"]}}}`, false},
			{"preference", `{}`, false},
		} {
			strategy := one.strategy + " " + one.settings
			models := wide(n)
			for i := range models[0].Targets {
				weight := i % 4 // some have none
				target := &models[0].Targets[i]
				target.Weight, target.Priority, target.Model = &weight, (n-i)%3, fmt.Sprint("m", i%2)
				target.Region = []string{"us-east-1", "eu-west-1", "eu-north-1", ""}[i*7%4]
			}
			r := build(t, routing.Config{Models: models, Routes: []routing.RouteConfig{
				{Name: "all", Strategy: one.strategy, Settings: catalog.Settings(one.settings)},
			}})
			for i := range 50 {
				chosen, ranked := job(fmt.Sprint("r", i), "chat"), job(fmt.Sprint("r", i), "chat")
				if err := r.Handle(t.Context(), chosen); err != nil {
					t.Fatal(err)
				}
				r.Explain(ranked)
				if diff := cmp.Diff(ranked.Targets, chosen.Targets); diff != "" {
					t.Fatalf("%s among %d: %s", strategy, n, diff)
				}
				if diff := cmp.Diff(ranked.Decision, chosen.Decision); diff != "" && n <= 16 && !one.more {
					t.Fatalf("%s among %d: %s", strategy, n, diff)
				}
				if len(ranked.Decision) != len(chosen.Decision) {
					t.Fatalf("%s among %d: %d decisions, explained %d", strategy, n, len(chosen.Decision), len(ranked.Decision))
				}
			}
		}
	}
}

package routing_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/routing"
)

// A decision on the short way, and one that is explained, come to the same targets.
func TestChoosingAndRankingComeToTheSame(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2, 5, 8, 16, 17, 40, 100} {
		for _, strategy := range []string{"weighted", "priority"} {
			models := wide(n)
			for i := range models[0].Targets {
				weight := i % 4 // some have none
				models[0].Targets[i].Weight, models[0].Targets[i].Priority = &weight, (n-i)%3
			}
			r := build(t, routing.Config{Models: models, Routes: []routing.RouteConfig{{Name: "all", Strategy: strategy}}})
			for i := range 50 {
				chosen, ranked := job(fmt.Sprint("r", i), "chat"), job(fmt.Sprint("r", i), "chat")
				if err := r.Handle(t.Context(), chosen); err != nil {
					t.Fatal(err)
				}
				r.Explain(ranked)
				if diff := cmp.Diff(ranked.Targets, chosen.Targets); diff != "" {
					t.Fatalf("%s among %d: %s", strategy, n, diff)
				}
				if diff := cmp.Diff(ranked.Decision, chosen.Decision); diff != "" && n <= 16 {
					t.Fatalf("%s among %d: %s", strategy, n, diff)
				}
				if len(ranked.Decision) != len(chosen.Decision) {
					t.Fatalf("%s among %d: %d decisions, explained %d", strategy, n, len(chosen.Decision), len(ranked.Decision))
				}
			}
		}
	}
}

package weighted_test

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/sira-ai/sira/handlers/routing"
	rt "github.com/sira-ai/sira/handlers/routing/routingtest"
	"github.com/sira-ai/sira/handlers/routing/weighted"
)

// What is looked at closely is found by bounds; the order must be that of all scores.
func TestTheFirstAreThoseOfTheHighestScores(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	s, j := rt.Build(t, weighted.Entry, ""), rt.Job("")
	q := routing.NewQuery(j, routing.Sources{})
	for round := range 2000 {
		specs := make([]routing.TargetSpec, 1+random.IntN(150))
		heaviest := []int{1, 3, 100, 1_000_000}[round%4]
		for i := range specs {
			specs[i] = routing.TargetSpec{Target: rt.Target(strconv.Itoa(i) + "/m"), Weight: random.IntN(heaviest + 1)}
		}
		j.Request.ID = strconv.Itoa(round)
		c := routing.Candidates(specs...)
		want := slices.Clone(c)
		h := xxhash.Sum64String(j.Request.ID)
		for i := range want {
			if w := want[i].Weight; w > 0 {
				want[i].Score = float64(w) / -math.Log(routing.Uniform(routing.Mix(h^want[i].Draw())))
			}
		}
		slices.SortStableFunc(want, func(a, b routing.Candidate) int { return cmp.Compare(b.Score, a.Score) })
		got := s.Rank(q, c)
		for i := range min(len(want), 8) {
			if got[i].TargetSpec != want[i].TargetSpec {
				t.Fatalf("round %d, %d targets: place %d is %s of weight %d, want %s of weight %d",
					round, len(specs), i+1, got[i].Target.Provider, got[i].Weight, want[i].Target.Provider, want[i].Weight)
			}
		}
	}
}

package routing_test

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sira-ai/sira/handlers/routing"
)

// Few different scores are dealt out, many are sorted: both keep the order of equals.
func TestByScoreIsStableHoweverManyScoresThereAre(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		for _, scores := range []int{1, 2, 5, 8, 9, 1000} {
			c := routing.Candidates(make([]routing.TargetSpec, n)...)
			for i := range c {
				c[i].Score = float64(random.IntN(scores))
				if scores == 5 && c[i].Score == 3 {
					c[i].Score = math.NaN()
				}
			}
			want := slices.Clone(c)
			slices.SortStableFunc(want, func(a, b routing.Candidate) int { return cmp.Compare(b.Score, a.Score) })
			routing.ByScore(c)
			for i := range c {
				if c[i].TargetSpec != want[i].TargetSpec {
					t.Fatalf("%d candidates of %d scores: place %d is another", n, scores, i)
				}
			}
		}
	}
}

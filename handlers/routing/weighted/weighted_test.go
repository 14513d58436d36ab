package weighted_test

import (
	"math"
	"strconv"
	"testing"

	"github.com/sira-ai/sira/handlers/routing"
	rt "github.com/sira-ai/sira/handlers/routing/routingtest"
	"github.com/sira-ai/sira/handlers/routing/weighted"
)

func TestSharesAreWithinAHundredthOverAMillionDraws(t *testing.T) {
	t.Parallel()
	weights := map[string]int{"a": 50, "b": 30, "c": 15, "d": 5, "spare": 0}
	var specs []routing.TargetSpec
	for _, name := range []string{"spare", "a", "b", "c", "d"} {
		specs = append(specs, routing.TargetSpec{Target: rt.Target(name + "/m"), Weight: weights[name]})
	}
	all, c := routing.Candidates(specs...), make([]routing.Candidate, len(specs))
	s, j := rt.Build(t, weighted.Entry, ""), rt.Job("")
	q := routing.NewQuery(j, routing.Sources{})
	first := map[string]int{}
	const n = 1_000_000
	for i := range n {
		j.Request.ID = strconv.Itoa(i)
		copy(c, all)
		ranked := s.Rank(q, c)
		first[ranked[0].Target.Provider]++
		if ranked[4].Target.Provider != "spare" {
			t.Fatalf("weight 0 is not last but %s", ranked[4].Target.Provider)
		}
	}
	for name, weight := range weights {
		if got, want := float64(first[name])/n, float64(weight)/100; math.Abs(got-want) > 0.01*want {
			t.Errorf("%s has %.5f of the draws, want %.2f within a hundredth of it", name, got, want)
		}
	}
}

func TestOfManyTargetsTheFirstAreDrawnByWeight(t *testing.T) {
	t.Parallel()
	const targets, n = 100, 100_000
	specs := make([]routing.TargetSpec, targets)
	for i := range specs {
		specs[i] = routing.TargetSpec{Target: rt.Target(strconv.Itoa(i) + "/m"), Weight: 1 + i%2}
	}
	all, c := routing.Candidates(specs...), make([]routing.Candidate, targets)
	s, j := rt.Build(t, weighted.Entry, ""), rt.Job("")
	q := routing.NewQuery(j, routing.Sources{})
	heavy, last := [8]int{}, 0
	for i := range n {
		j.Request.ID = strconv.Itoa(i)
		copy(c, all)
		seen := map[string]bool{}
		for k, one := range s.Rank(q, c)[:8] {
			heavy[k] += one.Weight - 1
			seen[one.Target.Provider] = true
		}
		last += len(seen)
	}
	if last != 8*n {
		t.Errorf("%d targets in %d rankings of 8: some came twice", last, n)
	}
	for k, got := range heavy { // of 50 of weight 2 and 50 of weight 1, fewer heavy ones are left each time
		want := 2.0 / 3
		for range k {
			want -= want * 0.004
		}
		if math.Abs(float64(got)/n-want) > 0.01 {
			t.Errorf("place %d: %.4f are heavy, want about %.4f", k+1, float64(got)/n, want)
		}
	}
}

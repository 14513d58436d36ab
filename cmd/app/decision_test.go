//go:build !race

package app

import "testing"

// A decision among 100 targets is the job's list of targets and its reasons, and no
// more: nothing that is made for each request of a busy worker is left to the
// collector.
func TestADecisionAmongAHundredTargetsMakesTwoAllocationsAtMost(t *testing.T) {
	ctx := t.Context()
	for strategy, most := range map[string]float64{
		"priority": 0, "weighted": 2, "geo": 2, "preference": 2, "ab": 2, "context": 2,
	} {
		for _, balancer := range balancers().Kinds() {
			d := decide(t, strategy, balancer, 64)
			if got := testing.AllocsPerRun(100, func() { d.take(ctx, t) }); got > most {
				t.Errorf("%s and %s make %v allocations, want at most %v", strategy, balancer, got, most)
			}
		}
	}
}

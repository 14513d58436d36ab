package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/sira-ai/sira/handlers/simulate"
)

// Workers come and go in order while calls are in flight, as an autoscaler does
// it: partitions change hands only when their calls have ended and are committed.
func TestWorkersThatJoinAndLeaveLoseAndRepeatNothing(t *testing.T) {
	const n = 30_000
	r := newRig(t)
	r.start("broker", "kafka,registry,simulator", nil)
	r.ready()
	r.simulate(simulate.Behaviour{Tokens: simulate.Tokens{Min: 8, Max: 16}, Latency: simulate.Latency{
		Kind: "uniform", Min: simulate.Duration(5 * time.Millisecond), Max: simulate.Duration(300 * time.Millisecond),
	}})
	r.enqueue(n)
	// Few places, so that the work lasts longer than the comings and goings.
	// Instances of an autoscaler have no stable names.
	tuned := Document{"worker": Document{"concurrency": 120, "window": 500, "static_membership": false}}
	workers := []*Process{r.start("w0", "worker", tuned), r.start("w1", "worker", tuned)}
	answered := r.answered()
	began, changes := time.Now(), 0
	for next := 2; answered.Load() < n; next++ {
		if time.Since(began) > 3*time.Minute {
			t.Fatalf("%d of %d requests were answered in three minutes with %d changes", answered.Load(), n, changes)
		}
		workers = append(workers, r.start(fmt.Sprintf("w%d", next), "worker", tuned))
		r.pause(2*time.Second, func() bool { return answered.Load() >= n })
		r.stop(workers[0])
		workers = workers[1:]
		changes += 2
		r.pause(2*time.Second, func() bool { return answered.Load() >= n })
	}
	took := time.Since(began)
	for _, w := range workers {
		r.stop(w)
	}
	if failed := r.exactlyOnce(n); failed > 0 {
		t.Errorf("%d requests failed although the provider never did", failed)
	}
	keys := r.stats().Keys
	t.Logf("%d requests in %s with %d changes of the group; calls repeated: %d, finished ones: %d", n, took.Round(time.Second), changes, keys.Repeated, keys.RepeatedFinished)
	if keys.RepeatedFinished != 0 {
		t.Errorf("%d finished calls were repeated", keys.RepeatedFinished)
	}
}

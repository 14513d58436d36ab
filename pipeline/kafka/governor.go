package kafka

import (
	"context"
	"math"
	"runtime/metrics"
	"time"
)

// governor bounds the calls in flight by what this machine keeps up with.
//
// A call that the provider has finished and the worker had no time to read is
// made again after a kill, and paid for again. So more calls at once than the
// processor can serve gain nothing and put money at risk. What tells is how long
// goroutines that could run wait for a processor: next to nothing while calls
// wait for their providers, however many, and the whole queue's length once the
// processor is what they wait for.
//
// The limit starts low, doubles until waits show, and from then on grows by a
// tenth and shrinks by a third (congestion control by delay, as TCP Vegas does it
// for packets).
type governor struct {
	min, max int
	wait     func() time.Duration // the wait of the unluckier goroutines since it was last asked
	limit    float64
	settled  bool // waits have been seen
}

const (
	governPeriod = 50 * time.Millisecond
	governStart  = 64
	governFloor  = 16
	// governHigh is far above what other processes and garbage collection cause
	// and far below the seconds that an overloaded worker lets an answer wait.
	governHigh     = 40 * time.Millisecond
	governLow      = governHigh / 2
	governQuantile = 0.9
)

// newGovernor returns a governor of up to most calls, of which reserved are never
// taken away.
func newGovernor(most, reserved int, wait func() time.Duration) *governor {
	g := &governor{min: min(most, reserved+governFloor), max: most, wait: wait}
	g.limit = float64(min(most, max(g.min, governStart)))
	return g
}

// step looks at the waits since the last step and returns the limit. running is
// how many calls are in flight: a limit that is not reached has shown nothing and
// does not grow.
func (g *governor) step(running int) int {
	switch wait := g.wait(); {
	case wait > governHigh:
		g.settled = true
		g.limit = math.Min(g.limit, float64(max(running, g.min)))
		g.limit *= 2.0 / 3
	case wait > governLow || float64(running) < g.limit/2:
	case g.settled:
		g.limit *= 1.1
	default:
		g.limit *= 2
	}
	g.limit = math.Max(float64(g.min), math.Min(float64(g.max), g.limit))
	return int(g.limit)
}

// govern sets the scheduler's limit until ctx is done.
func (e *Engine) govern(ctx context.Context) {
	g := newGovernor(e.sched.total, e.sched.reserved, schedulingWait())
	e.sched.setLimit(int(g.limit))
	tick := time.NewTicker(governPeriod)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			e.sched.setLimit(g.step(e.sched.inFlight()))
		case <-ctx.Done():
			return
		}
	}
}

// schedulingWait returns a function that tells how long goroutines were ready to
// run before they ran, since it was last called: the quantile of the runtime's
// own measure.
func schedulingWait() func() time.Duration {
	sample := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	var before []uint64
	return func() time.Duration {
		metrics.Read(sample)
		if sample[0].Value.Kind() != metrics.KindFloat64Histogram {
			return 0
		}
		h := sample[0].Value.Float64Histogram()
		if len(before) != len(h.Counts) {
			before = append([]uint64(nil), h.Counts...)
			return 0
		}
		var total uint64
		for i, n := range h.Counts {
			total += n - before[i]
		}
		rank := uint64(math.Ceil(float64(total) * governQuantile))
		wait, seen := 0.0, uint64(0)
		for i, n := range h.Counts {
			if seen += n - before[i]; seen >= rank && total > 0 {
				wait = h.Buckets[i] // its lower bound; the last bucket has no upper one
				break
			}
		}
		copy(before, h.Counts)
		return time.Duration(math.Max(wait, 0) * float64(time.Second))
	}
}

package kafka

import (
	"context"
	"math"
	"runtime/metrics"
	"time"
)

// governor bounds the requests at risk by what this machine and its broker keep up
// with: those in flight, and those finished whose outcome is not committed yet.
//
// A call that the provider has finished and that is not committed is made again
// after a kill, and paid for again. So more calls at once than can be read and
// committed promptly gain nothing and put money at risk. Two things tell. One is
// how long goroutines that could run wait for a processor: next to nothing while
// calls wait for their providers, however many, and the whole queue's length once
// the processor is what they wait for. The other is how long transactions take,
// compared with how fast they can be.
//
// The limit starts low, doubles until waits show, and from then on grows by a
// twentieth and shrinks by a quarter (congestion control by delay, as TCP Vegas
// does it for packets).
type governor struct {
	min, max int
	limit    float64
	settled  bool          // waits have been seen
	fastest  time.Duration // of the transactions of late
}

const (
	governPeriod = 50 * time.Millisecond
	governStart  = 64
	governFloor  = 16
	// governHigh is far above what other processes and garbage collection cause
	// and far below the seconds that an overloaded worker lets an answer wait.
	governHigh     = 40 * time.Millisecond
	governQuantile = 0.9
	// A transaction is slow that takes governSlow times as long as the fastest, and
	// governCommit at least.
	governSlow   = 4
	governCommit = 80 * time.Millisecond
)

// newGovernor returns a governor of up to most requests, of which reserved are
// never taken away.
func newGovernor(most, reserved int) *governor {
	g := &governor{min: min(most, reserved+governFloor), max: most}
	g.limit = float64(min(most, max(g.min, governStart)))
	return g
}

// step returns the limit for the next period. wait is how long goroutines waited
// for a processor in the last one, commit how long its longest transaction took,
// 0 if there was none. atRisk is how many requests were: a limit that is not
// reached has shown nothing and does not grow.
func (g *governor) step(wait, commit time.Duration, atRisk int) int {
	if commit > 0 && (g.fastest == 0 || commit < g.fastest) {
		g.fastest = commit
	}
	g.fastest += g.fastest / 1000 // forgets in minutes how fast a broker once was
	switch slow := max(governCommit, governSlow*g.fastest); {
	case wait > governHigh || commit > slow:
		g.settled = true
		g.limit = math.Min(g.limit, float64(max(atRisk, g.min)))
		g.limit *= 0.75
	case wait > governHigh/2 || commit > slow/2 || float64(atRisk) < g.limit/2:
	case g.settled:
		g.limit *= 1.05
	default:
		g.limit *= 2
	}
	g.limit = math.Max(float64(g.min), math.Min(float64(g.max), g.limit))
	return int(g.limit)
}

// govern sets the scheduler's limit until ctx is done.
func (e *Engine) govern(ctx context.Context) {
	g := newGovernor(e.sched.total, e.sched.reserved)
	e.sched.setLimit(int(g.limit))
	wait := schedulingWait()
	tick := time.NewTicker(governPeriod)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			finished := e.finished()
			limit := g.step(wait(), time.Duration(e.slowest.Swap(0)), e.sched.inFlight()+finished)
			e.sched.setLimit(max(limit-finished, g.min))
		case <-ctx.Done():
			return
		}
	}
}

// finished is how many requests wait for a transaction.
func (e *Engine) finished() int {
	n := 0
	for i := range e.cfg.Lanes {
		s := e.session(i)
		if s == nil {
			continue
		}
		s.mu.Lock()
		for _, t := range s.trackers {
			t.mu.Lock()
			n += t.ready
			t.mu.Unlock()
		}
		s.mu.Unlock()
	}
	return n
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

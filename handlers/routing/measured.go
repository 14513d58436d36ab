package routing

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// Measured keeps moving averages of how calls went. The zero value is ready; it
// is safe for concurrent use.
type Measured struct {
	mu   sync.RWMutex
	seen map[schemas.Target]*average // by provider, model and region, the last two also empty
}

var _ Health = (*Measured)(nil)

// memory is how long a call counts, and stale how long a target may be without
// calls before it counts as not measured, so that it is tried again.
const (
	memory = time.Minute
	stale  = 10 * time.Minute
)

type average struct {
	calls    int64
	failures float64
	latency  mean // milliseconds
	first    mean
	last     time.Time
}

// mean is an average in which every value counts less with time, and at least a
// twentieth: with few calls the last count more, with many none does.
type mean struct {
	value float64
	known bool
}

func (m *mean) add(v, weight float64) {
	if !m.known {
		m.value, m.known = v, true
		return
	}
	m.value += weight * (v - m.value)
}

// Health implements Health.
func (m *Measured) Health(target schemas.Target, now time.Time) (Observed, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	a := m.seen[schemas.Target{Provider: target.Provider, Model: target.Model, Region: target.Region}]
	if a == nil || now.Sub(a.last) > stale {
		return Observed{}, false
	}
	return Observed{
		Calls: a.calls, Failures: a.failures,
		Latency:    time.Duration(a.latency.value * float64(time.Millisecond)),
		FirstToken: time.Duration(a.first.value * float64(time.Millisecond)),
	}, true
}

// Add counts a call.
func (m *Measured) Add(a *schemas.Attempt) {
	failed, counts := blamed(a)
	if !counts {
		return
	}
	at := a.StartedAt.Add(time.Duration(a.LatencyMS) * time.Millisecond)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.seen == nil {
		m.seen = make(map[schemas.Target]*average)
	}
	t := schemas.Target{Provider: a.Target.Provider}
	m.add(t, a, failed, at)
	t.Model = a.Target.Model
	m.add(t, a, failed, at)
	if t.Region = a.Target.Region; t.Region != "" {
		m.add(t, a, failed, at)
	}
}

func (m *Measured) add(t schemas.Target, a *schemas.Attempt, failed bool, at time.Time) {
	s := m.seen[t]
	if s == nil || at.Sub(s.last) > stale {
		s = &average{last: at}
		m.seen[t] = s
	}
	weight := min(max(1-math.Exp(-float64(at.Sub(s.last))/float64(memory)), 0.05), 0.3)
	s.calls++
	if at.After(s.last) {
		s.last = at
	}
	if failed {
		s.failures += weight * (1 - s.failures)
		return
	}
	s.failures -= weight * s.failures
	s.latency.add(float64(a.LatencyMS), weight)
	if a.FirstTokenMS > 0 {
		s.first.add(float64(a.FirstTokenMS), weight)
	}
}

// blamed reports whether a call failed by its target's fault. One that failed by
// the request's fault, or was cancelled, tells nothing.
func blamed(a *schemas.Attempt) (failed, counts bool) {
	if a.Outcome == schemas.OK {
		return false, true
	}
	p := a.Outcome.Policy()
	theirs := p.Breaker || (p.Fallback && p.Scope != schemas.ScopeRequest)
	return theirs, theirs
}

// Learn returns the settle step by which the router learns from how requests
// went: it adds the calls of this round to measured, which may be nil, and lets
// the route's strategies observe the job. It never fails a job.
func (r *Router) Learn(measured *Measured) pipeline.Stage {
	return pipeline.StageFunc(func(_ context.Context, job *pipeline.Job) error {
		if measured != nil {
			for i := range job.Attempts {
				if a := &job.Attempts[i]; a.Round == job.Origin.Round {
					measured.Add(a)
				}
			}
		}
		in := r.byName[job.Route]
		if in == nil {
			return nil
		}
		if o, ok := in.Strategy.(Observer); ok {
			q, _ := r.queries.Get().(*Query)
			q.reset(job, r.sources)
			if !job.Completed.IsZero() {
				q.Now = job.Completed
			}
			o.Observe(q)
			q.release()
			r.queries.Put(q)
		}
		return nil
	})
}

// Calls yields the calls of this round that tell something of their target, with
// whether they failed by its fault.
func (q *Query) Calls(yield func(a *schemas.Attempt, failed bool) bool) {
	for i := range q.Job.Attempts {
		a := &q.Job.Attempts[i]
		if a.Round != q.Job.Origin.Round {
			continue
		}
		if failed, counts := blamed(a); counts && !yield(a, failed) {
			return
		}
	}
}

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
	seen map[site]*averages // by provider, model and region, the last two also empty
}

var _ Health = (*Measured)(nil)

type site struct{ provider, model, region string }

// averages are those of a site and of what it belongs to.
type averages struct {
	own   average
	above [2]*averages // the model in all regions, the provider; nil: it is that itself
}

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
	all := m.seen[site{target.Provider, target.Model, target.Region}]
	if all == nil || now.Sub(all.own.last) > stale {
		return Observed{}, false
	}
	a := &all.own
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
	all := m.at(site{a.Target.Provider, a.Target.Model, a.Target.Region})
	all.own.add(a, failed, at)
	for _, above := range all.above {
		if above != nil {
			above.own.add(a, failed, at)
		}
	}
}

// at returns the averages of p. mu is held.
func (m *Measured) at(p site) *averages {
	if all := m.seen[p]; all != nil {
		return all
	}
	if m.seen == nil {
		m.seen = make(map[site]*averages)
	}
	all := new(averages)
	m.seen[p] = all
	if p.region != "" {
		all.above[0] = m.at(site{p.provider, p.model, ""})
	}
	if p.model != "" {
		all.above[1] = m.at(site{provider: p.provider})
	}
	return all
}

func (s *average) add(a *schemas.Attempt, failed bool, at time.Time) {
	if at.Sub(s.last) > stale {
		*s = average{last: at}
	}
	weight := weightAfter(at.Sub(s.last))
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

// weightAfter returns how much a call counts so long after the one before.
func weightAfter(d time.Duration) float64 {
	const least, most = 0.05, 0.3
	if d < memory/20 { // 1-exp(-x) < x
		return least
	}
	return min(max(1-math.Exp(-float64(d)/float64(memory)), least), most)
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

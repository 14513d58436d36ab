package balance

import (
	"sync/atomic"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// Lease is the right to make one call.
type Lease struct {
	Endpoint *Endpoint

	pool       *Pool
	model      string
	generation uint64
	report     func(error) // of a probe; nil when the breaker was closed
	done       atomic.Bool
}

// Done gives the lease back with how the call went: nil for an answer. What the
// failure's policy says then happens to the endpoint, its key or the model. A
// failure that the endpoint is not to blame for is passed as code cancelled.
// Only the first Done counts.
func (l *Lease) Done(outcome *schemas.Failure, latency time.Duration) {
	if l.done.Swap(true) {
		return
	}
	e := l.Endpoint
	e.calls.Add(1)
	var verdict error
	switch {
	case outcome == nil:
	case outcome.Code.Policy().Breaker:
		e.failures.Add(1)
		verdict = outcome
	default:
		verdict = errNeutral
	}
	// Measured before it leaves: an idle endpoint is judged by what it did last.
	e.conclude(verdict, latency, l.report, l.generation)
	e.inFlight.Add(-1)
	if outcome != nil {
		l.rest(outcome)
	}
}

// conclude tells the measurements and the breaker how a call went. report is
// that of a probe, or nil for a call that the closed breaker of the generation
// let through.
func (e *Endpoint) conclude(verdict error, latency time.Duration, report func(error), generation uint64) {
	now := time.Now()
	neutral := verdict == errNeutral //nolint:errorlint // it is made here and never wrapped
	if !neutral {
		e.measure.observe(latency, verdict != nil, now.UnixNano())
	}
	switch {
	case report != nil:
		report(verdict)
	case !neutral:
		e.count(verdict, generation, now)
	}
}

// rest leaves alone what the failure names, by its scope.
func (l *Lease) rest(f *schemas.Failure) {
	c := l.pool.config.Rest
	advised := f.RetryAfter()
	or := func(d time.Duration) time.Duration {
		if advised > 0 {
			return advised
		}
		return d
	}
	now := time.Now()
	until := func(d time.Duration) int64 { return now.Add(min(d, c.Max)).UnixNano() }
	e := l.Endpoint
	switch {
	case f.Code == schemas.Auth:
		e.key.extend(until(c.Auth))
	case f.Code == schemas.Permission:
		// The key is good for other models.
		l.pool.denied.add(e.key, l.model, until(or(c.Permission)), now.UnixNano())
	case f.Code == schemas.QuotaExhausted:
		e.key.extend(until(or(c.Quota)))
	case f.Code.Policy().Scope == schemas.ScopeKey:
		e.key.extend(until(or(c.RateLimited)))
	case f.Code.Policy().Scope == schemas.ScopeModel:
		l.pool.denied.add(nil, l.model, until(or(c.NotFound)), now.UnixNano())
	case f.Code.Policy().Scope == schemas.ScopeEndpoint && advised > 0:
		e.own.extend(until(advised))
	}
}

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
	e.inFlight.Add(-1)
	e.calls.Add(1)
	var verdict error
	switch {
	case outcome == nil:
		e.observe(latency)
	case outcome.Code.Policy().Breaker:
		e.failures.Add(1)
		verdict = outcome
	default:
		verdict = errNeutral
	}
	switch {
	case l.report != nil:
		l.report(verdict)
	case verdict == nil || outcome.Code.Policy().Breaker:
		// A call that began before the breaker's last change has no say.
		if l.generation == e.generation.Load() {
			e.count(verdict)
		}
	}
	if outcome != nil {
		l.rest(outcome)
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

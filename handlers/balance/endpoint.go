package balance

import (
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// EndpointConfig describes an endpoint.
type EndpointConfig struct {
	ID     string `json:"id"`               // unique within the pool; a label of metrics
	Region string `json:"region,omitempty"` // where it is, in the operator's words
	Key    string `json:"key,omitempty"`    // name of the credential, never the credential; endpoints of one key rest together
	Weight int    `json:"weight,omitempty"` // share of calls relative to the others; 0 means 1
}

// Endpoint is one address of a provider with one credential. Make it with
// [NewPool]. It is safe for concurrent use; nobody changes the fields.
type Endpoint struct {
	ID       string
	Provider string
	Region   string
	Key      string
	Weight   int

	index    int
	share    atomic.Int64 // percent of Weight
	inFlight atomic.Int64
	calls    atomic.Int64
	failures atomic.Int64
	latency  atomic.Int64 // of answered calls, exponentially weighted, nanoseconds

	own rest  // of this endpoint
	key *rest // shared by the endpoints of one key

	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
	// What follows mirrors the breaker, so that looking at it takes no lock.
	state      atomic.Int32 // a gobreaker.State
	generation atomic.Uint64
	openUntil  atomic.Int64 // unix nanoseconds
}

// Index is the endpoint's place in its pool, from 0 without gaps.
func (e *Endpoint) Index() int { return e.index }

// InFlight returns how many calls are under way.
func (e *Endpoint) InFlight() int64 { return e.inFlight.Load() }

// LiveWeight returns a hundred times Weight, lowered by [Endpoint.SetShare].
// It is never below 1.
func (e *Endpoint) LiveWeight() int64 { return int64(e.Weight) * e.share.Load() }

// SetShare lowers the endpoint's weight to percent of what was configured, for
// whoever predicts that it is about to fail. Values are held within 5 and 100,
// so that an endpoint keeps giving evidence of its health.
func (e *Endpoint) SetShare(percent int) { e.share.Store(int64(min(max(percent, 5), 100))) }

// usableAt returns the time from which the endpoint may be asked, in unix
// nanoseconds; a time not after now means now.
func (e *Endpoint) usableAt() int64 {
	at := max(e.own.until.Load(), e.key.until.Load())
	if gobreaker.State(e.state.Load()) == gobreaker.StateOpen {
		at = max(at, e.openUntil.Load())
	}
	return at
}

// admit asks the breaker for a call. A closed breaker is not asked at all: its
// calls are counted when they end. Otherwise report is what the call's end must
// be told to.
func (e *Endpoint) admit() (report func(error), ok bool) {
	if gobreaker.State(e.state.Load()) == gobreaker.StateClosed {
		return nil, true
	}
	report, err := e.breaker.Allow()
	return report, err == nil
}

// count tells a closed breaker about a finished call. It is counted at its end,
// not at its beginning: gobreaker forgets a call that began before its window,
// and a timeout of two minutes must count in a window of thirty seconds.
func (e *Endpoint) count(outcome error) {
	if report, err := e.breaker.Allow(); err == nil {
		report(outcome)
	}
}

func (e *Endpoint) observe(d time.Duration) {
	for {
		old := e.latency.Load()
		next := old + (int64(d)-old)/5
		if old == 0 {
			next = int64(d)
		}
		if e.latency.CompareAndSwap(old, next) {
			return
		}
	}
}

// rest is a time before which something is left alone.
type rest struct{ until atomic.Int64 } // unix nanoseconds

// extend never shortens a rest: two calls may learn of it at once.
func (r *rest) extend(until int64) {
	for {
		old := r.until.Load()
		if until <= old || r.until.CompareAndSwap(old, until) {
			return
		}
	}
}

// SharesKey reports whether e and other rest together when their key must.
func (e *Endpoint) SharesKey(other *Endpoint) bool { return e.key == other.key }

// Usable reports whether nothing is known that speaks against calling e now.
func (e *Endpoint) Usable(now time.Time) bool { return e.usableAt() <= now.UnixNano() }

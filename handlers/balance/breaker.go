package balance

import (
	"errors"
	"time"

	"github.com/sony/gobreaker/v2"
)

// The states of an endpoint's breaker.
const (
	Closed   = "closed"    // in use
	Open     = "open"      // left alone
	HalfOpen = "half_open" // a few probes go through
)

// Change is a breaker's change of state.
type Change struct {
	Provider string
	Endpoint string
	From, To string // Closed, Open or HalfOpen
	At       time.Time
}

// errNeutral is the outcome of a call that says nothing about the endpoint's
// health: a bad request, a rate limit, a requester who left.
var errNeutral = errors.New("says nothing about health")

// newBreaker gives e its breaker. onChange may be nil.
func (e *Endpoint) newBreaker(c BreakerConfig, onChange func(Change)) {
	e.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:         e.ID,
		MaxRequests:  c.Probes,
		Interval:     c.Window,
		BucketPeriod: max(c.Window/10, time.Millisecond),
		Timeout:      c.OpenFor,
		ReadyToTrip: func(n gobreaker.Counts) bool {
			finished := n.TotalSuccesses + n.TotalFailures
			return n.ConsecutiveFailures >= c.Consecutive ||
				finished >= c.MinRequests && float64(n.TotalFailures) >= c.Ratio*float64(finished)
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errNeutral) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			now := time.Now()
			if to == gobreaker.StateOpen {
				// gobreaker opens its door after this moment, not at it.
				e.openUntil.Store(now.Add(c.OpenFor).UnixNano() + 1)
			}
			e.state.Store(int32(to))
			e.generation.Add(1)
			if onChange != nil {
				onChange(Change{Provider: e.Provider, Endpoint: e.ID, From: stateName(from), To: stateName(to), At: now})
			}
		},
	})
}

func stateName(s gobreaker.State) string {
	switch s {
	case gobreaker.StateClosed:
		return Closed
	case gobreaker.StateOpen:
		return Open
	default:
		return HalfOpen
	}
}

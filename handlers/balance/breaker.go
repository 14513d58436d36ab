package balance

import (
	"errors"
	"math"
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
//
// gobreaker keeps the states and the counts. How long an opening lasts is kept
// here, in openUntil, because gobreaker knows one length for all: its own door is
// never the later one, and nobody knocks at it before ours opens.
func (e *Endpoint) newBreaker(c BreakerConfig, draws *Draws, onChange func(Change)) {
	e.evidence = newEvidence(c)
	openings := &openings{config: c, draws: draws}
	e.breaker = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:         e.ID,
		MaxRequests:  c.Probes,
		Interval:     c.Window,
		BucketPeriod: max(c.Window/10, time.Millisecond),
		Timeout:      time.Nanosecond,
		ReadyToTrip: func(n gobreaker.Counts) bool {
			finished := n.TotalSuccesses + n.TotalFailures
			return n.ConsecutiveFailures >= c.Consecutive ||
				e.evidence.score+math.Float64frombits(e.prior.Load()) > c.Evidence ||
				c.Ratio > 0 && finished >= c.MinRequests && float64(n.TotalFailures) >= c.Ratio*float64(finished)
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errNeutral) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			now := time.Now()
			switch to {
			case gobreaker.StateOpen:
				e.openUntil.Store(now.Add(openings.next(from, now)).UnixNano())
				e.evidence.reset()
			case gobreaker.StateClosed:
				openings.closed = now
				e.startSlowly(now)
			}
			e.state.Store(int32(to))
			e.generation.Add(1)
			if onChange != nil {
				onChange(Change{Provider: e.Provider, Endpoint: e.ID, From: stateName(from), To: stateName(to), At: now})
			}
		},
	})
}

// openings says how long a breaker stays open. gobreaker's lock guards it.
type openings struct {
	config BreakerConfig
	draws  *Draws
	row    int // openings in a row before the next
	closed time.Time
}

// next returns how long an opening at now lasts. It is at least two nanoseconds,
// so that gobreaker's own door is open by then.
func (o *openings) next(from gobreaker.State, now time.Time) time.Duration {
	if from == gobreaker.StateClosed && (o.closed.IsZero() || now.Sub(o.closed) >= o.config.Window) {
		o.row = 0
	}
	d, longest := o.config.OpenFor, max(o.config.OpenFor, o.config.OpenMax)
	for range o.row {
		if d >= longest/2 {
			d = longest
			break
		}
		d *= 2
	}
	o.row++
	return max(time.Duration(float64(d)*(1-o.config.Jitter*o.draws.Unit())), 2)
}

// admit asks the breaker for a call. A closed breaker is not asked at all: its
// calls are counted when they end. Otherwise report is what the call's end must
// be told to.
func (e *Endpoint) admit() (report func(error), ok bool) {
	if gobreaker.State(e.state.Load()) == gobreaker.StateClosed {
		return nil, true
	}
	if time.Now().UnixNano() < e.openUntil.Load() {
		return nil, false
	}
	report, err := e.breaker.Allow()
	return report, err == nil
}

// count tells a closed breaker about a finished call that began in the given
// generation; a call from before the breaker's last change has no say. It is
// counted at its end, not at its beginning: gobreaker forgets a call that began
// before its window, and a timeout of two minutes must count in a window of
// thirty seconds.
//
// Callers take turns. A breaker opens in here, and a call that looked at it
// before another opened it would knock at an open breaker and be a probe.
func (e *Endpoint) count(outcome error, generation uint64, now time.Time) {
	e.counting.Lock()
	defer e.counting.Unlock()
	if e.generation.Load() != generation || gobreaker.State(e.state.Load()) != gobreaker.StateClosed {
		return
	}
	e.evidence.add(outcome != nil, now)
	if report, err := e.breaker.Allow(); err == nil {
		report(outcome)
	}
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

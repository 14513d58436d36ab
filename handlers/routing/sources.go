package routing

import (
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
)

// Sources are where strategies and expressions get what is not in the request.
// Each may be nil: then nothing of the sort is known.
type Sources struct {
	Prices   Prices
	Health   Health
	Canaries Canaries
}

// Prices says what a provider charges for usage at a moment. known is false where
// no price is. Price does no I/O and is safe for concurrent use; a price book
// (package cost) has this method.
type Prices interface {
	Price(target schemas.Target, at time.Time, usage schemas.Usage) (amount decimal.Decimal, currency, version string, known bool)
}

// Health says how calls to a target went lately. A target without a model means
// the whole provider; one without a region, all its regions. known is false where
// there were no calls to tell from. It does no I/O and is safe for concurrent
// use; [Measured] is one.
type Health interface {
	Health(target schemas.Target, now time.Time) (seen Observed, known bool)
}

// Observed is a moving average over the last calls to a target.
type Observed struct {
	Calls      int64         // how many there were in all
	Latency    time.Duration // of calls that were answered; 0: none was
	FirstToken time.Duration // of streams that were answered; 0: none was
	Failures   float64       // share of calls that failed by the target's fault, 0 to 1
}

// Canaries is how workers tell each other about canaries. Exchange tells the
// others of mine and returns what all of them know, mine included, joined with
// [Progress.Join], and whether this worker is the one that promotes. Any worker may
// roll back: nobody waits for another with that. It answers from memory, does not
// block and is safe for concurrent use.
type Canaries interface {
	Exchange(canary string, mine Progress) (all Progress, owner bool)
}

// Progress is how far a canary is and what was seen of it at this stage. Every
// worker adds up its own; what is common to all is the join.
type Progress struct {
	Stage      int       `json:"stage"` // from 0; the number of stages: promoted
	Since      time.Time `json:"since"` // when the stage began
	RolledBack bool      `json:"rolled_back,omitempty"`
	Why        string    `json:"why,omitempty"` // of the last change
	Canary     Tally     `json:"canary"`
	Baseline   Tally     `json:"baseline"`
}

// Tally counts the outcomes of one side of a canary in one stage.
type Tally struct {
	Calls    int64   `json:"calls"`
	Failures int64   `json:"failures"`
	Timed    int64   `json:"timed"`  // calls with a latency
	Log      float64 `json:"log"`    // sum of the natural logarithms of latencies in milliseconds
	LogSq    float64 `json:"log_sq"` // sum of their squares
}

// Join returns what two workers know together. A roll-back counts over anything
// else, then the later stage; tallies of one stage add up.
func (p Progress) Join(o Progress) Progress {
	if p.RolledBack != o.RolledBack {
		if o.RolledBack {
			return o
		}
		return p
	}
	if p.Stage != o.Stage {
		if o.Stage > p.Stage {
			return o
		}
		return p
	}
	if o.Since.Before(p.Since) && !o.Since.IsZero() || p.Since.IsZero() {
		p.Since = o.Since
	}
	if p.Why == "" {
		p.Why = o.Why
	}
	p.Canary, p.Baseline = p.Canary.Add(o.Canary), p.Baseline.Add(o.Baseline)
	return p
}

// Add returns the sum of two tallies.
func (t Tally) Add(o Tally) Tally {
	return Tally{
		Calls: t.Calls + o.Calls, Failures: t.Failures + o.Failures,
		Timed: t.Timed + o.Timed, Log: t.Log + o.Log, LogSq: t.LogSq + o.LogSq,
	}
}

package limit

import (
	"cmp"
	"fmt"
	"time"
)

// AdaptiveConfig bounds a limit of concurrency that finds itself.
type AdaptiveConfig struct {
	Min   int64         `json:"min,omitempty"`   // 1
	Max   int64         `json:"max,omitempty"`   // 1000
	Start int64         `json:"start,omitempty"` // 20
	Back  int64         `json:"back,omitempty"`  // percent of the limit that an overload leaves; 70
	Hold  time.Duration `json:"hold,omitempty"`  // for which further overloads are the same one; 1 s
	// Latency is the percentage of the shortest latency above which a call counts
	// as an overload; 0: only those count that say so. Answers of different lengths
	// take differently long, so it is of use for embeddings, not for chats.
	Latency int64 `json:"latency,omitempty"`
}

func (c AdaptiveConfig) withDefaults() AdaptiveConfig {
	c.Min, c.Max, c.Start = cmp.Or(c.Min, 1), cmp.Or(c.Max, 1000), cmp.Or(c.Start, 20)
	c.Back, c.Hold = cmp.Or(c.Back, 70), cmp.Or(c.Hold, time.Second)
	return c
}

func (c AdaptiveConfig) faults() []error {
	var faults []error
	if c.Min < 1 || c.Max < c.Min || c.Max > maxUnits {
		faults = append(faults, fmt.Errorf("adaptive.min is %d and adaptive.max %d: write two numbers above 0, the smaller first", c.Min, c.Max))
	}
	if c.Back < 1 || c.Back > 99 {
		faults = append(faults, fmt.Errorf("adaptive.back is %d: write a percentage from 1 to 99, such as 70", c.Back))
	}
	if c.Hold < 0 || c.Start < 1 {
		faults = append(faults, fmt.Errorf("adaptive.hold is %s and adaptive.start %d: write values above 0", c.Hold, c.Start))
	}
	if c.Latency != 0 && c.Latency <= 100 {
		faults = append(faults, fmt.Errorf("adaptive.latency is %d: write a percentage above 100, such as 200, or leave it out", c.Latency))
	}
	return faults
}

// adaptive is a limit of concurrency by additive increase and multiplicative
// decrease (Chiu and Jain 1989): an answer while the limit is in use adds one over
// the limit, so that a round of answers adds one; an overload takes a share of it.
type adaptive struct {
	config AdaptiveConfig
	limit  int64         // thousandths of a call
	best   time.Duration // shortest latency seen, drifting up
	held   time.Time     // until when overloads are the same one
}

func newAdaptive(c AdaptiveConfig) *adaptive {
	return &adaptive{config: c, limit: min(max(c.Start, c.Min), c.Max) * 1000}
}

func (a *adaptive) now() int64 { return a.limit / 1000 }

// done counts a call that ended when inFlight calls, itself among them, were under
// way.
func (a *adaptive) done(o Outcome, inFlight int64, now time.Time) {
	switch {
	case o.Unsent:
	case o.Overloaded || a.late(o.Latency):
		if now.Before(a.held) {
			return
		}
		a.limit = max(a.limit*a.config.Back/100, a.config.Min*1000)
		a.held = now.Add(a.config.Hold)
	case 2*inFlight > a.now(): // a limit that is not in use proves nothing
		a.limit = min(a.limit+1_000_000/a.limit+1, a.config.Max*1000)
	}
}

// late reports whether a latency says that calls queue at the provider.
func (a *adaptive) late(d time.Duration) bool {
	if a.config.Latency == 0 || d <= 0 {
		return false
	}
	if a.best == 0 || d < a.best {
		a.best = d
	} else {
		a.best += a.best / 1000 // what was best once need not be possible now
	}
	return d > a.best*time.Duration(a.config.Latency)/100
}

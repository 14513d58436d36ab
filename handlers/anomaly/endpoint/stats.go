// Package endpoint watches how an endpoint of a provider is doing: time to first
// token, gaps between tokens, latency, and what share of calls fail, are limited
// or break off.
//
// Workers add what they see to Stats, which costs tens of nanoseconds a call and
// adds up exactly across workers. Whoever owns the endpoint's state gives the
// sum of each tick to a State and gets back Features: by how much every signal
// is worse than usual, now and over the last minutes.
package endpoint

import (
	"math"
	"time"
)

// Tick is the time between two looks at an endpoint.
const Tick = 5 * time.Second

// Outcome is how a call ended, as far as it tells of the endpoint's health.
type Outcome uint8

// The outcomes. Mistakes of the caller are OK: the endpoint answered.
const (
	OK         Outcome = iota
	Fault              // no answer: refused, broken, timed out, 5xx
	Limited            // 429
	Overloaded         // 529, and 503 that says so
	Truncated          // the answer broke off
)

// Call is what one finished call tells. A duration of 0 is not known.
type Call struct {
	FirstToken time.Duration // to the first byte of the answer
	Gap        time.Duration // longest time between two tokens
	Latency    time.Duration // to the end of the answer
	Input      int64         // tokens; 0 is not known
	Output     int64
	Outcome    Outcome
}

// Stats are sums over calls. Those of several workers add up to those of all.
// The zero value is ready. Not safe for concurrent use.
type Stats struct {
	Calls      uint32 `json:"calls"`
	Faults     uint32 `json:"faults,omitempty"`
	Limited    uint32 `json:"limited,omitempty"`
	Overloaded uint32 `json:"overloaded,omitempty"`
	Truncated  uint32 `json:"truncated,omitempty"`
	FirstToken Sum    `json:"first_token,omitzero"`
	Gap        Sum    `json:"gap,omitzero"`
	Latency    Sum    `json:"latency,omitzero"`
	Input      Sum    `json:"input,omitzero"`
	Output     Sum    `json:"output,omitzero"`
}

// Sum is of the natural logarithms of durations in seconds, or of tokens: ratios
// are what matters, and one straggler must not hide a hundred.
type Sum struct {
	N   uint32  `json:"n"`
	Log float64 `json:"log"`
}

func (s *Sum) add(x float64) {
	if x > 0 {
		s.N++
		s.Log += math.Log(x)
	}
}

func (s *Sum) merge(o Sum) {
	s.N += o.N
	s.Log += o.Log
}

// Observe counts a finished call. Durations and tokens of calls that failed say
// nothing of pace and size and are left out.
func (s *Stats) Observe(c Call) {
	s.Calls++
	switch c.Outcome {
	case Fault:
		s.Faults++
	case Limited:
		s.Limited++
	case Overloaded:
		s.Overloaded++
	case Truncated:
		s.Truncated++
	case OK:
		s.Latency.add(c.Latency.Seconds())
		s.FirstToken.add(c.FirstToken.Seconds())
		s.Gap.add(c.Gap.Seconds())
		s.Input.add(float64(c.Input))
		s.Output.add(float64(c.Output))
	}
}

// Add adds what another worker saw in the same time.
func (s *Stats) Add(o Stats) {
	s.Calls += o.Calls
	s.Faults += o.Faults
	s.Limited += o.Limited
	s.Overloaded += o.Overloaded
	s.Truncated += o.Truncated
	s.FirstToken.merge(o.FirstToken)
	s.Gap.merge(o.Gap)
	s.Latency.merge(o.Latency)
	s.Input.merge(o.Input)
	s.Output.merge(o.Output)
}

// Bad returns how many calls got no whole answer.
func (s *Stats) Bad() uint32 { return s.Faults + s.Limited + s.Overloaded + s.Truncated }

package predict

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sira-ai/sira/handlers/anomaly/endpoint"
)

// PolicyConfig says when an endpoint gets fewer calls because it is expected to
// fail, and when it gets them back.
type PolicyConfig struct {
	Enter   float64       `json:"enter,omitempty"`   // probability from which calls are withheld; 0.6
	Leave   float64       `json:"leave,omitempty"`   // probability below which it counts as calm; 0.1
	Calm    time.Duration `json:"calm,omitempty"`    // how long it must be calm before calls come back; 3 min
	Trickle int           `json:"trickle,omitempty"` // percent of its calls that it keeps, as evidence; 5
	Rise    int           `json:"rise,omitempty"`    // percent that come back each tick of 5 s; 2
}

// DefaultPolicy returns the configuration of an empty document.
func DefaultPolicy() PolicyConfig {
	return PolicyConfig{Enter: 0.6, Leave: 0.1, Calm: 3 * time.Minute, Trickle: 5, Rise: 2}
}

// Validate reports everything that is wrong with c.
func (c *PolicyConfig) Validate() error {
	var faults []error
	if !(c.Leave > 0 && c.Leave < c.Enter && c.Enter < 1) {
		faults = append(faults, fmt.Errorf("enter is %v and leave %v: write probabilities with 0 < leave < enter < 1, such as 0.6 and 0.1", c.Enter, c.Leave))
	}
	if c.Calm < 0 {
		faults = append(faults, fmt.Errorf("calm is %s: write a duration of 0 or more, such as 3m", c.Calm))
	}
	if c.Trickle < 1 || c.Trickle > 99 {
		faults = append(faults, fmt.Errorf("trickle is %d: write 1 to 99 percent, such as 5", c.Trickle))
	}
	if c.Rise < 1 {
		faults = append(faults, errors.New("rise: write at least 1 percent, such as 2"))
	}
	return errors.Join(faults...)
}

// again is the probability from which calls are withheld once more before all of
// them are back: what comes back is watched with less alarm than what is new.
const again = 0.9

// Hold is how much of its calls an endpoint gets. The zero value is not one; begin
// with Whole.
type Hold struct {
	Share int           // percent of what was configured
	Low   bool          // whether calls are withheld; else they are all there, or on their way back
	Calm  time.Duration // how long a low one has been calm
}

// Whole is the hold of an endpoint that nothing is withheld from.
func Whole() Hold { return Hold{Share: 100} }

// Shift is a change of direction: calls are withheld, or begin to come back.
type Shift struct {
	Endpoint    int
	To          int // percent that it is heading for
	Probability float64
}

// Policy turns the probabilities of a model's endpoints into their shares of
// calls, in percent of what was configured. It drops at once and rises slowly;
// it withholds calls from at most a third of the endpoints, so where there are
// fewer than three it changes nothing; and it never takes the last trickle. Not
// safe for concurrent use.
type Policy struct {
	config PolicyConfig
	holds  []Hold
	all    [][]int
}

// NewPolicy returns a policy for n endpoints of one model.
func NewPolicy(c PolicyConfig, n int) (*Policy, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	p := &Policy{config: c, holds: make([]Hold, n), all: [][]int{make([]int, n)}}
	for i := range p.holds {
		p.holds[i], p.all[0][i] = Whole(), i
	}
	return p, nil
}

// Share returns what percent of its configured weight an endpoint has.
func (p *Policy) Share(i int) int { return p.holds[i].Share }

// Step takes the probabilities at a tick and returns what changed direction.
func (p *Policy) Step(probabilities []float64) []Shift {
	return p.config.Step(p.holds, probabilities, p.all, endpoint.Tick)
}

// Step changes the holds of endpoints by their probabilities, for the time of one
// tick, and returns what changed direction. Each model is the endpoints that can
// answer for it; an endpoint may be of several and is held back only if that
// leaves two thirds of every one. An endpoint whose calls are withheld keeps its
// place among the third, however likely another one is to fail.
func (c *PolicyConfig) Step(holds []Hold, probabilities []float64, models [][]int, tick time.Duration) []Shift {
	var shifts []Shift
	var wanting []int
	for i := range holds {
		h, probability := &holds[i], probabilities[i]
		switch {
		case h.Low && c.calm(h, probability, tick):
			h.Low = false
			shifts = append(shifts, Shift{Endpoint: i, To: 100, Probability: probability})
		case !h.Low && probability >= c.Enter && (h.Share == 100 || probability >= again):
			wanting = append(wanting, i)
			continue
		}
		if !h.Low {
			h.Share = min(100, h.Share+c.Rise)
		}
	}
	slices.SortStableFunc(wanting, func(a, b int) int { return cmp.Compare(probabilities[b], probabilities[a]) })
	for _, i := range wanting {
		if !room(holds, models, i) {
			continue // what comes back comes back no further
		}
		holds[i] = Hold{Share: c.Trickle, Low: true}
		shifts = append(shifts, Shift{Endpoint: i, To: c.Trickle, Probability: probabilities[i]})
	}
	return shifts
}

// room reports whether i may be low beside those that are.
func room(holds []Hold, models [][]int, i int) bool {
	for _, model := range models {
		if !slices.Contains(model, i) {
			continue
		}
		low := 0
		for _, other := range model {
			if holds[other].Low {
				low++
			}
		}
		if low+1 > len(model)/3 {
			return false
		}
	}
	return true
}

// calm reports whether h has been calm for long enough, after another tick.
func (c *PolicyConfig) calm(h *Hold, probability float64, tick time.Duration) bool {
	if probability >= c.Leave {
		h.Calm = 0
		return false
	}
	h.Calm += tick
	return h.Calm > c.Calm
}

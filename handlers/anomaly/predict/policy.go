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

// Policy turns the probabilities of a model's endpoints into their shares of
// calls, in percent of what was configured. It drops at once and rises slowly;
// it withholds calls from at most a third of the endpoints, so where there are
// fewer than three it changes nothing; and it never takes the last trickle. Not
// safe for concurrent use.
type Policy struct {
	config    PolicyConfig
	endpoints []held
}

type held struct {
	share int // percent
	low   bool
	calm  time.Duration
}

// NewPolicy returns a policy for n endpoints of one model.
func NewPolicy(c PolicyConfig, n int) (*Policy, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	p := &Policy{config: c, endpoints: make([]held, n)}
	for i := range p.endpoints {
		p.endpoints[i].share = 100
	}
	return p, nil
}

// Shift is a change of direction: calls are withheld, or begin to come back.
type Shift struct {
	Endpoint    int
	To          int // percent that it is heading for
	Probability float64
}

// Share returns what percent of its configured weight an endpoint has.
func (p *Policy) Share(i int) int { return p.endpoints[i].share }

// Step takes the probabilities at a tick and returns what changed direction. An
// endpoint whose calls are withheld keeps its place among the third, however
// likely another one is to fail.
func (p *Policy) Step(probabilities []float64) []Shift {
	var shifts []Shift
	room := len(p.endpoints) / 3
	var wanting []int
	for i := range p.endpoints {
		e, probability := &p.endpoints[i], probabilities[i]
		switch {
		case e.low && p.calm(e, probability):
			e.low = false
			shifts = append(shifts, Shift{Endpoint: i, To: 100, Probability: probability})
		case e.low:
			room--
		case probability >= p.config.Enter && (e.share == 100 || probability >= again):
			wanting = append(wanting, i)
			continue
		}
		if !e.low {
			e.share = min(100, e.share+p.config.Rise)
		}
	}
	slices.SortStableFunc(wanting, func(a, b int) int { return cmp.Compare(probabilities[b], probabilities[a]) })
	for _, i := range wanting[:max(0, min(room, len(wanting)))] {
		p.endpoints[i] = held{share: p.config.Trickle, low: true}
		shifts = append(shifts, Shift{Endpoint: i, To: p.config.Trickle, Probability: probabilities[i]})
	}
	return shifts
}

// calm reports whether e has been calm for long enough.
func (p *Policy) calm(e *held, probability float64) bool {
	if probability >= p.config.Leave {
		e.calm = 0
		return false
	}
	e.calm += endpoint.Tick
	return e.calm > p.config.Calm
}

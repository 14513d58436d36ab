// Package ab splits requests between the arms of an experiment. The same unit,
// such as a user, always meets the same arm.
package ab

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/cespare/xxhash/v2"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this strategy as kind "ab".
var Entry routing.Entry = catalog.Define("ab", Config{Unit: "labels.user"}, New)

// Config describes an experiment.
type Config struct {
	Experiment string `json:"experiment"`       // its name, in every exposure
	Unit       string `json:"unit,omitempty"`   // an expression of type string: what keeps its arm; labels.user
	Salt       string `json:"salt,omitempty"`   // another one assigns all units anew
	Strict     bool   `json:"strict,omitempty"` // targets of other arms are no fallback
	Arms       []Arm  `json:"arms"`
}

// Arm is one of the things compared.
type Arm struct {
	Name    string   `json:"name"`
	Weight  *int     `json:"weight,omitempty"` // share of units relative to the other arms; unset: 1
	Targets []string `json:"targets"`          // selectors, see [routing.Selector]
}

// name is what exposures can carry so that SQL can read it back.
var name = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// Validate reports what is wrong with c.
func (c *Config) Validate() error {
	if !name.MatchString(c.Experiment) {
		return fmt.Errorf("experiment: %q is no name: write 1 to 64 letters, digits, dots, dashes or underscores", c.Experiment)
	}
	if _, err := routing.CompileText(c.Unit); err != nil {
		return fmt.Errorf("unit: %w", err)
	}
	if len(c.Arms) < 2 {
		return errors.New("arms: an experiment compares two or more")
	}
	seen, total := make(map[string]bool), 0
	for i, a := range c.Arms {
		at := fmt.Sprintf("arms[%d]", i)
		switch {
		case !name.MatchString(a.Name):
			return fmt.Errorf("%s.name: %q is no name: write letters, digits, dots, dashes or underscores", at, a.Name)
		case seen[a.Name]:
			return fmt.Errorf("%s.name: %q is taken", at, a.Name)
		case a.weight() < 0 || a.weight() > 1_000_000:
			return fmt.Errorf("%s.weight: %d is not from 0 to 1000000", at, a.weight())
		case len(a.Targets) == 0:
			return fmt.Errorf("%s.targets: is empty: name the arm's targets, such as openai/gpt-4o", at)
		}
		if _, err := routing.ParseSelectors(at+".targets", a.Targets); err != nil {
			return err
		}
		seen[a.Name] = true
		total += a.weight()
	}
	if total == 0 {
		return errors.New("arms: all weights are 0: give at least one arm some weight")
	}
	return nil
}

func (a *Arm) weight() int {
	if a.Weight == nil {
		return 1
	}
	return *a.Weight
}

// New returns the strategy. It draws the arm by a hash of experiment, salt, unit
// and the arm's name ([routing.Pick]), so that restarts and other workers draw the
// same, and other weights move only the units that they have to. The arm's targets
// come first, in the given order, with the exposure noted; those of other arms
// follow unless Strict, and targets of no arm come last.
//
// A request without a unit is not part of the experiment: its order stays.
func New(c Config, _ catalog.Env) (routing.Strategy, error) {
	unit, err := routing.CompileText(c.Unit)
	if err != nil {
		return nil, fmt.Errorf("unit: %w", err)
	}
	s := &strategy{unit: unit, seed: xxhash.Sum64String(c.Experiment + "\x00" + c.Salt), strict: c.Strict}
	for i := range c.Arms {
		a := &c.Arms[i]
		targets, err := routing.ParseSelectors("targets", a.Targets)
		if err != nil {
			return nil, fmt.Errorf("arms[%d]: %w", i, err)
		}
		s.arms = append(s.arms, targets)
		s.seeds = append(s.seeds, xxhash.Sum64String(a.Name))
		s.weights = append(s.weights, a.weight())
		s.exposures = append(s.exposures, "experiment="+c.Experiment+" arm="+a.Name)
	}
	if c.Strict {
		return s, nil
	}
	return &lenient{strategy: s}, nil
}

type strategy struct {
	unit      *routing.Text
	seed      uint64
	strict    bool
	arms      [][]routing.Selector
	seeds     []uint64
	weights   []int
	exposures []string
}

// Rank implements routing.Strategy.
func (s *strategy) Rank(q *routing.Query, c []routing.Candidate) []routing.Candidate {
	unit := s.unit.Of(q)
	if unit == "" {
		if q.Explain && len(c) > 0 {
			q.Note(&c[0], "not in the experiment: the request has no unit")
		}
		return c
	}
	arm := s.draw(unit)
	n := routing.First(c, func(c *routing.Candidate) bool { return routing.MatchAny(s.arms[arm], &c.Target) >= 0 })
	if n == 0 && !s.strict {
		return c // nothing of the arm is left to be exposed to, such as in a fallback
	}
	for i := range n {
		q.Note(&c[i], s.exposures[arm])
	}
	others := routing.First(c[n:], func(c *routing.Candidate) bool { return s.inAnArm(c) })
	if !s.strict {
		return c
	}
	for i := n; i < n+others; i++ {
		q.Note(&c[i], "belongs to another arm of the experiment")
	}
	copy(c[n:], c[n+others:])
	return c[:len(c)-others]
}

// draw returns the arm of a unit.
func (s *strategy) draw(unit string) int {
	return routing.Pick(routing.Mix(xxhash.Sum64String(unit)^s.seed), s.seeds, s.weights)
}

func (s *strategy) inAnArm(c *routing.Candidate) bool {
	for _, arm := range s.arms {
		if routing.MatchAny(arm, &c.Target) >= 0 {
			return true
		}
	}
	return false
}

// lenient is a strategy that leaves nothing out.
type lenient struct {
	*strategy

	prepared routing.Prepared[[]order]
}

// order is the places of candidates where a unit has drawn an arm: those of the arm,
// and behind them those of other arms.
type order struct {
	places []int
	own    int
}

// Choose implements routing.Chooser.
func (s *lenient) Choose(q *routing.Query, c []routing.Candidate, first []int) []int {
	unit := s.unit.Of(q)
	if unit == "" {
		return first
	}
	arm := s.draw(unit)
	o := &(*s.prepared.Of(c, s.orders))[arm]
	if o.own == 0 {
		return first
	}
	for _, at := range o.places[:o.own] {
		q.Note(&c[at], s.exposures[arm])
	}
	return append(first, o.places...)
}

func (s *lenient) orders(c []routing.Candidate) *[]order {
	out := make([]order, len(s.arms))
	for arm := range out {
		o := &out[arm]
		var others []int
		for i := range c {
			switch {
			case routing.MatchAny(s.arms[arm], &c[i].Target) >= 0:
				o.places = append(o.places, i)
			case s.inAnArm(&c[i]):
				others = append(others, i)
			}
		}
		o.own = len(o.places)
		o.places = append(o.places, others...)
	}
	return &out
}

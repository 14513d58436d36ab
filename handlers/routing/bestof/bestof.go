// Package bestof ranks targets by a trade-off of price, speed and failures.
package bestof

import (
	"errors"
	"fmt"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this strategy as kind "best_of".
var Entry routing.Entry = catalog.Define("best_of", Config{
	Weights: routing.TradeOff{Price: 1, Speed: 1, Failures: 1}, Output: 512,
}, New)

// Config weighs the goals against each other.
type Config struct {
	Weights routing.TradeOff `json:"weights,omitzero"`
	Output  int              `json:"output,omitempty"` // tokens of the answer to reckon with; 512
}

// Validate reports what is wrong with c.
func (c *Config) Validate() error {
	w := c.Weights
	for name, v := range map[string]routing.Weight{"price": w.Price, "speed": w.Speed, "failures": w.Failures} {
		if !(v >= 0 && v <= 1000) {
			return fmt.Errorf("weights.%s: %v is not a number from 0 to 1000", name, v)
		}
	}
	if w.Price+w.Speed+w.Failures == 0 {
		return errors.New("weights: all are 0; give at least one goal some weight")
	}
	if c.Output < 0 {
		return errors.New("output: can't be negative; write the tokens of a usual answer, such as 512")
	}
	return nil
}

// New returns the strategy; see [routing.ByTradeOff] for the formula.
func New(c Config, _ catalog.Env) (routing.Strategy, error) { return &strategy{c}, nil }

type strategy struct{ Config }

// Rank implements routing.Strategy.
func (s *strategy) Rank(q *routing.Query, c []routing.Candidate) []routing.Candidate {
	routing.ByTradeOff(q, c, q.Usage(s.Output), s.Weights)
	return c
}

// Package cheapest ranks targets by what the request would cost.
package cheapest

import (
	"errors"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this strategy as kind "cheapest".
var Entry routing.Entry = catalog.Define("cheapest", Config{Output: 512}, New)

// Config says what is compared.
type Config struct {
	Output     int  `json:"output,omitempty"`      // tokens of the answer to reckon with, or the request's limit if that is lower; 512
	OnlyPriced bool `json:"only_priced,omitempty"` // leaves out targets without a price; else they come last
}

// Validate reports what is wrong with c.
func (c *Config) Validate() error {
	if c.Output < 0 {
		return errors.New("output: can't be negative; write the tokens of a usual answer, such as 512")
	}
	return nil
}

// New returns the strategy. Prices are those of the price book for the tokens of
// this request, estimated; where it knows none the given order stays.
func New(c Config, _ catalog.Env) (routing.Strategy, error) { return &strategy{c}, nil }

type strategy struct{ Config }

// Rank implements routing.Strategy.
func (s *strategy) Rank(q *routing.Query, c []routing.Candidate) []routing.Candidate {
	n := routing.ByPrice(q, c, q.Usage(s.Output))
	if s.OnlyPriced {
		return c[:n]
	}
	return c
}

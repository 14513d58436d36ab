// Package fastest ranks targets by how long they lately took to answer.
package fastest

import (
	"fmt"

	"github.com/cespare/xxhash/v2"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this strategy as kind "fastest".
var Entry routing.Entry = catalog.Define("fastest", Config{By: Total, Explore: 0.02}, New)

// What is measured.
const (
	Total      = "total"       // until the answer is complete
	FirstToken = "first_token" // until a stream begins; the total where there were no streams
)

// Config says what is compared.
type Config struct {
	By      string  `json:"by,omitempty"`      // total or first_token
	Explore float64 `json:"explore,omitempty"` // share of requests that go to another target first, to measure it; 0.02
}

// Validate reports what is wrong with c.
func (c *Config) Validate() error {
	if c.By != Total && c.By != FirstToken {
		return fmt.Errorf("by: %q is not one of total, first_token", c.By)
	}
	if !(c.Explore >= 0 && c.Explore <= 0.5) {
		return fmt.Errorf("explore: %v is not a share from 0 to 0.5, such as 0.02", c.Explore)
	}
	return nil
}

// New returns the strategy. Failed calls count: what fails half of the time takes
// twice as long. Targets without calls in the last ten minutes come last, and
// first when a request explores.
func New(c Config, _ catalog.Env) (routing.Strategy, error) { return &strategy{c}, nil }

type strategy struct{ Config }

// Rank implements routing.Strategy.
func (s *strategy) Rank(q *routing.Query, c []routing.Candidate) []routing.Candidate {
	measured := routing.BySpeed(q, c, s.By == FirstToken)
	h := xxhash.Sum64String(q.Request.ID)
	if len(c) < 2 || routing.Uniform(routing.Mix(h^1)) >= s.Explore {
		return c
	}
	from := measured // those that were not measured, or all but the fastest
	if from == len(c) {
		from = 1
	}
	at := from + int(routing.Mix(h^2)%uint64(len(c)-from))
	one := c[at]
	copy(c[1:at+1], c[:at])
	c[0] = one
	q.Note(&c[0], "tried first to measure it")
	return c
}

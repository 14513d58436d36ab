// Package custom ranks targets by an expression of the operator's.
package custom

import (
	"errors"
	"fmt"
	"math"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this strategy as kind "custom".
var Entry routing.Entry = catalog.Define("custom", Config{}, New)

// Config holds the expression.
type Config struct {
	// Score is an expression of a number, the higher the better. It may ask for all
	// that `when` may and, under candidate, for the target that is scored.
	Score string `json:"score"`
	// Least leaves out candidates with a lower score.
	Least *float64 `json:"least,omitempty"`
}

// Validate reports what is wrong with c.
func (c *Config) Validate() error {
	if c.Score == "" {
		return errors.New("score: is missing; write an expression of a number, such as -candidate.latency_ms")
	}
	if _, err := routing.CompileNumber(c.Score); err != nil {
		return fmt.Errorf("score: %w", err)
	}
	return nil
}

// New returns the strategy. A candidate whose score can't be told comes last, or
// is left out where there is a least score.
func New(c Config, _ catalog.Env) (routing.Strategy, error) {
	score, err := routing.CompileNumber(c.Score)
	if err != nil {
		return nil, fmt.Errorf("score: %w", err)
	}
	return &strategy{score, c.Least}, nil
}

type strategy struct {
	score *routing.Number
	least *float64
}

// Rank implements routing.Strategy.
func (s *strategy) Rank(q *routing.Query, c []routing.Candidate) []routing.Candidate {
	for i := range c {
		score, ok := s.score.Of(q, &c[i])
		if !ok {
			score = math.Inf(-1)
		}
		c[i].Score = score
		if i == 0 || q.Explain {
			q.Note(&c[i], fmt.Sprintf("score %.4g", score))
		}
	}
	if s.least != nil {
		c = routing.Keep(q, c, func(c *routing.Candidate) string {
			if c.Score < *s.least {
				return "its score is too low"
			}
			return ""
		})
	}
	routing.ByScore(c)
	return c
}

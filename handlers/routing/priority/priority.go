// Package priority ranks targets by the priority that the configuration gives
// them.
package priority

import (
	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this strategy as kind "priority".
var Entry routing.Entry = catalog.Define("priority", Config{}, New)

// Config has no settings: priorities belong to the targets.
type Config struct{}

// New returns a strategy that puts lower priorities first and keeps the given
// order among equals.
func New(Config, catalog.Env) (routing.Strategy, error) { return strategy{}, nil }

type strategy struct{}

// Constant implements routing.Constant.
func (strategy) Constant() {}

// Rank sorts by insertion: lists are short and usually in order already.
func (strategy) Rank(_ *routing.Query, c []routing.Candidate) []routing.Candidate {
	for i := 1; i < len(c); i++ {
		for j := i; j > 0 && c[j].Priority < c[j-1].Priority; j-- {
			c[j], c[j-1] = c[j-1], c[j]
		}
	}
	return c
}

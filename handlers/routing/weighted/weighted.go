// Package weighted spreads requests over targets by weight.
package weighted

import (
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this strategy as kind "weighted".
var Entry routing.Entry = catalog.Define("weighted", Config{}, New)

// Config chooses among the possible distributions.
type Config struct {
	// Seed makes two routes, or two days, distribute the same requests differently.
	Seed uint64 `json:"seed,omitempty"`
}

// drawn is how many places of a ranking are drawn. A request is tried at fewer
// targets than that; those after keep the given order.
const drawn = 8

// New returns a strategy that draws an order for each request by weighted
// rendezvous hashing: target i scores w_i / -ln(u_i), where u_i in (0, 1) is a
// hash of the seed, the request's id and the target, and the highest score comes
// first. A target is first with probability w_i / Σw, and next among the rest
// likewise (Efraimidis and Spirakis 2006, algorithm A-Res). The same request is
// always given the same order, in every worker, and a new target moves only the
// requests that it takes over. Targets of weight 0 come last, in the given order,
// and so do those after the 8th place.
func New(c Config, _ catalog.Env) (routing.Strategy, error) { return &strategy{seed: c.Seed}, nil }

type strategy struct{ seed uint64 }

func (s *strategy) Rank(q *routing.Query, c []routing.Candidate) []routing.Candidate {
	h := xxhash.Sum64String(q.Request.ID) ^ s.seed
	for i := range c {
		at, limit := i, 0.0
		if i >= drawn {
			at, limit = drawn-1, c[drawn-1].Score
		}
		score := score(routing.Mix(h^c[i].Draw()), c[i].Weight, limit)
		c[i].Score = score
		if i >= drawn {
			if score <= limit {
				continue
			}
			c[at], c[i] = c[i], c[at]
		}
		one := c[at]
		for ; at > 0 && score > c[at-1].Score; at-- {
			c[at] = c[at-1]
		}
		c[at] = one
	}
	return c
}

// score returns w / -ln(u), or 0 where that is not above limit: -ln(u) is at
// least 1-u, which saves most of the logarithms.
func score(h uint64, weight int, limit float64) float64 {
	if weight <= 0 {
		return 0
	}
	u, w := routing.Uniform(h), float64(weight)
	if w <= limit*(1-u) {
		return 0
	}
	return w / -math.Log(u)
}

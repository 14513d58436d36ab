// Package weighted spreads requests over targets by weight.
package weighted

import (
	"math"
	"slices"

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

// Rank implements routing.Strategy.
func (s *strategy) Rank(q *routing.Query, c []routing.Candidate) []routing.Candidate {
	var room [drawn]int
	lead(c, s.Choose(q, c, room[:0]))
	return c
}

// Choose implements routing.Chooser.
func (s *strategy) Choose(q *routing.Query, c []routing.Candidate, first []int) []int {
	h := xxhash.Sum64String(q.Request.ID) ^ s.seed
	var scores [drawn]float64
	from, limit := len(first), 0.0
	for i := range c {
		spec := c[i].TargetSpec
		score := score(routing.Mix(h^spec.Draw()), spec.Weight, limit)
		if score <= limit {
			continue
		}
		n := len(first) - from
		if n < drawn {
			first = append(first, 0)
		} else {
			n--
		}
		places := first[from:]
		for ; n > 0 && score > scores[n-1]; n-- {
			scores[n], places[n] = scores[n-1], places[n-1]
		}
		scores[n], places[n] = score, i
		if len(places) == drawn {
			limit = scores[drawn-1]
		}
	}
	return first
}

// lead puts those at the given places before the others, which keep their order.
func lead(c []routing.Candidate, places []int) {
	var ones [drawn]routing.Candidate
	last := -1
	for i, at := range places {
		ones[i] = c[at]
		last = max(last, at)
	}
	to := last
	for from := last; from >= 0; from-- {
		if !slices.Contains(places, from) {
			c[to] = c[from]
			to--
		}
	}
	copy(c, ones[:len(places)])
}

// score returns w / -ln(u), or 0 where that is not above limit: -ln(u) is at
// least 2(1-u)/(1+u), which saves most of the logarithms.
func score(h uint64, weight int, limit float64) float64 {
	if weight <= 0 {
		return 0
	}
	u, w := routing.Uniform(h), float64(weight)
	if w*(1+u) <= limit*2*(1-u) {
		return 0
	}
	return w / -math.Log(u)
}

// Package weighted spreads requests over targets by weight.
package weighted

import (
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// Entry offers this strategy as kind "weighted".
var Entry routing.Entry = catalog.Define("weighted", Config{}, New)

// Config chooses among the possible distributions.
type Config struct {
	// Seed makes two routes, or two days, distribute the same requests differently.
	Seed uint64 `json:"seed,omitempty"`
}

// New returns a strategy that draws an order for each request by weighted
// rendezvous hashing: target i scores -w_i / ln(u_i), where u_i in (0, 1) is a
// hash of the seed, the request's id and the target, and the highest score comes
// first. A target is first with probability w_i / Σw, and next among the rest
// likewise (Efraimidis and Spirakis 2006, algorithm A-Res). The same request is
// always given the same order, in every worker, and a new target moves only the
// requests that it takes over. Targets of weight 0 come last, in the order of
// the configuration.
func New(c Config, _ catalog.Env) (routing.Strategy, error) { return &strategy{seed: c.Seed}, nil }

type strategy struct{ seed uint64 }

func (s *strategy) Rank(req *schemas.Request, c []routing.Candidate) []routing.Candidate {
	id := xxhash.Sum64String(req.ID)
	var few [16]float64
	scores := few[:0]
	for i := range c {
		scores = append(scores, s.score(id, &c[i]))
		for j := i; j > 0 && scores[j] > scores[j-1]; j-- {
			scores[j], scores[j-1] = scores[j-1], scores[j]
			c[j], c[j-1] = c[j-1], c[j]
		}
	}
	return c
}

func (s *strategy) score(id uint64, c *routing.Candidate) float64 {
	if c.Weight <= 0 {
		return 0
	}
	h := mix(id ^ s.seed)
	h = mix(h ^ xxhash.Sum64String(c.Target.Provider))
	h = mix(h ^ xxhash.Sum64String(c.Target.Model))
	h = mix(h ^ xxhash.Sum64String(c.Target.Region))
	u := (float64(h>>11) + 0.5) / (1 << 53)
	return -float64(c.Weight) / math.Log(u)
}

// mix is the finalizer of SplitMix64: every bit of x moves every bit of the
// result.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

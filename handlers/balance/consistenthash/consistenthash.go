// Package consistenthash keeps calls of equal affinity at one endpoint, so that
// they find its prompt cache warm, as long as that endpoint is not overloaded.
package consistenthash

import (
	"fmt"
	"math"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this balancer as kind "consistent_hash".
var Entry balance.Entry = catalog.Define("consistent_hash", Config{Load: 1.25, Seed: 1}, New)

// Config bounds the load.
type Config struct {
	// Load is how many times its share of the calls in flight an endpoint takes
	// before calls go to their second choice; 1.25. More keeps more calls with
	// their cache, less spreads them more evenly.
	Load float64 `json:"load,omitempty"`
	// Seed of the draws for calls without affinity. Which endpoint an affinity
	// prefers does not depend on it: all workers must agree on that.
	Seed uint64 `json:"seed,omitempty"`
}

// Validate reports what is wrong with c.
func (c *Config) Validate() error {
	if !(c.Load > 1 && c.Load <= 100) {
		return fmt.Errorf("load is %v: write a factor above 1 and up to 100, such as 1.25", c.Load)
	}
	return nil
}

// New returns a balancer by weighted rendezvous hashing with bounded loads. Each
// affinity ranks the endpoints by a score of its own (Schindelhauer and
// Schomaker 2005: -ln(u)/weight for an even u, the least first), so that one that joins or
// leaves moves only the calls that it takes or had. The first in rank whose
// calls in flight are below Load times its share of all, rounded up, takes the
// call (Mirrokni, Thorup, Zadimoghaddam 2018).
//
// Calls that are picked at the very same moment see the same load; together they
// may exceed the bound by their number.
func New(c Config, _ catalog.Env) (balance.Balancer, error) {
	return &balancer{load: c.Load, draws: balance.NewDraws(c.Seed)}, nil
}

type balancer struct {
	load  float64
	draws *balance.Draws
}

func (b *balancer) Pick(affinity uint64, endpoints []*balance.Endpoint) *balance.Endpoint {
	if len(endpoints) == 1 {
		return endpoints[0]
	}
	if affinity == 0 {
		affinity = b.draws.Next()
	}
	var (
		inFlight, weight int64
		best             *balance.Endpoint
		least            = math.Inf(1)
	)
	for _, e := range endpoints {
		inFlight += e.InFlight()
		w := e.LiveWeight()
		weight += w
		if s, ok := score(affinity, e, w, least); ok {
			best, least = e, s
		}
	}
	all := b.load * float64(inFlight+1) / float64(weight)
	if fits(best, all) {
		return best
	}
	return next(affinity, endpoints, all)
}

// next returns the first in rank that is below its bound. There is one, since
// loads sum to less than bounds, unless calls that began meanwhile filled it.
func next(affinity uint64, endpoints []*balance.Endpoint, all float64) *balance.Endpoint {
	var best *balance.Endpoint
	least := math.Inf(1)
	for _, e := range endpoints {
		if !fits(e, all) {
			continue
		}
		if s, ok := score(affinity, e, e.LiveWeight(), least); ok {
			best, least = e, s
		}
	}
	if best == nil {
		return endpoints[affinity%uint64(len(endpoints))]
	}
	return best
}

// fits reports whether e can take one more call, given the load of a weight of 1.
// A hair's breadth keeps what the division lost from adding a call to the bound.
func fits(e *balance.Endpoint, all float64) bool {
	return float64(e.InFlight()) < math.Ceil(all*float64(e.LiveWeight())-1e-9)
}

// score returns that of an endpoint of weight w, if it is below least: -ln(1-v)/w
// for an even v. Most need no logarithm, since v < -ln(1-v).
func score(affinity uint64, e *balance.Endpoint, w int64, least float64) (float64, bool) {
	v := float64(balance.Mix(affinity^e.Hash())>>11) / (1 << 53)
	if v >= least*float64(w) {
		return 0, false
	}
	s := -math.Log1p(-v) / float64(w)
	return s, s < least
}

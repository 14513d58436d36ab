// Package consistenthash keeps calls of equal affinity at one endpoint, so that
// they find its prompt cache warm, as long as that endpoint is not overloaded.
package consistenthash

import (
	"fmt"
	"math"
	"math/bits"
	"slices"

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
	var room [few]drawn
	near := room[:0]
	var inFlight, weight int64
	high := 1.5 // above the bound of any v up to a half, since weights are 1 or more
	for i, e := range endpoints {
		inFlight += e.InFlight()
		w := e.LiveWeight()
		weight += w
		d := drawn{even(affinity, e), float64(w), i}
		if d.v >= high*d.w {
			continue
		}
		near = append(near, d)
		if h := d.v * (1 + d.v) / d.w; h < high && d.v <= 0.5 {
			high = h
		}
	}
	best := endpoints[first(near)]
	all := b.load * float64(inFlight+1) / float64(weight)
	if fits(best, all) {
		return best
	}
	return next(affinity, endpoints, all)
}

// few is how many may be the first in rank, nearly always.
const few = 16

// drawn is the even v that an affinity draws for an endpoint, and its weight w. The
// score is -ln(1-v)/w, which is from v/w to, where v is at most a half, v(1+v)/w:
// the bounds save the logarithms of all but a few.
type drawn struct {
	v, w float64
	at   int
}

func (d drawn) score() float64 { return -math.Log(1-d.v) / d.w }

// first returns where the first in rank of those that may be it stands.
func first(near []drawn) int {
	at, least := 0, math.Inf(1)
	for _, d := range slices.Backward(near) { // the last is the best, or nearly
		if d.v < least*d.w {
			if s := d.score(); s <= least {
				at, least = d.at, s
			}
		}
	}
	return at
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
		if s := (drawn{v: even(affinity, e), w: float64(e.LiveWeight())}).score(); s < least {
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

// even returns the number in [0, 1) that affinity and endpoint draw together: both
// are hashes, so that one multiplication scatters them. 1-even is exact.
func even(affinity uint64, e *balance.Endpoint) float64 {
	high, low := bits.Mul64(affinity^e.Hash(), 0x9e3779b97f4a7c15)
	return float64(int64((high^low)>>11)) / (1 << 53)
}

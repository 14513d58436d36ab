// Package consistenthash keeps calls of equal affinity at one endpoint, so that
// they find its prompt cache warm, as long as that endpoint is not overloaded.
package consistenthash

import (
	"fmt"
	"math"
	"math/bits"

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
	load    float64
	draws   *balance.Draws
	lottery balance.Lottery
}

// tries is how many endpoints are drawn for a call without affinity before all of
// them are looked at.
const tries = 4

// Watch learns of the heaviest endpoint.
func (b *balancer) Watch(endpoints []*balance.Endpoint) {
	heaviest := int64(1)
	for _, e := range endpoints {
		heaviest = max(heaviest, e.FullWeight())
	}
	b.lottery.Reset(heaviest)
}

func (b *balancer) Pick(affinity uint64, endpoints []*balance.Endpoint) *balance.Endpoint {
	if len(endpoints) == 1 {
		return endpoints[0]
	}
	if affinity == 0 {
		for range tries {
			at, ticket := b.lottery.Draw(b.draws, len(endpoints))
			e := endpoints[at]
			if !b.lottery.Wins(ticket, e.LiveWeight()) {
				continue
			}
			if e.InFlight() == 0 {
				return e // below any bound
			}
			break
		}
		affinity = b.draws.Next()
	}
	return b.home(balance.Mix(affinity)|1, endpoints)
}

// home returns the first in rank that is below its bound.
func (b *balancer) home(key uint64, endpoints []*balance.Endpoint) *balance.Endpoint {
	n := newNearest()
	var inFlight, weight int64
	for _, e := range endpoints {
		inFlight += e.InFlight()
		weight += e.LiveWeight()
		if v, low := draw(key, e); low < n.high {
			n.add(e, v, low)
		}
	}
	all := b.load * float64(inFlight+1) / float64(weight)
	if n.sure() && !fits(n.first, all) {
		n = newNearest()
		for _, e := range endpoints {
			if v, low := draw(key, e); low < n.high && fits(e, all) {
				n.add(e, v, low)
			}
		}
	}
	if n.sure() {
		return n.first
	}
	return ranked(key, endpoints, all)
}

// nearest is the first in rank of those that were added. It compares bounds of the
// scores, in units of 2^-63: where v is what key and endpoint draw together and w
// the weight, -ln(1-v)/w is from v/w to, where v is at most a half, v(1+v)/w. They
// nearly always tell who is first, without a division or a logarithm.
type nearest struct {
	first *balance.Endpoint
	high  uint64 // the score of the first is lower
	least uint64 // and at least that
	other uint64 // the least that the score of another may be
}

func newNearest() nearest {
	return nearest{high: math.MaxUint64, least: math.MaxUint64, other: math.MaxUint64}
}

// draw returns v in units of 2^-64 and v/w. An endpoint that starts slowly has 0.
func draw(key uint64, e *balance.Endpoint) (v, low uint64) {
	v = key * e.Hash()
	low, _ = bits.Mul64(v, e.Lightness())
	return v, low
}

// add is for what is below high.
func (n *nearest) add(e *balance.Endpoint, v, low uint64) {
	up := uint64(math.MaxUint64)
	if v < half {
		up, _ = bits.Mul64(low, v)
		up += low + lost
	}
	if up >= n.high {
		n.other = min(n.other, low)
		return
	}
	n.other = min(n.other, n.least)
	n.first, n.high, n.least = e, up, low
}

// sure reports whether the first is the first.
func (n *nearest) sure() bool { return n.first != nil && n.high <= n.other && n.least > 0 }

const (
	half = 1 << 63
	lost = 1 << 12 // more than rounding takes from a score
)

// ranked is home by the scores themselves. There is an endpoint below its bound,
// since loads sum to less than bounds, unless calls that began meanwhile filled it.
func ranked(key uint64, endpoints []*balance.Endpoint, all float64) *balance.Endpoint {
	var best *balance.Endpoint
	least := math.Inf(1)
	for _, e := range endpoints {
		v, w := even(key, e), float64(e.LiveWeight())
		if v >= least*w || !fits(e, all) { // the score is v/w or more
			continue
		}
		if s := -math.Log1p(-v) / w; s < least {
			best, least = e, s
		}
	}
	if best == nil {
		return endpoints[key>>1%uint64(len(endpoints))]
	}
	return best
}

// fits reports whether e can take one more call, given the load of a weight of 1.
// A hair's breadth keeps what the division lost from adding a call to the bound.
func fits(e *balance.Endpoint, all float64) bool {
	return float64(e.InFlight()) < all*float64(e.LiveWeight())-1e-9
}

// even returns the number in [0, 1) that a key and an endpoint draw together: the one
// is mixed and odd, the other a hash, so that their product is even. 1-even is exact.
func even(key uint64, e *balance.Endpoint) float64 {
	return float64(int64(key*e.Hash()>>11)) / (1 << 53)
}

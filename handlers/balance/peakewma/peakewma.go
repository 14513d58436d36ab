// Package peakewma sends a call to the better of two endpoints drawn at random,
// by how long an answer may be expected to take there.
package peakewma

import (
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this balancer as kind "peak_ewma".
var Entry balance.Entry = catalog.Define("peak_ewma", Config{Seed: 1}, New)

// Config has the seed of the draws. How fast measurements fade is
// balance.MeasureConfig.
type Config struct {
	Seed uint64 `json:"seed,omitempty"`
}

// New returns the balancer. The cost of an endpoint is its peak-EWMA latency,
// times the calls in flight with this one, over the share of calls that succeed
// and its weight: the time until an answer, if failures are tried again and
// calls queue. The peak EWMA is Finagle's; comparing two random choices only, not
// all, keeps calls that see the same numbers from meeting at one endpoint
// (Mitzenmacher 2001). An endpoint without measurements counts as fast as the
// other.
func New(c Config, _ catalog.Env) (balance.Balancer, error) {
	return &balancer{draws: balance.NewDraws(c.Seed)}, nil
}

type balancer struct{ draws *balance.Draws }

func (b *balancer) Pick(_ uint64, endpoints []*balance.Endpoint) *balance.Endpoint {
	n := uint64(len(endpoints))
	if n == 1 {
		return endpoints[0]
	}
	i := b.draws.Below(n)
	j := b.draws.Below(n - 1)
	if j >= i {
		j++
	}
	x, y := endpoints[i], endpoints[j]
	now := time.Now().UnixNano()
	p, q := x.Performance(now), y.Performance(now)
	if p.Peak == 0 || q.Peak == 0 {
		p.Peak, q.Peak = 1, 1
	}
	if cost(x, p)*float64(y.LiveWeight()) <= cost(y, q)*float64(x.LiveWeight()) {
		return x
	}
	return y
}

// cost is that of an endpoint of weight 1.
func cost(e *balance.Endpoint, p balance.Performance) float64 {
	return float64(p.Peak) * float64(e.InFlight()+1) / max(p.Success, 0.01)
}

// Package roundrobin spreads calls over endpoints in turn, by weight.
package roundrobin

import (
	"math"
	"sync"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this balancer as kind "round_robin".
var Entry balance.Entry = catalog.Define("round_robin", Config{}, New)

// Config has no settings: weights belong to the endpoints.
type Config struct{}

// New returns a balancer that picks by smooth weighted round robin, as nginx
// does: every pick credits each endpoint with its weight and takes the sum from
// the richest. With weights 5, 1, 1 the turns are a a b a c a a, not five a in
// a row.
func New(Config, catalog.Env) (balance.Balancer, error) { return &balancer{}, nil }

type balancer struct {
	mu     sync.Mutex
	credit []int64 // by endpoint index
}

func (b *balancer) Pick(_ uint64, endpoints []*balance.Endpoint) *balance.Endpoint {
	if len(endpoints) == 1 {
		return endpoints[0]
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	best, most, sum := 0, int64(math.MinInt64), int64(0)
	for i, e := range endpoints {
		at := e.Index()
		for at >= len(b.credit) {
			b.credit = append(b.credit, 0)
		}
		w := e.LiveWeight()
		sum += w
		has := b.credit[at] + w
		b.credit[at] = has
		if has > most {
			best, most = i, has
		}
	}
	e := endpoints[best]
	b.credit[e.Index()] -= sum
	return e
}

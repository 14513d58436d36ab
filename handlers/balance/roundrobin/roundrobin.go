// Package roundrobin spreads calls over endpoints in turn, by weight.
package roundrobin

import (
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
	var (
		best *balance.Endpoint
		most int64
		sum  int64
	)
	for _, e := range endpoints {
		for e.Index() >= len(b.credit) {
			b.credit = append(b.credit, 0)
		}
		w := e.LiveWeight()
		sum += w
		b.credit[e.Index()] += w
		if best == nil || b.credit[e.Index()] > most {
			best, most = e, b.credit[e.Index()]
		}
	}
	b.credit[best.Index()] -= sum
	return best
}

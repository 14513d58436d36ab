// Package leastload sends a call to the endpoint with the fewest calls in flight
// for its weight.
package leastload

import (
	"sync/atomic"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this balancer as kind "least_load".
var Entry balance.Entry = catalog.Define("least_load", Config{}, New)

// Config has no settings: weights belong to the endpoints.
type Config struct{}

// New returns the balancer. Endpoints of equal load take turns. Calls that are
// picked at the very same moment see the same load and may meet at one endpoint.
func New(Config, catalog.Env) (balance.Balancer, error) { return &balancer{}, nil }

type balancer struct{ turn atomic.Uint64 }

func (b *balancer) Pick(_ uint64, endpoints []*balance.Endpoint) *balance.Endpoint {
	n := len(endpoints)
	if n == 1 {
		return endpoints[0]
	}
	at := int(b.turn.Add(1) % uint64(n))
	best := endpoints[at]
	load, weight := best.InFlight(), best.LiveWeight()
	for range n - 1 {
		if at++; at == n {
			at = 0
		}
		e := endpoints[at]
		// load/weight compared crosswise, in whole numbers.
		if l, w := e.InFlight(), e.LiveWeight(); l*weight < load*w {
			best, load, weight = e, l, w
		}
	}
	return best
}

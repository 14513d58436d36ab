// Package balance decides which endpoint of a provider is called: which region,
// key or replica. It keeps what is known of each endpoint (calls in flight, how
// fast it answers, whether its key must rest, the state of its circuit breaker)
// and asks a Balancer to pick among those that are usable.
//
// Everything is in memory and of this process: another worker learns for itself.
package balance

import "github.com/sira-ai/sira/pipeline/catalog"

// Balancer picks one of the endpoints, all of which are usable and of which
// there is at least one. Calls with equal affinity prefer the same endpoint
// where the balancer cares for that; zero means no preference. Pick does not
// block, keeps no reference to the slice, and is safe for concurrent use. One
// Balancer serves one Pool, so it may keep state by [Endpoint.Index].
type Balancer interface {
	Pick(affinity uint64, endpoints []*Endpoint) *Endpoint
}

// Watcher is a Balancer that also wants to know the endpoints that are not
// usable. It is told all of them before the first Pick and whenever they are
// replaced; a Pick under way may still be given earlier ones. The slice is
// nobody's to change.
type Watcher interface {
	Watch(endpoints []*Endpoint)
}

// Entry is a kind of balancer for the catalog.
type Entry = catalog.Entry[Balancer]

package balance

import (
	"errors"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"
)

// maxWeight keeps sums of weights far from overflow.
const maxWeight = 1_000_000

// roster is the endpoints of a pool at one time. It does not change.
type roster struct {
	all  []*Endpoint
	in   map[string][]*Endpoint // by region; "" is all of them
	byID map[string]*Endpoint
}

func newRoster(all []*Endpoint) *roster {
	r := &roster{all: all, in: map[string][]*Endpoint{"": all}, byID: make(map[string]*Endpoint, len(all))}
	for _, e := range all {
		r.byID[e.ID] = e
		if e.Region != "" {
			r.in[e.Region] = append(r.in[e.Region], e)
		}
	}
	return r
}

// Replace makes the given endpoints the pool's, all at once. An endpoint stays,
// with all that is known of it, if its id, address, region, zone, key and priority
// do; its weight and Caller may change. One that is new starts slowly. Calls under
// way at endpoints that leave end as they will. Where the endpoints have a
// mistake, or there are none, everything remains as it was and the error names
// all mistakes.
func (p *Pool) Replace(endpoints []EndpointConfig) error {
	if err := validate(p.provider, endpoints); err != nil {
		return err
	}
	p.changing.Lock()
	defer p.changing.Unlock()
	old := p.members.Load()
	keys := make(map[string]*rest)
	for _, e := range old.all {
		if e.Key != "" {
			keys[e.Key] = e.key
		}
	}
	p.reclaim()
	var (
		all  []*Endpoint
		stay = make(map[*Endpoint]bool)
	)
	for _, ec := range endpoints {
		e := old.byID[ec.ID]
		if e == nil || !e.is(ec) {
			e = p.newEndpoint(ec, keys)
		} else {
			stay[e] = true
		}
		e.SetWeight(max(ec.Weight, 1))
		e.caller.Store(callerBox{ec.Caller})
		all = append(all, e)
	}
	next := newRoster(all)
	if w, ok := p.balancer.(Watcher); ok {
		w.Watch(next.all)
	}
	p.members.Store(next)
	for _, e := range old.all {
		if !stay[e] {
			e.gone.Store(true)
		}
	}
	return nil
}

func validate(provider string, endpoints []EndpointConfig) error {
	if len(endpoints) == 0 {
		return fmt.Errorf("provider %s has no endpoints: name at least one key or address", provider)
	}
	ids := make(map[string]bool, len(endpoints))
	var faults []error
	for i, ec := range endpoints {
		switch {
		case ec.ID == "":
			faults = append(faults, fmt.Errorf("endpoints[%d].id is missing", i))
		case ids[ec.ID]:
			faults = append(faults, fmt.Errorf("endpoints[%d].id %q is taken: ids are unique within a provider", i, ec.ID))
		case ec.Weight < 0 || ec.Weight > maxWeight:
			faults = append(faults, fmt.Errorf("endpoints[%d].weight is %d: write 1 to %d", i, ec.Weight, maxWeight))
		case ec.Priority < 0:
			faults = append(faults, fmt.Errorf("endpoints[%d].priority is %d: write 0 for the first, 1 for the next", i, ec.Priority))
		}
		ids[ec.ID] = true
	}
	return errors.Join(faults...)
}

// is reports whether e is the endpoint that ec describes.
func (e *Endpoint) is(ec EndpointConfig) bool {
	return e.ID == ec.ID && e.Address == ec.Address && e.Region == ec.Region && e.Zone == ec.Zone && e.Key == ec.Key && e.Priority == ec.Priority
}

// reclaim frees the indexes of endpoints that have left and whose calls have all
// ended.
func (p *Pool) reclaim() {
	for i, e := range p.slots {
		if e != nil && e.gone.Load() && e.inFlight.Load() == 0 {
			p.slots[i] = nil
		}
	}
}

// newEndpoint makes an endpoint with an index of its own. keys are those of the
// pool, by name; a new one is added.
func (p *Pool) newEndpoint(ec EndpointConfig, keys map[string]*rest) *Endpoint {
	c := &p.config
	e := &Endpoint{
		ID: ec.ID, Address: ec.Address, Provider: p.provider, Region: ec.Region, Zone: ec.Zone, Key: ec.Key, Priority: ec.Priority,
		near: c.Locality.distance(ec), remote: 100, hash: xxhash.Sum64String(ec.ID),
	}
	for range e.near {
		e.remote = e.remote * int64(c.Locality.Remote) / 100
	}
	e.measure.decay = float64(c.Measure.Decay)
	e.ramp.window, e.ramp.floor = int64(c.SlowStart.Window), int64(c.SlowStart.Floor)
	e.share.Store(100)
	e.key = keys[ec.Key]
	if e.key == nil {
		e.key = new(rest)
		if ec.Key != "" {
			keys[ec.Key] = e.key
		}
	}
	e.newBreaker(c.Breaker, NewDraws(c.Seed^xxhash.Sum64String(p.provider+"\x00"+ec.ID)), p.onChange)
	e.ramp.start(time.Now().UnixNano()) // Replace weighs it
	e.index = int32(p.slot(e))
	return e
}

// slot returns a free index for e.
func (p *Pool) slot(e *Endpoint) int {
	for i, taken := range p.slots {
		if taken == nil {
			p.slots[i] = e
			return i
		}
	}
	p.slots = append(p.slots, e)
	return len(p.slots) - 1
}

// distance returns how far an endpoint is from this process; see
// [Endpoint.Distance].
func (c *LocalityConfig) distance(ec EndpointConfig) int {
	switch {
	case c.Region == "" && c.Zone == "":
		return 0
	case c.Region != "" && ec.Region != c.Region:
		return 2
	case c.Zone != "" && ec.Zone != c.Zone:
		return 1
	default:
		return 0
	}
}

package balance

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// probeWait is after how long it is worth asking again where all probes of a
// half-open breaker are under way.
const probeWait = 250 * time.Millisecond

// Pool holds the endpoints of one provider. It is safe for concurrent use.
type Pool struct {
	provider  string
	config    Config
	balancer  Balancer
	endpoints []*Endpoint
	byRegion  map[string][]*Endpoint // "" is all of them
	scratch   sync.Pool              // of *[]*Endpoint

	denied denials
}

// NewPool returns the pool of a provider's endpoints. onChange, which may be
// nil, is told when a breaker changes state; it must return at once and not
// call the pool.
func NewPool(provider string, c Config, b Balancer, endpoints []EndpointConfig, onChange func(Change)) (*Pool, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if len(endpoints) == 0 {
		return nil, fmt.Errorf("provider %s has no endpoints: name at least one key or address", provider)
	}
	p := &Pool{provider: provider, config: c, balancer: b, byRegion: make(map[string][]*Endpoint)}
	p.scratch.New = func() any {
		s := make([]*Endpoint, 0, len(endpoints))
		return &s
	}
	keys := make(map[string]*rest)
	ids := make(map[string]bool)
	var faults []error
	for i, ec := range endpoints {
		switch {
		case ec.ID == "":
			faults = append(faults, fmt.Errorf("endpoints[%d].id is missing", i))
		case ids[ec.ID]:
			faults = append(faults, fmt.Errorf("endpoints[%d].id %q is taken: ids are unique within a provider", i, ec.ID))
		case ec.Weight < 0 || ec.Weight > maxWeight:
			faults = append(faults, fmt.Errorf("endpoints[%d].weight is %d: write 1 to %d", i, ec.Weight, maxWeight))
		}
		ids[ec.ID] = true
		e := &Endpoint{ID: ec.ID, Provider: provider, Region: ec.Region, Key: ec.Key, Weight: max(ec.Weight, 1), index: i}
		e.share.Store(100)
		e.key = keys[ec.Key]
		if e.key == nil {
			e.key = new(rest)
			if ec.Key != "" {
				keys[ec.Key] = e.key
			}
		}
		e.newBreaker(c.Breaker, onChange)
		p.endpoints = append(p.endpoints, e)
		p.byRegion[""] = append(p.byRegion[""], e)
		if e.Region != "" {
			p.byRegion[e.Region] = append(p.byRegion[e.Region], e)
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return p, nil
}

// maxWeight keeps sums of weights far from overflow.
const maxWeight = 1_000_000

// UnusableError says that no endpoint can be called now.
type UnusableError struct {
	Provider string
	Region   string
	// Until is when one may be usable again, as far as is known now. It is zero
	// where waiting is of no use: the provider has no endpoint in the region.
	Until time.Time
}

// Error says which provider and, where it is known, until when.
func (e *UnusableError) Error() string {
	if e.Until.IsZero() {
		return fmt.Sprintf("provider %s has no endpoint in region %q", e.Provider, e.Region)
	}
	return fmt.Sprintf("no endpoint of provider %s is usable before %s", e.Provider, e.Until.UTC().Format(time.RFC3339))
}

// Acquire returns the right to make one call to the model at an endpoint of the
// region, where "" means any. It does not wait: when no endpoint is usable it
// returns an *UnusableError. Every Lease must be given back with Done.
func (p *Pool) Acquire(affinity uint64, region, model string, now time.Time) (*Lease, error) {
	nanos := now.UnixNano()
	soonest := int64(math.MaxInt64)
	scratch, _ := p.scratch.Get().(*[]*Endpoint)
	usable := (*scratch)[:0]
	defer func() {
		*scratch = usable[:0]
		p.scratch.Put(scratch)
	}()
	for _, e := range p.byRegion[region] {
		at := max(e.usableAt(), p.denied.until(e.key, model, nanos))
		if at <= nanos {
			usable = append(usable, e)
		} else {
			soonest = min(soonest, at)
		}
	}
	for len(usable) > 0 {
		e := p.balancer.Pick(affinity, usable)
		if report, ok := e.admit(); ok {
			e.inFlight.Add(1)
			return &Lease{Endpoint: e, pool: p, model: model, generation: e.generation.Load(), report: report}, nil
		}
		soonest = min(soonest, nanos+int64(probeWait))
		i := slices.Index(usable, e)
		usable = slices.Delete(usable, i, i+1)
	}
	err := &UnusableError{Provider: p.provider, Region: region}
	if soonest != math.MaxInt64 {
		err.Until = time.Unix(0, soonest)
	}
	return nil, err
}

// Endpoints returns the endpoints in the order they were given.
func (p *Pool) Endpoints() []*Endpoint { return slices.Clone(p.endpoints) }

// InRegion returns the endpoints of a region, "" meaning all. The slice is the
// pool's own: nobody changes it.
func (p *Pool) InRegion(region string) []*Endpoint { return p.byRegion[region] }

// EndpointView is what is known of an endpoint at one moment.
type EndpointView struct {
	ID           string    `json:"id"`
	Provider     string    `json:"provider"`
	Region       string    `json:"region,omitempty"`
	Key          string    `json:"key,omitempty"`
	Weight       int       `json:"weight"`
	Share        int       `json:"share"` // percent of Weight in use
	State        string    `json:"state"` // Closed, Open or HalfOpen
	OpenUntil    time.Time `json:"open_until,omitzero"`
	RestingUntil time.Time `json:"resting_until,omitzero"` // a rate limit, a quota, a refused key
	InFlight     int64     `json:"in_flight"`
	Calls        int64     `json:"calls"`    // finished since the start
	Failures     int64     `json:"failures"` // those of them that count against its health
	LatencyMS    int64     `json:"latency_ms"`
}

// Snapshot returns what is known of every endpoint now.
func (p *Pool) Snapshot() []EndpointView {
	now := time.Now()
	views := make([]EndpointView, len(p.endpoints))
	for i, e := range p.endpoints {
		state := e.breaker.State() // also moves an open breaker on when its time is over
		v := EndpointView{
			ID: e.ID, Provider: e.Provider, Region: e.Region, Key: e.Key,
			Weight: e.Weight, Share: int(e.share.Load()), State: stateName(state),
			InFlight: e.inFlight.Load(), Calls: e.calls.Load(), Failures: e.failures.Load(),
			LatencyMS: time.Duration(e.latency.Load()).Milliseconds(),
		}
		if state == gobreaker.StateOpen {
			v.OpenUntil = time.Unix(0, e.openUntil.Load())
		}
		if at := max(e.own.until.Load(), e.key.until.Load()); at > now.UnixNano() {
			v.RestingUntil = time.Unix(0, at)
		}
		views[i] = v
	}
	return views
}

// denials are models that rest, with one key or (nil) with all. They are rare,
// so looking for one costs a single load while there is none.
type denials struct {
	latest atomic.Int64 // when the last of them is over, unix nanoseconds

	mu sync.Mutex
	at map[denial]int64
}

type denial struct {
	key   *rest
	model string
}

func (d *denials) until(key *rest, model string, now int64) int64 {
	if d.latest.Load() <= now {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(d.at[denial{key, model}], d.at[denial{nil, model}])
}

func (d *denials) add(key *rest, model string, until, now int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, at := range d.at {
		if at <= now {
			delete(d.at, k)
		}
	}
	if d.at == nil {
		d.at = make(map[denial]int64)
	}
	k := denial{key, model}
	d.at[k] = max(d.at[k], until)
	d.latest.Store(max(d.latest.Load(), until))
}

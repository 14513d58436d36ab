package balance

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/sony/gobreaker/v2"
)

// probeWait is after how long it is worth asking again where all probes of a
// half-open breaker are under way.
const probeWait = 250 * time.Millisecond

// Pool holds the endpoints of one provider. It is safe for concurrent use.
type Pool struct {
	provider string
	config   Config
	balancer Balancer
	onChange func(Change)
	draws    *Draws // of withheld calls
	members  atomic.Pointer[roster]
	scratch  sync.Pool // of *[]*Endpoint

	changing sync.Mutex  // held while the endpoints are replaced
	slots    []*Endpoint // by index; guarded by changing

	denied denials
}

// NewPool returns the pool of a provider's endpoints. onChange, which may be
// nil, is told when a breaker changes state; it must return at once and not
// call the pool.
func NewPool(provider string, c Config, b Balancer, endpoints []EndpointConfig, onChange func(Change)) (*Pool, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	p := &Pool{provider: provider, config: c, balancer: b, onChange: onChange, draws: NewDraws(c.Seed ^ xxhash.Sum64String(provider))}
	p.scratch.New = func() any {
		s := make([]*Endpoint, 0, len(endpoints))
		return &s
	}
	p.members.Store(newRoster(nil))
	if err := p.Replace(endpoints); err != nil {
		return nil, err
	}
	for _, e := range p.members.Load().all {
		e.ramp.from.Store(0) // where all begin at once, none has to wait for the others
		e.reweigh()
	}
	return p, nil
}

// UnusableError says that no endpoint can be called now.
type UnusableError struct {
	Provider string
	Region   string
	// Until is when one may be usable again, as far as is known now. It is zero
	// where waiting is of no use: the provider has no endpoint in the region.
	Until time.Time
	// Withheld says that there is an endpoint whose share kept this call away.
	Withheld bool
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
	return p.AcquireIf(affinity, region, model, now, nil)
}

// AcquireIf is Acquire among the endpoints that admit lets through. It is asked
// about an endpoint that would be called now, and returns the zero time for yes, or
// when to ask again; the next endpoint is tried then. A nil admit admits all.
func (p *Pool) AcquireIf(affinity uint64, region, model string, now time.Time, admit func(*Endpoint) time.Time) (*Lease, error) {
	lease, err := p.AcquireFree(affinity, region, model, now, admit)
	if unusable, ok := errors.AsType[*UnusableError](err); !ok || !unusable.Withheld {
		return lease, err
	}
	return p.stable(affinity, region, model, now, nil, admit)
}

// AcquireFree is AcquireIf without endpoints whose share keeps this call away. Where
// that is what is in the way the error says Withheld, and AcquireIf may find one:
// for a caller who knows other pools to ask first.
func (p *Pool) AcquireFree(affinity uint64, region, model string, now time.Time, admit func(*Endpoint) time.Time) (*Lease, error) {
	return p.stable(affinity, region, model, now, p.draws, admit)
}

// stable acquires from the pool as it is. draws decide which calls are withheld; nil:
// none is.
func (p *Pool) stable(affinity uint64, region, model string, now time.Time, draws *Draws, admit func(*Endpoint) time.Time) (*Lease, error) {
	for {
		members := p.members.Load()
		lease, err := p.acquire(members.in[region], affinity, region, model, now.UnixNano(), draws, admit)
		// Endpoints that were replaced meanwhile are no reason to give up.
		if err == nil || p.members.Load() == members {
			return lease, err
		}
	}
}

func (p *Pool) acquire(from []*Endpoint, affinity uint64, region, model string, nanos int64, draws *Draws, admit func(*Endpoint) time.Time) (*Lease, error) {
	withheld, soonest := false, int64(math.MaxInt64)
	scratch, _ := p.scratch.Get().(*[]*Endpoint)
	usable := (*scratch)[:0]
	defer func() {
		*scratch = usable[:0]
		p.scratch.Put(scratch)
	}()
	for _, e := range from {
		at := max(e.usableAt(), p.denied.until(e.key, model, nanos))
		switch {
		case at > nanos:
			soonest = min(soonest, at)
		case draws != nil && e.withheld(draws):
			withheld, soonest = true, min(soonest, nanos)
		default:
			usable = append(usable, e)
		}
	}
	for len(usable) > 0 {
		e := p.balancer.Pick(affinity, usable)
		if report, generation, ok := e.enter(); ok {
			later := time.Time{}
			if admit != nil {
				later = admit(e)
			}
			if later.IsZero() {
				return &Lease{Endpoint: e, pool: p, model: model, generation: generation, report: report}, nil
			}
			e.leave(report)
			soonest = min(soonest, later.UnixNano())
		} else {
			soonest = min(soonest, nanos+int64(probeWait))
		}
		i := slices.Index(usable, e)
		usable = slices.Delete(usable, i, i+1)
	}
	err := &UnusableError{Provider: p.provider, Region: region, Withheld: withheld}
	if soonest != math.MaxInt64 {
		err.Until = time.Unix(0, soonest)
	}
	return nil, err
}

// enter begins a call, if the breaker lets it through and the endpoint is still
// of the pool. The call counts as in flight before it is asked whether it is
// gone: whoever removes the endpoint marks it first and counts afterwards, so
// that one of the two sees the other.
func (e *Endpoint) enter() (report func(error), generation uint64, ok bool) {
	generation = e.generation.Load()
	report, ok = e.admit()
	if !ok {
		return nil, 0, false
	}
	e.inFlight.Add(1)
	if e.gone.Load() {
		e.leave(report)
		return nil, 0, false
	}
	return report, generation, true
}

// leave takes back enter for a call that is not made.
func (e *Endpoint) leave(report func(error)) {
	e.inFlight.Add(-1)
	if report != nil {
		report(errNeutral)
	}
}

// Endpoints returns the endpoints in the order they were given.
func (p *Pool) Endpoints() []*Endpoint { return slices.Clone(p.members.Load().all) }

// InRegion returns the endpoints of a region, "" meaning all. The slice is the
// pool's own: nobody changes it.
func (p *Pool) InRegion(region string) []*Endpoint { return p.members.Load().in[region] }

// Endpoint returns the endpoint of an id, or nil.
func (p *Pool) Endpoint(id string) *Endpoint { return p.members.Load().byID[id] }

// EndpointView is what is known of an endpoint at one moment.
type EndpointView struct {
	ID           string    `json:"id"`
	Provider     string    `json:"provider"`
	Address      string    `json:"address,omitempty"`
	Region       string    `json:"region,omitempty"`
	Zone         string    `json:"zone,omitempty"`
	Key          string    `json:"key,omitempty"`
	Priority     int       `json:"priority,omitempty"`
	Weight       int       `json:"weight"`
	Share        int       `json:"share"`           // percent of its calls that it is given
	Start        int       `json:"start,omitempty"` // percent of a slow start that is reached; 0: none under way
	State        string    `json:"state"`           // Closed, Open or HalfOpen
	OpenUntil    time.Time `json:"open_until,omitzero"`
	RestingUntil time.Time `json:"resting_until,omitzero"` // a rate limit, a quota, a refused key
	InFlight     int64     `json:"in_flight"`
	Calls        int64     `json:"calls"`    // finished since the start
	Failures     int64     `json:"failures"` // those of them that count against its health
	LatencyMS    int64     `json:"latency_ms"`
}

// Snapshot returns what is known of every endpoint now.
func (p *Pool) Snapshot() []EndpointView {
	now := time.Now().UnixNano()
	all := p.members.Load().all
	views := make([]EndpointView, len(all))
	for i, e := range all {
		state := gobreaker.State(e.state.Load())
		openUntil := e.openUntil.Load()
		if state == gobreaker.StateOpen && now >= openUntil {
			state = e.breaker.State() // moves it on, since its time is over
		}
		v := EndpointView{
			ID: e.ID, Provider: e.Provider, Address: e.Address, Region: e.Region, Zone: e.Zone, Key: e.Key, Priority: e.Priority,
			Weight: e.Weight(), Share: int(e.share.Load()), State: stateName(state),
			InFlight: e.inFlight.Load(), Calls: e.calls.Load(), Failures: e.failures.Load(),
			LatencyMS: time.Duration(e.measure.mean.Load()).Milliseconds(),
		}
		if e.ramp.on() {
			v.Start = int(e.ramp.percent(now))
		}
		if state == gobreaker.StateOpen {
			v.OpenUntil = time.Unix(0, openUntil)
		}
		if at := max(e.own.until.Load(), e.key.until.Load()); at > now {
			v.RestingUntil = time.Unix(0, at)
		}
		views[i] = v
	}
	return views
}

package balance

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// EndpointConfig describes an endpoint.
type EndpointConfig struct {
	ID       string `json:"id"`                 // unique within the pool; a label of metrics
	Address  string `json:"address,omitempty"`  // host:port or base URL, where discovery found one; not looked at here
	Region   string `json:"region,omitempty"`   // where it is, in the operator's words
	Zone     string `json:"zone,omitempty"`     // within the region
	Key      string `json:"key,omitempty"`      // name of the credential, never the credential; endpoints of one key rest together
	Weight   int    `json:"weight,omitempty"`   // share of calls relative to the others; 0 means 1
	Priority int    `json:"priority,omitempty"` // 0 is asked first; for balancers that spill over

	// Caller is what calls the endpoint, for whoever holds a Lease; it is not
	// looked at here.
	Caller any `json:"-"`
}

// Endpoint is one address of a provider with one credential. Make it with
// [NewPool]. It is safe for concurrent use; nobody changes the fields.
type Endpoint struct {
	// What every call looks at of every endpoint comes first, in one line of memory.
	inFlight   atomic.Int64
	live       atomic.Int64  // weight with remote; negative while it starts slowly
	lightness  atomic.Uint64 // 2^63 over live; 0 while it starts slowly
	hash       uint64
	index      int32
	share      atomic.Int32 // percent of its calls that it gets
	openUntil  atomic.Int64 // unix nanoseconds
	own        rest         // of this endpoint
	key        *rest        // shared by the endpoints of one key
	state      atomic.Int32 // a gobreaker.State; a mirror, so that looking at it takes no lock
	gone       atomic.Bool  // from the pool
	generation atomic.Uint64
	ramp       ramp

	ID       string
	Address  string
	Provider string
	Region   string
	Zone     string
	Key      string
	Priority int

	near     int          // 0: same zone, 1: same region, 2: elsewhere; 0 where there is no preference
	remote   int64        // percent of weight, for the distance
	caller   atomic.Value // of callerBox
	weighing sync.Mutex
	weight   atomic.Int64
	calls    atomic.Int64
	failures atomic.Int64
	measure  measure

	counting sync.Mutex // held by one call at a time that tells a closed breaker its outcome
	breaker  *gobreaker.TwoStepCircuitBreaker[struct{}]
	evidence *evidence
	prior    atomic.Uint64 // evidence that somebody else has, bits of a float64
	spare    atomic.Int64  // how much longer ordinary calls leave probing to Health, nanoseconds
}

// callerBox lets callers of different types follow each other in an atomic.Value.
type callerBox struct{ caller any }

// Index is the endpoint's place in its pool, from 0. It stays the same while the
// endpoint does, and is given to another one only after the last call ended.
func (e *Endpoint) Index() int { return int(e.index) }

// Caller returns the Caller of the endpoint's latest configuration.
func (e *Endpoint) Caller() any {
	box, _ := e.caller.Load().(callerBox)
	return box.caller
}

// InFlight returns how many calls are under way.
func (e *Endpoint) InFlight() int64 { return e.inFlight.Load() }

// Weight returns the configured weight.
func (e *Endpoint) Weight() int { return int(e.weight.Load()) }

// Distance is 0 for an endpoint in the zone of this process, 1 for one in its
// region, and 2 elsewhere. It is 0 where the configuration names no locality.
func (e *Endpoint) Distance() int { return e.near }

// LiveWeight returns a hundred times Weight, lowered by distance and while the
// endpoint starts slowly. It is never below 1.
func (e *Endpoint) LiveWeight() int64 {
	if w := e.live.Load(); w > 0 {
		return w
	}
	return e.startingWeight()
}

// Lightness returns 2^63 over LiveWeight, rounded down, for those who would divide
// by it; 0 while the endpoint starts slowly.
func (e *Endpoint) Lightness() uint64 { return e.lightness.Load() }

// startingWeight is apart from LiveWeight so that the latter is inlined.
func (e *Endpoint) startingWeight() int64 {
	percent := e.ramp.percent(time.Now().UnixNano())
	if percent == 100 {
		e.reweigh()
	}
	return max(abs(e.live.Load())*percent/100, 1)
}

func abs(n int64) int64 { return max(n, -n) }

// startSlowly begins a slow start.
func (e *Endpoint) startSlowly(now time.Time) {
	e.ramp.start(now.UnixNano())
	e.reweigh()
}

// FullWeight returns what LiveWeight is without slow start.
func (e *Endpoint) FullWeight() int64 { return max(e.weight.Load()*e.remote, 1) }

// Hash scatters endpoints evenly. It depends on the ID alone, so that all workers
// agree on it.
func (e *Endpoint) Hash() uint64 { return e.hash }

// SetShare sets what percent of the calls that e would get it is given, for
// whoever predicts that it is about to fail. The others go to other endpoints, and
// come back to e where no other can take them. Values are held within 1 and 100,
// so that an endpoint keeps giving evidence of its health.
//
// It is not a matter of weights: a balancer that prefers idle or fast endpoints
// would take no notice while there is little to do, or never ask e at all.
func (e *Endpoint) SetShare(percent int) {
	e.share.Store(int32(min(max(percent, 1), 100)))
}

// Share returns what percent of its calls e is given.
func (e *Endpoint) Share() int { return int(e.share.Load()) }

// withheld draws whether a call goes elsewhere because of e's share.
func (e *Endpoint) withheld(draws *Draws) bool {
	share := e.share.Load()
	return share < 100 && int32(draws.Next()%100) >= share
}

// Suspect tells e's breaker how likely somebody thinks e is to fail. The odds, over
// those of an endpoint that is well, count as evidence, up to half of what opens
// the breaker: a suspicion makes it open sooner and never by itself.
func (e *Endpoint) Suspect(probability float64) {
	e.prior.Store(math.Float64bits(e.evidence.odds(probability)))
}

// SetWeight changes the configured weight. Values are held within 1 and 1,000,000.
func (e *Endpoint) SetWeight(weight int) {
	e.weight.Store(int64(min(max(weight, 1), maxWeight)))
	e.reweigh()
}

// reweigh computes the live weight anew. Changes take turns, so that the last one
// computes with all of them.
func (e *Endpoint) reweigh() {
	e.weighing.Lock()
	defer e.weighing.Unlock()
	w := max(e.weight.Load()*e.remote, 1)
	if e.ramp.on() {
		e.lightness.Store(0)
		e.live.Store(-w)
		return
	}
	e.live.Store(w)
	e.lightness.Store(1 << 63 / uint64(w))
}

// usableAt returns the time from which the endpoint may be asked, in unix
// nanoseconds; a time not after now means now.
func (e *Endpoint) usableAt() int64 {
	at := max(e.own.until.Load(), e.key.until.Load())
	if gobreaker.State(e.state.Load()) != gobreaker.StateClosed {
		at = max(at, e.openUntil.Load()+e.spare.Load())
	}
	return at
}

// rest is a time before which something is left alone.
type rest struct{ until atomic.Int64 } // unix nanoseconds

// extend never shortens a rest: two calls may learn of it at once.
func (r *rest) extend(until int64) {
	for {
		old := r.until.Load()
		if until <= old || r.until.CompareAndSwap(old, until) {
			return
		}
	}
}

// ramp is a slow start: a share that grows evenly.
type ramp struct {
	from   atomic.Int64 // unix nanoseconds; 0: not ramping
	window int64        // nanoseconds
	floor  int64        // percent
}

func (r *ramp) start(now int64) {
	if r.window > 0 {
		r.from.Store(now)
	}
}

func (r *ramp) on() bool { return r.from.Load() != 0 }

// percent returns the share now, and ends the ramp when it is whole.
func (r *ramp) percent(now int64) int64 {
	from := r.from.Load()
	if from == 0 {
		return 100
	}
	if now-from >= r.window {
		r.from.CompareAndSwap(from, 0)
		return 100
	}
	// In milliseconds, so that the product fits for windows of years.
	grown := (now - from) / 1e6 * 100 / max(r.window/1e6, 1)
	return min(max(r.floor, grown), 100)
}

// SharesKey reports whether e and other rest together when their key must.
func (e *Endpoint) SharesKey(other *Endpoint) bool { return e.key == other.key }

// Usable reports whether nothing is known that speaks against calling e now.
func (e *Endpoint) Usable(now time.Time) bool { return e.usableAt() <= now.UnixNano() }

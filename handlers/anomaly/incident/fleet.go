package incident

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sira-ai/sira/handlers/anomaly/endpoint"
	"github.com/sira-ai/sira/handlers/anomaly/predict"
)

const tickSeconds = int(endpoint.Tick / time.Second)

// fleet is a model's endpoints with the traffic that one policy sends to them.
type fleet struct {
	plan    Plan
	random  *rand.Rand
	model   *predict.Model  // nil while training
	policy  *predict.Policy // nil: weights stay as they are
	nodes   []node
	pending [64][]finished // by the second in which they end
	current *Incident
	now     int
	counts  Counts
}

// node is an endpoint as the gateway knows it.
type node struct {
	state       endpoint.State
	stats       endpoint.Stats
	features    endpoint.Features
	probability float64
	weight      float64
	breaker     breaker
	restUntil   int
	troubled    bool
	failedAt    int
}

// finished is a call with its end.
type finished struct {
	node  int
	begun int
	call  endpoint.Call
	first bool // attempt
	bad   bool // for the requester
}

// Counts are what the users of a fleet got.
type Counts struct {
	Requests  int
	Failed    int // first attempts that failed: the user waits for another, or sees it
	Lost      int // requests whose second attempt, at another endpoint, failed too
	Slow      int // good answers whose first token took more than three times the usual
	NoAnswers int // requests that found no usable endpoint

	// The same while an incident that ends in failure goes on.
	TroubledRequests int
	TroubledFailed   int
	TroubledLost     int
}

func newFleet(p Plan, m *predict.Model, policy *predict.Policy) *fleet {
	f := &fleet{plan: p, random: rand.New(rand.NewPCG(p.Seed, 2)), model: m, policy: policy, nodes: make([]node, p.Endpoints)}
	for i := range f.nodes {
		f.nodes[i].weight = 1
	}
	return f
}

// second plays one second: what ended, what began.
func (f *fleet) second(t int, in *Incident) {
	f.current, f.now = in, t
	due := &f.pending[t%len(f.pending)]
	for _, c := range *due {
		f.end(t, c)
	}
	*due = (*due)[:0]
	for range f.poisson(f.plan.Rate * f.plan.load(t, in)) {
		f.counts.Requests++
		if f.trouble() {
			f.counts.TroubledRequests++
		}
		e := f.pick(t, -1)
		if e < 0 {
			f.counts.NoAnswers++
			f.failed()
			f.lost()
			continue
		}
		f.begin(t, e, true)
	}
}

// begin makes a call and puts its end where it belongs. A failed first attempt is
// followed by one at another endpoint.
func (f *fleet) begin(t, e int, first bool) {
	h := f.plan.health(e, t, f.current)
	c := finished{node: e, begun: t, first: first}
	c.call.FirstToken = f.lognormal(h.firstToken, 0.35)
	c.call.Gap = f.lognormal(h.gap, 0.3)
	c.call.Latency = c.call.FirstToken + f.lognormal(40*h.gap, 0.4)
	x := f.random.Float64()
	took := c.call.Latency
	switch {
	case x < h.fault:
		c.call.Outcome = endpoint.Fault
		took = f.lognormal(0.8, 0.8)
		if f.random.Float64() < 0.3 {
			took = 30 * time.Second // a timeout
		}
	case x < h.fault+h.limited:
		c.call.Outcome, took = endpoint.Limited, 50*time.Millisecond
	case x < h.fault+h.limited+h.overloaded:
		c.call.Outcome, took = endpoint.Overloaded, 200*time.Millisecond
	case x < h.fault+h.limited+h.overloaded+h.cut:
		c.call.Outcome = endpoint.Truncated
	}
	c.bad = c.call.Outcome != endpoint.OK
	if first && !c.bad && c.call.FirstToken.Seconds() > 3*(0.35+0.05*float64(e%4)) {
		f.counts.Slow++
	}
	at := t + min(1+int(took.Seconds()), len(f.pending)-1)
	f.pending[at%len(f.pending)] = append(f.pending[at%len(f.pending)], c)
}

func (f *fleet) end(t int, c finished) {
	n := &f.nodes[c.node]
	n.stats.Observe(c.call)
	switch c.call.Outcome {
	case endpoint.Limited:
		n.restUntil = max(n.restUntil, t+1) // balance rests a key for a second
		n.breaker.release()
	default:
		n.breaker.count(t, c.begun, c.bad)
	}
	if !c.bad {
		return
	}
	if !c.first {
		f.lost()
		return
	}
	f.failed()
	if e := f.pick(t, c.node); e >= 0 {
		f.begin(t, e, false)
	} else {
		f.lost()
	}
}

func (f *fleet) failed() {
	f.counts.Failed++
	if f.trouble() {
		f.counts.TroubledFailed++
	}
}

func (f *fleet) lost() {
	f.counts.Lost++
	if f.trouble() {
		f.counts.TroubledLost++
	}
}

// trouble reports whether an incident that ends in failure goes on.
func (f *fleet) trouble() bool {
	return f.current != nil && f.current.Kind.Fails() && f.now >= f.current.Begin
}

// pick returns an endpoint by weight among the usable ones, -1 for none.
func (f *fleet) pick(t, but int) int {
	total := 0.0
	for i := range f.nodes {
		if i != but && f.nodes[i].usable(t) {
			total += f.nodes[i].weight
		}
	}
	x := f.random.Float64() * total
	last := -1
	for i := range f.nodes {
		if i != but && f.nodes[i].usable(t) {
			last = i
			if x -= f.nodes[i].weight; x < 0 {
				break
			}
		}
	}
	if last >= 0 {
		f.nodes[last].breaker.admit()
	}
	return last
}

func (n *node) usable(t int) bool { return t >= n.restUntil && n.breaker.usable(t) }

// tick looks at all endpoints and lets weights follow.
func (f *fleet) tick(t int) []predict.Shift {
	probabilities := make([]float64, len(f.nodes))
	for i := range f.nodes {
		n := &f.nodes[i]
		// Usual is what is seen while nothing seems wrong.
		near := f.neighbours(i)
		n.features = n.state.Tick(&n.stats, endpoint.Around{
			Neighbours: near, Slower: f.slower(i), Healthy: n.probability < 0.1 && near == 0,
		})
		n.stats = endpoint.Stats{}
		n.troubled = n.features[endpoint.FaultsNow]+n.features[endpoint.OverloadedNow] > 2.3
		if f.model != nil {
			n.probability = f.model.Probability(&n.features, n.state.Bad())
		} else if n.troubled {
			n.probability = 1
		} else {
			n.probability = 0
		}
		probabilities[i] = n.probability
	}
	if f.policy == nil {
		return nil
	}
	shifts := f.policy.Step(probabilities)
	for i := range f.nodes {
		f.nodes[i].weight = float64(f.policy.Share(i)) / 100
	}
	return shifts
}

// slower returns by how much the median of the other endpoints is slower.
func (f *fleet) slower(e int) float64 {
	all := make([]float64, 0, 16)
	for i := range f.nodes {
		if i != e {
			all = append(all, f.nodes[i].state.Slower())
		}
	}
	slices.Sort(all)
	return Median(all)
}

// neighbours returns the share of the region's other endpoints that fail.
func (f *fleet) neighbours(e int) float64 {
	others, troubled := 0.0, 0.0
	for i := e % f.plan.Regions; i < len(f.nodes); i += f.plan.Regions {
		if i == e {
			continue
		}
		others++
		if f.nodes[i].troubled || !f.nodes[i].breaker.closed() {
			troubled++
		}
	}
	if others == 0 {
		return 0
	}
	return troubled / others
}

func (f *fleet) lognormal(median, sigma float64) time.Duration {
	return time.Duration(median * math.Exp(sigma*f.random.NormFloat64()) * float64(time.Second))
}

func (f *fleet) poisson(mean float64) int {
	limit, k, p := math.Exp(-mean), 0, 1.0
	for {
		if p *= f.random.Float64(); p <= limit {
			return k
		}
		k++
	}
}

// breaker is the rule of handlers/balance: five failures in a row, or half of ten
// within 30 s, open it for 10 s; then two probes must succeed.
type breaker struct {
	inRow     int
	window    [6]struct{ good, bad int } // five seconds each
	slot      int
	openUntil int
	half      bool
	probes    int // under way or succeeded
	good      int
	changed   int // calls that began before do not count
}

func (b *breaker) closed() bool { return b.openUntil == 0 && !b.half }

func (b *breaker) usable(t int) bool {
	if b.openUntil > 0 && t >= b.openUntil {
		b.openUntil, b.half, b.probes, b.good, b.changed = 0, true, 0, 0, t
	}
	return b.openUntil == 0 && (!b.half || b.probes < 2)
}

func (b *breaker) admit() {
	if b.half {
		b.probes++
	}
}

// release takes back a probe that told nothing of health.
func (b *breaker) release() {
	if b.half {
		b.probes = max(0, b.probes-1)
	}
}

func (b *breaker) count(t, begun int, bad bool) {
	if begun < b.changed || b.openUntil > 0 {
		return
	}
	if b.half {
		if bad {
			b.open(t)
		} else if b.good++; b.good >= 2 {
			*b = breaker{slot: t / 5, changed: t}
		}
		return
	}
	for ; b.slot < t/5; b.slot++ {
		if t/5-b.slot > len(b.window) {
			b.slot = t/5 - len(b.window)
		}
		b.window[(b.slot+1)%len(b.window)] = struct{ good, bad int }{}
	}
	w := &b.window[b.slot%len(b.window)]
	if bad {
		b.inRow++
		w.bad++
	} else {
		b.inRow = 0
		w.good++
	}
	good, failed := 0, 0
	for _, w := range b.window {
		good, failed = good+w.good, failed+w.bad
	}
	if b.inRow >= 5 || good+failed >= 10 && failed >= good {
		b.open(t)
	}
}

func (b *breaker) open(t int) { *b = breaker{openUntil: t + 10, slot: t / 5, changed: t} }

// Package replay compares routing policies on a trace of requests without calling
// anybody. Time is that of the trace, and all luck is drawn from a seed, the same
// for every policy: a run can be repeated, and policies differ by their choices
// alone.
package replay

import (
	"container/heap"
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// World says how targets answer.
type World struct {
	Targets  []Behaviour // the first whose selector fits counts
	Degraded []Degradation
	Attempts int       // targets that a request is tried at before it fails; 3
	Start    time.Time // of the trace; prices of this time apply
	Seed     uint64
}

// Behaviour is how a target answers when it is well.
type Behaviour struct {
	Target     routing.Selector
	FirstToken time.Duration // median until the answer begins, with the input of the trace's median
	PerToken   time.Duration // of the answer
	Failures   float64       // share of calls that fail, 0 to 1
	Spread     float64       // standard deviation of the logarithm of latencies; 0.3 where 0
}

// Degradation makes a target worse for a part of the trace.
type Degradation struct {
	Target   routing.Selector
	From, To float64 // of the trace's time, 0 to 1
	Slower   float64 // times; below 1 counts as 1
	Failures float64 // added
}

// Outcome is how a policy did.
type Outcome struct {
	Policy   string                     `json:"policy"`
	Requests int                        `json:"requests"`
	Failed   int                        `json:"failed"`
	Fallback int                        `json:"fallback"` // answered, but not by the first target
	P50      time.Duration              `json:"p50_ns"`   // until an answer came, failed calls included
	P99      time.Duration              `json:"p99_ns"`
	Cost     map[string]decimal.Decimal `json:"cost"`     // by currency
	Unpriced int                        `json:"unpriced"` // answers without a price
	First    map[string]int             `json:"first"`    // requests by the first target, as provider/model
}

// failureTakes is how long a call that fails takes, in its latency to the first
// token.
const failureTakes = 1.0

// Run sends the arrivals through a router, which must have been built with
// measured as its health. Requests without a model ask for model.
func Run(policy string, router *routing.Router, measured *routing.Measured, prices routing.Prices, w World, model string, arrivals []Arrival) (*Outcome, error) {
	r := &run{
		world: w, prices: prices, learn: router.Learn(measured), length: arrivals[len(arrivals)-1].At, text: strings.Repeat("word ", 4096),
		out: &Outcome{Policy: policy, Cost: make(map[string]decimal.Decimal), First: make(map[string]int)},
	}
	if r.world.Attempts <= 0 {
		r.world.Attempts = 3
	}
	ctx := context.Background()
	for i := range arrivals {
		at := w.Start.Add(arrivals[i].At)
		if err := r.settle(ctx, at); err != nil {
			return nil, err
		}
		job := r.job(i, &arrivals[i], model, at)
		r.out.Requests++
		if err := router.Handle(ctx, job); err != nil {
			r.out.Failed++
			continue
		}
		r.call(job, &arrivals[i], uint64(i))
	}
	slices.Sort(r.latencies)
	r.out.P50, r.out.P99 = quantile(r.latencies, 0.50), quantile(r.latencies, 0.99)
	return r.out, nil
}

type run struct {
	world     World
	prices    routing.Prices
	learn     pipeline.Stage
	length    time.Duration
	text      string
	pending   settling
	latencies []time.Duration
	out       *Outcome
}

func (r *run) job(i int, a *Arrival, model string, at time.Time) *pipeline.Job {
	if a.Model != "" {
		model = a.Model
	}
	tenant := a.Tenant
	if tenant == "" {
		tenant = "trace"
	}
	m := schemas.Message{Role: schemas.RoleUser}
	for left := 4 * a.Input; left > 0; left -= len(r.text) {
		m.Parts = append(m.Parts, schemas.Part{Kind: schemas.PartText, Text: r.text[:min(left, len(r.text))]})
	}
	output := int64(max(a.Output, 1))
	return &pipeline.Job{
		Request: &schemas.Request{
			ID: "replay-" + strconv.Itoa(i), Tenant: tenant, Model: model, Messages: []schemas.Message{m}, MaxTokens: &output,
			Labels: map[string]string{"user": "user-" + strconv.Itoa(i%1000)},
		},
		Started: at, Origin: pipeline.Origin{Lane: "standard"},
	}
}

// call tries the job's targets and books what came of it.
func (r *run) call(job *pipeline.Job, a *Arrival, n uint64) {
	first := job.Targets[0]
	r.out.First[first.Provider+"/"+first.Model]++
	var took time.Duration
	answered := false
	for try, target := range job.Targets[:min(len(job.Targets), r.world.Attempts)] {
		one := r.attempt(&target, a, job.Started.Add(took), n)
		one.Number = try + 1
		job.Attempts = append(job.Attempts, one)
		took += time.Duration(one.LatencyMS) * time.Millisecond
		if one.Outcome != schemas.OK {
			continue
		}
		answered = true
		if try > 0 {
			r.out.Fallback++
		}
		r.pay(target, a, job.Started)
		break
	}
	if !answered {
		r.out.Failed++
	}
	r.latencies = append(r.latencies, took)
	job.Completed = job.Started.Add(took)
	heap.Push(&r.pending, job)
}

// attempt draws how a call goes. The draw depends on the request and the target
// alone, so that the same call goes the same way under every policy.
func (r *run) attempt(t *schemas.Target, a *Arrival, at time.Time, n uint64) schemas.Attempt {
	b := r.behaviour(t)
	slower, failures := 1.0, b.Failures
	place := float64(at.Sub(r.world.Start)) / float64(max(r.length, 1))
	for _, d := range r.world.Degraded {
		if d.Target.Match(t) && place >= d.From && place < d.To {
			slower *= max(d.Slower, 1)
			failures += d.Failures
		}
	}
	h := routing.Mix(r.world.Seed ^ routing.Mix(n^xxhash.Sum64String(t.Provider+"\x00"+t.Model+"\x00"+t.Region)))
	luck := math.Exp(b.Spread*normal(h)) * slower
	out := schemas.Attempt{Target: *t, Outcome: schemas.OK, StartedAt: at}
	begin := time.Duration(float64(b.FirstToken) * luck)
	out.FirstTokenMS = begin.Milliseconds()
	out.LatencyMS = (begin + time.Duration(float64(b.PerToken)*luck*float64(a.Output))).Milliseconds()
	if routing.Uniform(routing.Mix(h^3)) < failures {
		out.Outcome, out.FirstTokenMS = schemas.Unavailable, 0
		out.LatencyMS = time.Duration(failureTakes * float64(begin)).Milliseconds()
	}
	return out
}

func (r *run) behaviour(t *schemas.Target) Behaviour {
	b := Behaviour{FirstToken: 500 * time.Millisecond, PerToken: 10 * time.Millisecond, Failures: 0.005}
	for i := range r.world.Targets {
		if r.world.Targets[i].Target.Match(t) {
			b = r.world.Targets[i]
			break
		}
	}
	if b.Spread == 0 {
		b.Spread = 0.3
	}
	return b
}

// normal draws from the normal distribution (Box and Muller 1958).
func normal(h uint64) float64 {
	return math.Sqrt(-2*math.Log(routing.Uniform(routing.Mix(h^1)))) * math.Cos(2*math.Pi*routing.Uniform(routing.Mix(h^2)))
}

func (r *run) pay(t schemas.Target, a *Arrival, at time.Time) {
	if r.prices == nil {
		r.out.Unpriced++
		return
	}
	amount, currency, _, known := r.prices.Price(t, at, schemas.Usage{InputTokens: int64(a.Input), OutputTokens: int64(a.Output)})
	if !known {
		r.out.Unpriced++
		return
	}
	r.out.Cost[currency] = r.out.Cost[currency].Add(amount)
}

// settle lets the router learn from the requests that were completed before now.
func (r *run) settle(ctx context.Context, now time.Time) error {
	for len(r.pending) > 0 && r.pending[0].Completed.Before(now) {
		job, _ := heap.Pop(&r.pending).(*pipeline.Job)
		if err := r.learn.Handle(ctx, job); err != nil {
			return err
		}
	}
	return nil
}

// quantile is the nearest rank of sorted values.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(int(math.Ceil(q*float64(len(sorted))))-1, 0)]
}

// settling is a heap of jobs by their completion.
type settling []*pipeline.Job

func (s settling) Len() int           { return len(s) }
func (s settling) Less(i, j int) bool { return s[i].Completed.Before(s[j].Completed) }
func (s settling) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }

// Push implements heap.Interface.
func (s *settling) Push(x any) {
	if j, ok := x.(*pipeline.Job); ok {
		*s = append(*s, j)
	}
}

// Pop implements heap.Interface.
func (s *settling) Pop() any {
	old := *s
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*s = old[:len(old)-1]
	return last
}

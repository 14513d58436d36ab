// Package invoke gets an answer: it asks the targets of a job in order until one
// of them answers, within the limits of time, attempts and retries.
//
// What is done about a failure is decided by its code alone
// ([schemas.Code.Policy]): whether the same target is asked again, whether the
// next one is, and what must rest meanwhile (package balance). A failed attempt
// is never an answer, and neither is a stream that broke off.
package invoke

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// Reasons for an attempt.
const (
	ReasonFirst    = "first"    // the first call of this round
	ReasonRetry    = "retry"    // the same target once more
	ReasonFallback = "fallback" // another target than the call before
	ReasonHedge    = "hedge"    // beside a call that takes long; the first of the two that answers counts
)

// Pool is a pool of endpoints that can be called.
type Pool struct {
	*balance.Pool
	// Continues reports whether a model goes on from an answer that the request
	// begins; nil: none does. It is set before the pool is used.
	Continues func(model string) bool

	kind string
}

// NewPool returns the pool of the provider of the given name in the
// configuration. kind is recorded with attempts. The Caller of each endpoint is a
// [provider.Provider]. onChange is as in [balance.NewPool].
func NewPool(name, kind string, c balance.Config, b balance.Balancer, endpoints []balance.EndpointConfig, onChange func(balance.Change)) (*Pool, error) {
	if err := callable(name, endpoints); err != nil {
		return nil, err
	}
	pool, err := balance.NewPool(name, c, b, endpoints, onChange)
	if err != nil {
		return nil, err
	}
	return &Pool{Pool: pool, kind: kind}, nil
}

// Replace is [balance.Pool.Replace] for endpoints that can be called. Calls under
// way go on with what they began with.
func (p *Pool) Replace(endpoints []balance.EndpointConfig) error {
	if err := callable(p.kind, endpoints); err != nil {
		return err
	}
	return p.Pool.Replace(endpoints)
}

func callable(name string, endpoints []balance.EndpointConfig) error {
	for _, e := range endpoints {
		if _, ok := e.Caller.(provider.Provider); !ok {
			return fmt.Errorf("endpoint %s of provider %s has nothing that calls it", e.ID, name)
		}
	}
	return nil
}

// caller returns what calls an endpoint, as it was set last.
func caller(e *balance.Endpoint) provider.Provider {
	p, _ := e.Caller().(provider.Provider) // NewPool and Replace take nothing else
	return p
}

// Stage asks the targets of a job.
type Stage struct {
	// Marks, which may be set before use, keeps a batch from being begun twice.
	Marks Marks
	// Fetch, which may be set before use, gets media for vendors that take no URLs.
	Fetch provider.Fetch
	// Tracer, which may be set before use, follows every call.
	Tracer Tracer
	// Publish, which may be set before use, gives media that are too large for vendors'
	// requests an address.
	Publish provider.Publisher

	config Config
	pools  map[string]*Pool
	limits Limits
	budget *budget
	jitter *jitter
	hedges *hedges // nil: none are made
}

var _ pipeline.Stage = (*Stage)(nil)

// New returns the stage. pools maps the names of providers, as targets have
// them, to their endpoints; it is not changed afterwards.
func New(c Config, pools map[string]*Pool, limits Limits) (*Stage, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	for name, p := range pools {
		if p == nil {
			return nil, fmt.Errorf("provider %s has no pool", name)
		}
	}
	s := &Stage{config: c, pools: pools, limits: limits, budget: newBudget(c.RetryBudget), jitter: newJitter(c.Seed)}
	if c.Hedge.After != "" {
		s.hedges = newHedges(c.Hedge)
	}
	return s, nil
}

// Handle asks job.Targets in order and leaves the answer on the job. Every call
// is added to job.Attempts, after those of earlier rounds.
//
// The pieces of a streamed answer go to job.Emit with the number of their
// attempt, from Seq 0 each. An attempt that breaks off after output is closed by
// a chunk of type error; the next begins anew, or says again what it goes on from
// (Config.Continue), and readers drop what they have of the earlier one. One chunk of type end closes the round, with the failure
// if there is one. A job that is cut off by ctx has no end: it is given back and
// streams again elsewhere.
//
// A request that is over a limit waits its turn until its deadline; one that can't
// have it by then fails with rate_limited and says when to come back.
//
// A vendor that does the work in its own time leaves job.Pending and job.Parked;
// the round that follows looks how it stands, and cancels it at the deadline and when
// the request is cancelled.
//
// A request that is cancelled meanwhile fails with cancelled. A call that was cut off
// for that counts with its input, if the vendor has not said what it bills.
//
// When there is no answer the returned *schemas.Failure is the most useful of
// those that came up: one that a later round may cure before one that it will
// not, of the former the one with the shortest RetryAfter, of the latter one
// that blames the request before one that blames a target, and among equals the
// last. A deadline that passes gives expired when no call was ever made, and
// timeout otherwise. When ctx is cancelled its cause is returned, not a Failure.
//
// A request that wants to be part of a batch leaves with job.Collect and is not asked
// for here; see [Stage.Batch].
func (s *Stage) Handle(ctx context.Context, job *pipeline.Job) error {
	if job.Request.Mode == schemas.ModeBatch && job.Pending == nil {
		return s.collect(job)
	}
	if d, ok := ctx.Deadline(); !ok || d.After(job.Deadline) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, job.Deadline)
		defer cancel()
	}
	r := newRound(s, job)
	failure, err := r.run(ctx)
	if err != nil {
		return err
	}
	if job.Parked == 0 {
		r.end(failure)
	}
	if failure != nil {
		return failure
	}
	return nil
}

// affinity keeps the requests of one conversation together.
func affinity(req *schemas.Request) uint64 {
	if req.ConversationID == "" {
		return 0
	}
	return xxhash.Sum64String(req.ConversationID)
}

// stopped reports how ctx ended: the job's deadline and its cancellation are the job's
// failure, anything else gives the job back.
func stopped(ctx context.Context, job *pipeline.Job) (*schemas.Failure, error) {
	if job.Cancelled() {
		return schemas.Fail(schemas.Cancelled, "the request was cancelled", nil), nil
	}
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) || time.Now().Before(job.Deadline) {
		return nil, context.Cause(ctx)
	}
	if len(job.Attempts) == 0 {
		return schemas.Fail(schemas.Expired, "the deadline passed before a provider could be called", nil), nil
	}
	return schemas.Fail(schemas.Timeout, "the deadline passed before a provider answered", nil), nil
}

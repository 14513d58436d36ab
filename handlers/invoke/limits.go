package invoke

import (
	"context"
	"errors"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/limit"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// Limits bound what is asked. The zero value bounds nothing.
type Limits struct {
	*limit.Limiter
	// Priority is that of a lane's requests while they wait; the higher goes first.
	Priority map[string]int
	// Queued, where it is not nil, is told where a request stands that has to wait.
	Queued func(limit.Place)
}

func (l *Limits) queued(p limit.Place) {
	if l.Queued != nil {
		l.Queued(p)
	}
}

// admit waits until the limits of the tenant and of the requested model let the
// request in. done gives the admission back.
func (r *round) admit(ctx context.Context) (done func(), failure *schemas.Failure, err error) {
	if !r.limited {
		return func() {}, nil, nil
	}
	g, err := r.limits.Wait(ctx, r.ask(limit.Subject{Tenant: r.job.Request.Tenant, Model: r.job.Request.Model}), r.limits.queued)
	if refusal, ok := errors.AsType[*limit.Refusal](err); ok {
		return nil, overLimit(refusal), nil
	}
	if err != nil {
		return nil, nil, err
	}
	before := len(r.job.Attempts)
	return func() {
		var o limit.Outcome
		for _, a := range r.job.Attempts[before:] {
			o.Tokens += tokensOf(&a.Usage)
		}
		o.Unsent = len(r.job.Attempts) == before && r.job.Pending == nil
		g.Done(o)
	}, nil, nil
}

func (r *round) ask(s limit.Subject) limit.Ask {
	return limit.Ask{Subject: s, Tokens: r.input + r.output, Priority: r.limits.Priority[r.job.Origin.Lane], Deadline: r.job.Deadline}
}

// subject names what a call at an endpoint counts for. Keys and endpoints are
// those of their provider.
func subject(provider string, e *balance.Endpoint, model string) limit.Subject {
	s := limit.Subject{Endpoint: provider + "/" + e.ID, Upstream: model}
	if e.Key != "" {
		s.Key = provider + "/" + e.Key
	}
	return s
}

// overLimit is the failure of a request that can't be admitted before its
// deadline, or for which there is no place to wait.
func overLimit(refusal *limit.Refusal) *schemas.Failure {
	f := schemas.Fail(schemas.RateLimited, "over a limit of the gateway: "+refusal.What+" of a "+string(refusal.Scope), refusal)
	f.Phase, f.VendorCode = schemas.PhaseLocal, "gateway_limit"
	f.RetryAfterMS = max(refusal.ETA.Milliseconds(), 1)
	return f
}

// blocked is a call that only a limit is in the way of.
type blocked struct {
	index    int // of the target
	endpoint *balance.Endpoint
	ask      limit.Ask
	until    time.Time
}

// unknownWait stands for an ETA that nobody knows: that of a place among calls
// under way.
const unknownWait = time.Second

// gate returns what lets a call through to an endpoint of target i, and where the
// admission is left. A refusal is kept if it is the one that ends first.
func (r *round) gate(i int, now time.Time, grant **limit.Grant) func(*balance.Endpoint) time.Time {
	if !r.limited {
		return nil
	}
	t := &r.job.Targets[i]
	return func(e *balance.Endpoint) time.Time {
		ask := r.ask(subject(t.Provider, e, t.Model))
		g, err := r.limits.Try(ask)
		if err == nil {
			*grant = g
			return time.Time{}
		}
		until := now.Add(unknownWait)
		if refusal, ok := errors.AsType[*limit.Refusal](err); ok && refusal.ETA > 0 {
			until = now.Add(refusal.ETA)
		}
		if r.blocked == nil || until.Before(r.blocked.until) {
			r.blocked = &blocked{i, e, ask, until}
		}
		return until
	}
}

// queue waits for the turn of the call that is blocked, and returns the right to
// make it; nil where the endpoint is gone or rests by now.
func (r *round) queue(ctx context.Context, b *blocked) (*ticket, *schemas.Failure, error) {
	g, err := r.limits.Wait(ctx, b.ask, r.limits.queued)
	if refusal, ok := errors.AsType[*limit.Refusal](err); ok {
		return nil, overLimit(refusal), nil
	}
	if err != nil {
		return nil, nil, err
	}
	t, now := &r.job.Targets[b.index], time.Now()
	lease, err := r.pools[t.Provider].AcquireIf(r.affinity, t.Region, t.Model, now, func(e *balance.Endpoint) time.Time {
		if e == b.endpoint {
			return time.Time{}
		}
		return now.Add(time.Millisecond)
	})
	if err != nil {
		g.Done(limit.Outcome{Unsent: true})
		return nil, nil, nil //nolint:nilerr // the round looks at all targets again
	}
	return &ticket{index: b.index, lease: lease, grant: g}, nil, nil
}

// ticket is the right to make one call.
type ticket struct {
	index int // of the target
	lease *balance.Lease
	grant *limit.Grant // nil: there are no limits
}

// done gives the right back. blame is what the endpoint is told, failure what came
// of the call.
func (t *ticket) done(blame, failure *schemas.Failure, res *schemas.Response, took time.Duration) {
	t.lease.Done(blame, took)
	if t.grant == nil {
		return
	}
	o := limit.Outcome{Latency: took}
	switch {
	case failure == nil && res != nil:
		o.Tokens = tokensOf(&res.Usage)
	case failure != nil:
		o.Latency = 0
		o.Overloaded = failure.Code == schemas.RateLimited || failure.Code == schemas.Overloaded || failure.Code == schemas.Unavailable || failure.Code == schemas.Timeout
		o.Unsent = failure.Phase == schemas.PhaseLocal || failure.Phase == schemas.PhaseConnect
		if failure.Usage != nil {
			o.Tokens = tokensOf(failure.Usage)
		}
	}
	t.grant.Done(o)
}

func tokensOf(u *schemas.Usage) int64 { return u.InputTokens + u.OutputTokens }

// learn passes on what a provider says of its limits, if it is news: a limit of
// which more than half is left is not in anybody's way.
func (a *attempt) learn() func(wire.RateLimit) {
	if a.limits.Limiter == nil {
		return nil
	}
	return func(said wire.RateLimit) {
		if !scarce(&said.Requests) && !scarce(&said.Tokens) {
			return
		}
		to := &a.record.Target
		a.limits.Learn(subject(to.Provider, a.lease.Endpoint, to.Model), limit.RateLimit{Requests: limit.Window(said.Requests), Tokens: limit.Window(said.Tokens)})
	}
}

func scarce(w *wire.Window) bool {
	return !w.ResetAt.IsZero() && (w.Limit > 0 && w.Remaining <= w.Limit/2 || w.Limit == 0 && w.Remaining == 0)
}

// defaultOutput is expected of requests that set no limit on their output.
const defaultOutput = 512

// estimate returns about how many tokens a request takes: four bytes of text are
// about a token. What was used replaces it once it is known.
func estimate(req *schemas.Request) (input, output int64) {
	bytes := 0
	parts := func(ps []schemas.Part) {
		for i := range ps {
			bytes += len(ps[i].Text)
		}
	}
	for i := range req.Messages {
		parts(req.Messages[i].Parts)
	}
	for i := range req.Tools {
		bytes += len(req.Tools[i].Description) + len(req.Tools[i].Parameters)
	}
	for i := range req.Documents {
		bytes += len(req.Documents[i].Text)
	}
	switch req.Operation() {
	case schemas.OpChat, schemas.OpComplete:
		output = defaultOutput
	case schemas.OpEmbed:
		if req.Embed != nil {
			parts(req.Embed.Inputs)
		}
	case schemas.OpRerank:
		if req.Rerank != nil {
			for i := range req.Rerank.Documents {
				bytes += len(req.Rerank.Query) + len(req.Rerank.Documents[i].Text)
			}
		}
	}
	if req.MaxTokens != nil {
		output = *req.MaxTokens
	}
	return int64(bytes)/4 + 1, output
}

// except lets through what admit does, other than one endpoint.
func except(not *balance.Endpoint, now time.Time, admit func(*balance.Endpoint) time.Time) func(*balance.Endpoint) time.Time {
	return func(e *balance.Endpoint) time.Time {
		switch {
		case e == not:
			return now.Add(time.Millisecond)
		case admit == nil:
			return time.Time{}
		default:
			return admit(e)
		}
	}
}

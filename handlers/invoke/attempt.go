package invoke

import (
	"context"
	"errors"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// Why invoke itself cut a call off.
var (
	errAttempt    = errors.New("no answer within attempt_timeout")
	errFirstToken = errors.New("no output within first_token_timeout")
	errStalled    = errors.New("no piece within stall_timeout")
)

// call makes one attempt at target i, records it, and returns why it gave no
// answer, or nil.
func (r *round) call(ctx context.Context, i int, lease *balance.Lease) *schemas.Failure {
	pool := r.pools[r.job.Targets[i].Provider]
	a := schemas.Attempt{
		Number:    r.number + 1,
		Round:     r.job.Origin.Round,
		Target:    r.job.Targets[i],
		Reason:    r.reason(i),
		Outcome:   schemas.OK,
		StartedAt: time.Now(),
	}
	a.Target.Endpoint = lease.Endpoint.ID
	if a.Target.Region == "" {
		a.Target.Region = lease.Endpoint.Region
	}
	if a.Target.Kind == "" {
		a.Target.Kind = pool.kind
	}
	if a.Reason == ReasonFirst {
		r.budget.call()
	}
	r.number, r.seq, r.last = a.Number, 0, i
	r.calls++

	w := watch{round: r, began: a.StartedAt}
	res, failure := r.infer(ctx, pool.callers[lease.Endpoint.Index()], a.Target.Model, lease, &w)

	a.LatencyMS = time.Since(a.StartedAt).Milliseconds()
	a.FirstTokenMS, a.MaxGapMS = w.firstToken(), w.gap.Milliseconds()
	if failure == nil && res.Pending() {
		r.park(&pipeline.Pending{Job: *res.Job, Attempt: a}, time.Duration(res.Job.PollAfterMS)*time.Millisecond)
		return nil
	}
	if failure == nil {
		a.Usage = res.Usage
		r.job.Attempts = append(r.job.Attempts, a)
		answered := a.Target
		r.job.Response, r.job.Answered = res, &answered
		return nil
	}
	a.Outcome, a.HTTPStatus, a.VendorCode = failure.Code, failure.HTTPStatus, failure.VendorCode
	a.Phase, a.RetryAfterMS = failure.Phase, failure.RetryAfterMS
	if failure.Usage != nil {
		a.Usage = *failure.Usage
	}
	r.job.Attempts = append(r.job.Attempts, a)
	if r.seq > 0 {
		r.emit(schemas.Chunk{Type: schemas.ChunkError, Failure: failure})
	}
	return failure
}

func (r *round) reason(i int) string {
	switch r.last {
	case -1:
		return ReasonFirst
	case i:
		return ReasonRetry
	default:
		return ReasonFallback
	}
}

// infer calls the provider within the limits of time and gives the lease back,
// also when the provider panics.
func (r *round) infer(ctx context.Context, p provider.Provider, model string, lease *balance.Lease, w *watch) (res *schemas.Response, failure *schemas.Failure) {
	returned := false
	var blame *schemas.Failure
	defer func() {
		if !returned {
			blame = schemas.Fail(schemas.Internal, "the call ended in a panic", nil)
		}
		lease.Done(blame, time.Since(w.began))
	}()

	var (
		call context.Context
		emit provider.Emit
	)
	if r.outgoing.Stream {
		var stop func()
		call, stop = w.start(ctx)
		defer stop()
		emit = w.piece
	} else {
		var cancel context.CancelFunc
		call, cancel = context.WithTimeoutCause(ctx, r.config.AttemptTimeout, errAttempt)
		defer cancel()
	}
	asked := provider.Call{Request: r.outgoing, Model: model, IdempotencyKey: r.job.Request.ID}
	res, err := p.Infer(call, asked, emit)
	if err == nil && res.Pending() {
		res, err = r.follow(call, p, asked, res, emit)
	}
	failure = r.classify(call, res, err, w)
	blame, returned = failure, true
	if failure != nil && ctx.Err() != nil {
		// The job ran out of time or the process is stopping. A short deadline of
		// one requester must not open the breaker for the others.
		blame = schemas.Fail(schemas.Cancelled, "", nil)
	}
	return res, failure
}

// classify returns why the outcome of a call is no answer, or nil.
func (r *round) classify(call context.Context, res *schemas.Response, err error, w *watch) *schemas.Failure {
	if err == nil {
		if res.Pending() {
			return nil
		}
		return incomplete(res, r.outgoing.Operation(), w)
	}
	given := new(schemas.Failure)
	if f, ok := errors.AsType[*schemas.Failure](err); ok {
		given = f
	}
	cause := context.Cause(call)
	code, message := schemas.Timeout, ""
	switch {
	case cause == nil && given.Code != "":
		return given
	case cause == nil:
		return schemas.Fail(schemas.Internal, "the provider could not be called", err)
	case errors.Is(cause, errAttempt):
		message = "the provider did not answer in time"
	case errors.Is(cause, errFirstToken):
		message = "the provider did not begin to answer in time"
	case errors.Is(cause, errStalled):
		code, message = schemas.StreamInterrupted, "the answer stalled"
	case errors.Is(cause, context.DeadlineExceeded):
		message = "the deadline passed before the provider answered"
	default:
		code, message = schemas.Cancelled, "the call was cancelled"
	}
	f := schemas.Fail(code, message, cause)
	f.Provider, f.Usage, f.UpstreamRequestID, f.Phase = given.Provider, given.Usage, given.UpstreamRequestID, given.Phase
	switch {
	case w.output:
		f.Phase = schemas.PhaseOutput
	case f.Phase == "":
		f.Phase = schemas.PhaseSent
	}
	return f
}

// incomplete returns what is wrong with an answer that a provider called whole:
// nothing of what was asked for, or a choice that does not say why it ended and so
// was cut short.
func incomplete(res *schemas.Response, op schemas.Operation, w *watch) *schemas.Failure {
	if res.Complete(op) {
		return nil
	}
	f := schemas.Fail(schemas.MalformedResponse, "the provider's answer is not complete", nil)
	f.Phase = schemas.PhaseBody
	if w.output {
		f.Code, f.Phase = schemas.StreamInterrupted, schemas.PhaseOutput
	}
	if res != nil {
		f.UpstreamRequestID = res.UpstreamReqID
		usage := res.Usage
		f.Usage = &usage
	}
	return f
}

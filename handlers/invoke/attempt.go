package invoke

import (
	"context"
	"errors"
	"time"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// Why invoke itself cut a call off.
var (
	errAttempt    = errors.New("no answer within attempt_timeout")
	errFirstToken = errors.New("no output within first_token_timeout")
	errStalled    = errors.New("no piece within stall_timeout")
	errLost       = errors.New("another call answered first")
)

// attempt is one call to a target, until it is recorded.
type attempt struct {
	*round
	*ticket
	record schemas.Attempt
	watch  watch
	key    string // for idempotency
	race   *race  // nil: nobody else is asked meanwhile
	held   []schemas.Chunk
	spoke  bool     // pieces were passed on
	handed []string // over for the vendor's long job
	prefix said     // that it goes on from; zero: it answers from the beginning
	heard  heard

	res      *schemas.Response
	failure  *schemas.Failure
	cut      context.CancelCauseFunc // of a race
	panicked any
}

// call makes one attempt, and a second beside it where that is hedged, and records
// them. It returns the one that counts.
func (r *round) call(ctx context.Context, t *ticket) *attempt {
	a := r.begin(t, r.reason(t.index))
	if a.record.Reason == ReasonFirst {
		r.budget.call()
	}
	after, hedged := r.hedgeAfter(a)
	if hedged {
		return r.contest(ctx, a, after)
	}
	r.voice = voice{attempt: a.record.Number}
	a.run(ctx)
	r.conclude(a)
	return a
}

// begin counts an attempt.
func (r *round) begin(t *ticket, reason string) *attempt {
	a := &attempt{round: r, ticket: t, key: r.job.Request.ID, record: schemas.Attempt{
		Number:    r.number + 1,
		Round:     r.job.Origin.Round,
		Target:    r.job.Targets[t.index],
		Reason:    reason,
		Outcome:   schemas.OK,
		StartedAt: time.Now(),
	}}
	to, e := &a.record.Target, t.lease.Endpoint
	to.Endpoint = e.ID
	if to.Region == "" {
		to.Region = e.Region
	}
	if to.Kind == "" {
		to.Kind = r.pools[to.Provider].kind
	}
	a.watch = watch{attempt: a, began: a.record.StartedAt}
	r.continueFrom(a)
	r.number, r.last = a.record.Number, t.index
	r.calls++
	return a
}

// Tracer follows calls. It is safe for concurrent use and never fails a call.
type Tracer interface {
	// Call is called before an attempt. The context that it returns is for the call.
	// ended is called once, with the answer or why there is none, or with neither after
	// a panic; what it reads of the attempt does not change meanwhile.
	Call(ctx context.Context, job *pipeline.Job, a *schemas.Attempt) (_ context.Context, ended func(*schemas.Response, *schemas.Failure))
}

// run makes the call.
func (a *attempt) run(ctx context.Context) {
	if a.Tracer != nil {
		var ended func(*schemas.Response, *schemas.Failure)
		ctx, ended = a.Tracer.Call(ctx, a.job, &a.record)
		defer func() { ended(a.res, a.failure) }()
	}
	a.res, a.failure = a.infer(ctx)
	a.record.LatencyMS = time.Since(a.record.StartedAt).Milliseconds()
	a.record.FirstTokenMS, a.record.MaxGapMS = a.watch.firstToken(), a.watch.gap.Milliseconds()
}

// conclude records how an attempt went that counts.
func (r *round) conclude(a *attempt) {
	switch {
	case a.failure == nil && a.res.Pending():
		r.park(&pipeline.Pending{Job: *a.res.Job, Attempt: a.record, Handed: a.handed}, time.Duration(a.res.Job.PollAfterMS)*time.Millisecond)
	case a.failure == nil:
		a.joinPrefix()
		a.record.Usage = a.res.Usage
		r.job.Attempts = append(r.job.Attempts, a.record)
		answered := a.record.Target
		r.job.Response, r.job.Answered = a.res, &answered
		r.hedges.observe(a)
	default:
		a.began(a.failure)
		a.fail(a.failure)
		if a.spoke {
			r.remember(a)
			r.emit(schemas.Chunk{Type: schemas.ChunkError, Failure: a.failure})
		}
	}
}

// fail records an attempt that gave no answer.
func (a *attempt) fail(f *schemas.Failure) {
	a.record.Outcome, a.record.HTTPStatus, a.record.VendorCode = f.Code, f.HTTPStatus, f.VendorCode
	a.record.Phase, a.record.RetryAfterMS = f.Phase, f.RetryAfterMS
	if f.Usage != nil {
		a.record.Usage = *f.Usage
	}
	a.job.Attempts = append(a.job.Attempts, a.record)
}

// began has a call that was cut off count with what the vendor had begun: its input, if
// nothing better is known.
func (a *attempt) began(f *schemas.Failure) {
	if f.Code == schemas.Cancelled && f.Usage == nil && f.Phase != schemas.PhaseLocal && f.Phase != schemas.PhaseConnect {
		input, _ := estimate(a.outgoing)
		f.Usage = &schemas.Usage{InputTokens: input, Source: schemas.UsageEstimated}
	}
}

// say passes a piece of the answer on. In a race that waits for the first that has
// something to say.
func (a *attempt) say(c schemas.Chunk, output bool) error {
	if a.race != nil && a.race.winner.Load() != a {
		if !output {
			a.held = append(a.held, c)
			return nil
		}
		if !a.race.claim(a) {
			return errLost
		}
		a.voice = voice{attempt: a.record.Number}
		for _, h := range a.held {
			a.emit(h)
		}
	}
	a.spoke = true
	a.hear(&c, output)
	a.emit(c)
	return nil
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

// infer calls the provider within the limits of time and gives the ticket back,
// also when the provider panics.
func (a *attempt) infer(ctx context.Context) (res *schemas.Response, failure *schemas.Failure) {
	r, w, p := a.round, &a.watch, caller(a.lease.Endpoint)
	returned := false
	var blame *schemas.Failure
	defer func() {
		if !returned {
			blame = schemas.Fail(schemas.Internal, "the call ended in a panic", nil)
		}
		a.done(blame, failure, res, time.Since(w.began))
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
	to := &a.record.Target
	asked := provider.Call{
		Request: a.request(), Model: to.Model, IdempotencyKey: a.key,
		RateLimit: a.learn(), Fetch: r.Fetch, Publish: r.Publish, Keep: func(handed []string) { a.handed = handed },
	}
	res, err := p.Infer(call, asked, emit)
	if err == nil && res.Pending() {
		asked.Handed = a.handed
		res, err = r.follow(call, p, asked, res, emit)
	}
	failure = r.classify(call, res, err, w)
	bound(res, failure)
	blame, returned = failure, true
	if failure != nil && ctx.Err() != nil {
		// The job ran out of time or the process is stopping. A short deadline of
		// one requester must not open the breaker for the others.
		blame = schemas.Fail(schemas.Cancelled, "", nil)
	}
	return res, failure
}

// bound cuts what a vendor says about a call to what events may hold.
func bound(res *schemas.Response, f *schemas.Failure) {
	if res != nil {
		res.Usage = res.Usage.Bounded()
	}
	if f == nil {
		return
	}
	f.Message, f.Param = schemas.Clip(f.Message, maxVendorMessage), schemas.Clip(f.Param, maxVendorWord)
	f.VendorCode, f.VendorType = schemas.Clip(f.VendorCode, maxVendorWord), schemas.Clip(f.VendorType, maxVendorWord)
	f.UpstreamRequestID = schemas.Clip(f.UpstreamRequestID, maxVendorWord)
	if f.Usage != nil {
		*f.Usage = f.Usage.Bounded()
	}
}

// Adapters are below these already, bytes.
const (
	maxVendorMessage = 8 << 10
	maxVendorWord    = 512
)

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

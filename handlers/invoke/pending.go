package invoke

import (
	"context"
	"errors"
	"time"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// Waits between two looks at a vendor's job, doubled from the first to the last,
// where the vendor names none.
const (
	firstLook = time.Second
	lastLook  = 30 * time.Second
	// lookTimeout bounds one question about a job, and its cancellation.
	lookTimeout = 30 * time.Second
	// lastLooks is how often is asked what a job that was ended has cost, with a wait
	// between them that doubles: vendors take a moment to end one.
	lastLooks    = 3
	betweenLasts = 100 * time.Millisecond
)

// park keeps a vendor's job for the next round, so that it holds neither a worker
// nor a partition while the vendor works.
func (r *round) park(p *pipeline.Pending, advised time.Duration) {
	wait := min(firstLook<<min(p.Looks, 5), lastLook)
	if advised > 0 {
		wait = min(advised, 10*time.Minute)
	}
	// At the deadline someone has to cancel it.
	wait = min(wait, max(time.Until(r.job.Deadline), time.Millisecond))
	r.job.Pending, r.job.Parked = p, wait
}

// resume looks at the job that an earlier round began. It reports whether the
// request has its outcome, or is parked again; if not, the job came to nothing and
// other targets may be asked.
func (r *round) resume(ctx context.Context) (settled bool, failure *schemas.Failure) {
	p := r.job.Pending
	r.job.Pending = nil
	r.number = max(r.number, p.Attempt.Number)
	r.voice.attempt = r.number
	p.Attempt.Round = r.job.Origin.Round
	call := provider.Call{Request: r.outgoing, Model: p.Attempt.Target.Model, IdempotencyKey: r.job.Request.ID, Publish: r.Publish, Handed: p.Handed}
	poller := r.poller(&p.Attempt.Target)
	if poller == nil {
		return r.lose(p, schemas.Fail(schemas.NotFound, "the endpoint that works on the request is not configured any more", nil))
	}
	if r.job.Cancelled() || !time.Now().Before(r.job.Deadline) {
		_, failure = r.lose(p, r.callOff(ctx, poller, call, p.Job))
		return true, failure
	}
	looking, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	res, err := poller.Poll(looking, call, p.Job, nil)
	p.Looks++
	switch {
	case err != nil:
		f := schemas.AsFailure(err)
		if !goesOn(f) {
			return r.lose(p, f)
		}
		r.park(p, f.RetryAfter())
	case res.Pending():
		keep(&p.Job, res.Job)
		r.park(p, time.Duration(res.Job.PollAfterMS)*time.Millisecond)
	case !res.Complete(r.outgoing.Operation()):
		return r.lose(p, schemas.Fail(schemas.MalformedResponse, "the provider's job ended without an answer", nil))
	default:
		a := p.Attempt
		a.LatencyMS = time.Since(a.StartedAt).Milliseconds()
		a.Outcome, a.Usage = schemas.OK, res.Usage
		r.job.Attempts = append(r.job.Attempts, a)
		answered := a.Target
		r.job.Response, r.job.Answered = res, &answered
	}
	return true, nil
}

// callOff ends a vendor's job whose answer nobody waits for any more, and returns why
// it has none. What the vendor says it did until then is billed.
func (r *round) callOff(ctx context.Context, poller provider.Poller, call provider.Call, job schemas.Job) *schemas.Failure {
	// The job's own context has ended with what ended the request.
	own, stop := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
	defer stop()
	code, message := schemas.Timeout, "the deadline passed while the provider was still at work; its job "
	if r.job.Cancelled() {
		code, message = schemas.Cancelled, "the request was cancelled while the provider was at work; its job "
	}
	if err := poller.Cancel(own, call, job); err != nil {
		return schemas.Fail(code, message+"could not be cancelled", err)
	}
	f := schemas.Fail(code, message+"was cancelled", nil)
	f.Usage = spent(own, poller, call, job)
	return f
}

// spent returns what a vendor bills for a job that was just ended, or nil where it
// doesn't say.
func spent(ctx context.Context, poller provider.Poller, call provider.Call, job schemas.Job) *schemas.Usage {
	for i := range lastLooks {
		res, err := poller.Poll(ctx, call, job, nil)
		if said, ok := errors.AsType[*schemas.Failure](err); ok {
			return said.Usage
		}
		if err != nil {
			return nil
		}
		if !res.Pending() {
			return &res.Usage // it was done in the same moment
		}
		if pause(ctx, betweenLasts<<i) != nil {
			return nil
		}
	}
	return nil
}

// goesOn reports whether a question about a job failed in a way that says nothing
// about the job.
func goesOn(f *schemas.Failure) bool {
	switch f.Code {
	case schemas.Network, schemas.Timeout, schemas.Unavailable, schemas.Overloaded, schemas.RateLimited, schemas.Cancelled:
		return true
	case schemas.Internal, schemas.MalformedResponse:
		return f.HTTPStatus >= 500 // the job's own failure comes with status 200
	}
	return false
}

// keep takes over what the vendor says of its job; addresses that it does not
// repeat stay.
func keep(to, said *schemas.Job) {
	if said.ID != "" {
		to.ID = said.ID
	}
	if said.PollURL != "" {
		to.PollURL = said.PollURL
	}
	if said.CancelURL != "" {
		to.CancelURL = said.CancelURL
	}
	to.State, to.Progress = said.State, said.Progress
}

// lose records that the job gave no answer. The request is settled if asking
// elsewhere is of no use.
func (r *round) lose(p *pipeline.Pending, f *schemas.Failure) (bool, *schemas.Failure) {
	a := p.Attempt
	a.LatencyMS = time.Since(a.StartedAt).Milliseconds()
	a.Outcome, a.HTTPStatus, a.VendorCode, a.Phase = f.Code, f.HTTPStatus, f.VendorCode, f.Phase
	if f.Usage != nil {
		a.Usage = *f.Usage
	}
	r.job.Attempts = append(r.job.Attempts, a)
	for i := range r.job.Targets {
		if t := &r.job.Targets[i]; t.Provider == a.Target.Provider && t.Model == a.Target.Model {
			r.states[i].done, r.last = true, i
		}
	}
	r.keep(f)
	return !f.Code.Policy().Fallback, f
}

// poller finds what asked for the job: jobs are known to the credential that
// began them only.
func (r *round) poller(t *schemas.Target) provider.Poller {
	pool := r.pools[t.Provider]
	if pool == nil {
		return nil
	}
	for _, e := range pool.InRegion("") {
		if e.ID == t.Endpoint {
			p, _ := caller(e).(provider.Poller)
			return p
		}
	}
	return nil
}

// follow reads the stream of a job that has one, as part of the call that began
// it.
func (r *round) follow(ctx context.Context, p provider.Provider, call provider.Call, res *schemas.Response, emit provider.Emit) (*schemas.Response, error) {
	poller, ok := p.(provider.Poller)
	for range maxStreams {
		if !ok || emit == nil || !res.Pending() || res.Job.PollAfterMS != streamNow {
			break
		}
		next, err := poller.Poll(ctx, call, *res.Job, emit)
		if err != nil {
			return nil, err
		}
		res = next
	}
	return res, nil
}

const (
	streamNow  = 1 // PollAfterMS of a job whose stream can be read
	maxStreams = 3 // the stream, and the question how it ended
)

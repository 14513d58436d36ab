package invoke

import (
	"context"
	"errors"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/limit"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// round is one trip of a job through the stage.
type round struct {
	*Stage
	job      *pipeline.Job
	outgoing *schemas.Request
	affinity uint64

	states []state // of job.Targets
	calls  int     // made in this round
	last   int     // index of the target called last; -1 before
	waited time.Duration
	best   *schemas.Failure
	number int // of the last attempt, over all rounds

	limited       bool  // there were limits when it began
	input, output int64 // tokens that the request is expected to take

	blocked *blocked // by a limit, as acquire found; nil: nothing is
	turn    *ticket  // for which this round has waited
	voice   voice
	said    said // by an attempt that broke off
}

// voice is the numbering of the chunks of the attempt that speaks, or spoke last.
type voice struct {
	attempt int
	seq     int64 // of the next chunk
}

// state is what this round knows of a target.
type state struct {
	done    bool // not asked again in this round
	whole   bool // not asked to go on from what another said
	retries int
}

func newRound(s *Stage, job *pipeline.Job) *round {
	r := &round{Stage: s, job: job, outgoing: job.Outgoing, last: -1, affinity: affinity(job.Request)}
	if r.outgoing == nil {
		r.outgoing = job.Request
	}
	r.limited = s.limits.Limiter != nil && !s.limits.Idle()
	if r.limited || s.hedges != nil {
		r.input, r.output = estimate(r.outgoing)
	}
	r.states = make([]state, len(job.Targets))
	if n := len(job.Attempts); n > 0 {
		r.number = job.Attempts[n-1].Number
	}
	r.voice.attempt = r.number
	return r
}

// run returns nil, nil when the job is answered.
func (r *round) run(ctx context.Context) (*schemas.Failure, error) {
	if r.job.Pending != nil {
		if settled, failure := r.resume(ctx); settled {
			return failure, nil
		}
	}
	if len(r.job.Targets) == 0 {
		return schemas.Fail(schemas.Unroutable, "routing left no target to ask", nil), nil
	}
	done, failure, err := r.admit(ctx)
	if err != nil {
		return stopped(ctx, r.job)
	}
	if failure != nil {
		return failure, nil
	}
	defer done()
	return r.asking(ctx)
}

// asking makes calls until one is answered or there is no use in another.
func (r *round) asking(ctx context.Context) (*schemas.Failure, error) {
	for r.calls < r.config.MaxAttempts {
		if ctx.Err() != nil {
			return stopped(ctx, r.job)
		}
		t, soonest := r.acquire()
		if t == nil {
			switch again, err := r.await(ctx, soonest); {
			case err != nil:
				return stopped(ctx, r.job)
			case !again:
				return r.best, nil
			}
			continue
		}
		a := r.call(ctx, t)
		if a.failure == nil {
			return nil, nil
		}
		if ctx.Err() != nil {
			return stopped(ctx, r.job)
		}
		if a.refusedPrefix() {
			r.states[a.index].whole = true // it is asked for the whole answer
			continue
		}
		r.keep(a.failure)
		goOn, err := r.decide(ctx, a.index, a.lease, a.failure)
		if err != nil {
			return stopped(ctx, r.job)
		}
		if !goOn {
			return a.failure, nil
		}
	}
	return r.best, nil
}

// acquire returns the right to call the first target that can be called, or else
// when it is worth looking again; zero: never.
func (r *round) acquire() (*ticket, time.Time) {
	if t := r.turn; t != nil {
		r.turn = nil
		return t, time.Time{}
	}
	now := time.Now()
	t, soonest, withheld := r.search(now, (*balance.Pool).AcquireFree)
	if withheld { // a call that is kept from an endpoint is not kept from being made
		t, soonest, _ = r.search(now, (*balance.Pool).AcquireIf)
	}
	return t, soonest
}

// acquiring is a way to get a lease from a pool.
type acquiring func(p *balance.Pool, affinity uint64, region, model string, now time.Time, admit func(*balance.Endpoint) time.Time) (*balance.Lease, error)

// search asks the pools of all targets in their order. It also reports whether
// none has a lease, but one would have if it didn't withhold calls.
func (r *round) search(now time.Time, acquire acquiring) (*ticket, time.Time, bool) {
	r.blocked = nil
	var soonest time.Time
	spared := false
	for i := range r.job.Targets {
		if r.states[i].done {
			continue
		}
		t, until, withheld := r.ticket(i, now, nil, acquire)
		if t != nil {
			return t, time.Time{}, false
		}
		spared = spared || withheld
		if until.IsZero() {
			r.states[i].done = true
			r.keep(schemas.Fail(schemas.NotFound, "a target of this request has no endpoint in its region", nil))
		} else if soonest.IsZero() || until.Before(soonest) {
			soonest = until
		}
	}
	return nil, soonest, spared
}

// ticket tries to get the right to call an endpoint of target i other than not;
// without one it says until when there is none, zero meaning for ever, and whether
// that is because the call was withheld.
func (r *round) ticket(i int, now time.Time, not *balance.Endpoint, acquire acquiring) (*ticket, time.Time, bool) {
	t := &r.job.Targets[i]
	pool := r.pools[t.Provider]
	if pool == nil {
		return nil, time.Time{}, false
	}
	var grant *limit.Grant
	admit := r.gate(i, now, &grant)
	if not != nil {
		admit = except(not, now, admit)
	}
	lease, err := acquire(pool.Pool, r.affinity, t.Region, t.Model, now, admit)
	if err == nil {
		return &ticket{index: i, lease: lease, grant: grant}, time.Time{}, false
	}
	if unusable, ok := errors.AsType[*balance.UnusableError](err); ok {
		return nil, unusable.Until, unusable.Withheld
	}
	return nil, time.Time{}, false
}

// await waits for the moment at which an endpoint may be usable again: in the queue
// of a limit, where that is all that is in the way. It reports false when that is
// not within the limits, having kept a failure that says when to come back; and an
// error when ctx ended.
func (r *round) await(ctx context.Context, soonest time.Time) (bool, error) {
	if soonest.IsZero() {
		return false, nil
	}
	if b := r.blocked; b != nil && !b.until.After(soonest) {
		turn, failure, err := r.queue(ctx, b)
		if failure != nil {
			r.keep(failure)
		}
		r.turn = turn
		return failure == nil, err
	}
	needed := time.Until(soonest)
	wait := r.jitter.after(max(needed, time.Millisecond))
	if r.waited+needed > r.config.MaxWait || !r.inTime(wait) {
		f := schemas.Fail(schemas.Unavailable, "every endpoint that could answer is resting or out of order", nil)
		f.RetryAfterMS = max((needed + time.Millisecond - 1).Milliseconds(), 1)
		f.Phase = schemas.PhaseLocal
		r.keep(f)
		return false, nil
	}
	r.waited += wait
	return true, pause(ctx, wait)
}

// decide does what the failure's policy says. It reports whether to go on, and
// an error when ctx ended during a wait.
func (r *round) decide(ctx context.Context, i int, failed *balance.Lease, f *schemas.Failure) (bool, error) {
	p, st := f.Code.Policy(), &r.states[i]
	if r.calls < r.config.MaxAttempts && !f.NoRetry {
		switch {
		case p.Scope == schemas.ScopeKey && p.Fallback && r.otherKey(i, failed):
			// The failed key rests by now, so this does not go in circles.
			if r.budget.retry(time.Now()) {
				return true, nil
			}
		case st.retries < p.RetrySame:
			if wait, ok := r.retry(i, f); ok {
				return true, pause(ctx, wait)
			}
		}
	}
	st.done = true
	return p.Fallback, nil
}

// retry pays for asking target i again and returns the wait before it. It
// reports false when the target is better left alone.
func (r *round) retry(i int, f *schemas.Failure) (time.Duration, bool) {
	st := &r.states[i]
	wait := r.jitter.backoff(r.config.Backoff, st.retries)
	if advised := f.RetryAfter(); advised > r.config.MaxWait {
		return 0, false
	} else if advised > 0 {
		wait = r.jitter.after(advised)
	}
	if !r.inTime(wait) || !r.budget.retry(time.Now()) {
		return 0, false
	}
	st.retries++
	return wait, true
}

// otherKey reports whether target i has an endpoint that the failure of one key
// does not concern: then there is no reason to wait.
func (r *round) otherKey(i int, failed *balance.Lease) bool {
	t := &r.job.Targets[i]
	for _, e := range r.pools[t.Provider].InRegion(t.Region) {
		if e != failed.Endpoint && !e.SharesKey(failed.Endpoint) && e.Usable(time.Now()) {
			return true
		}
	}
	return false
}

// keep remembers the more useful of two failures; see [Stage.Handle].
func (r *round) keep(f *schemas.Failure) {
	if r.best == nil || !lessUseful(f, r.best) {
		r.best = f
	}
}

// lessUseful reports whether a tells less than b about what to do next.
func lessUseful(a, b *schemas.Failure) bool {
	p, q := a.Code.Policy(), b.Code.Policy()
	switch {
	case p.Later != q.Later:
		return q.Later
	case p.Later:
		return a.RetryAfterMS > b.RetryAfterMS
	default:
		return p.Scope != schemas.ScopeRequest && q.Scope == schemas.ScopeRequest
	}
}

// inTime reports whether there is time left after waiting for d.
func (r *round) inTime(d time.Duration) bool { return time.Now().Add(d).Before(r.job.Deadline) }

// end closes the stream of the round.
func (r *round) end(failure *schemas.Failure) {
	if r.outgoing.Stream {
		r.emit(schemas.Chunk{Type: schemas.ChunkEnd, Failure: failure})
	}
}

// emit numbers a chunk and passes it on.
func (r *round) emit(c schemas.Chunk) {
	c.RequestID, c.Tenant, c.Attempt, c.Seq = r.job.Request.ID, r.job.Request.Tenant, r.voice.attempt, r.voice.seq
	r.voice.seq++
	r.job.Emit(c)
}

// pause waits for d or until ctx is done.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

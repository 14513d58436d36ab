package invoke

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// Marks keeps what was about to be done, for whoever comes after a crash.
type Marks interface {
	// Mark keeps a name for good, also if this machine dies, and reports whether it was
	// kept before. It is safe for concurrent use.
	Mark(ctx context.Context, name string) (already bool, err error)
}

// batchTimeout bounds an exchange about a batch: requests of hundreds of megabytes go
// up, and results come down.
const batchTimeout = 10 * time.Minute

// collect has the request wait for others, to be done with them as a batch of the
// first target that does such. Targets that failed are passed over.
func (s *Stage) collect(job *pipeline.Job) error {
	op := job.Request.Operation()
	var found []schemas.Target
	var last *schemas.Attempt
	for i := range job.Targets {
		t := job.Targets[i]
		e := s.endpoint(&t, op)
		if e == nil {
			continue
		}
		if a := failed(job.Attempts, &t); a != nil && !a.Outcome.Policy().Later {
			last = a
			continue
		}
		t.Endpoint, t.Kind = e.ID, cmp.Or(t.Kind, s.pools[t.Provider].kind)
		t.Region = cmp.Or(t.Region, e.Region)
		found = append(found, t)
	}
	if len(found) == 0 {
		f := schemas.Fail(schemas.Unsupported, "mode: no target of this model does "+string(op)+" in batches", nil)
		if last != nil {
			f = schemas.Fail(last.Outcome, "no target that is left does the request in a batch", nil)
		}
		f.Param, f.Phase = "mode", schemas.PhaseLocal
		return f
	}
	to := found[0]
	for _, t := range found { // one that was not tried yet, if there is any
		if failed(job.Attempts, &t) == nil {
			to = t
			break
		}
	}
	key, err := json.Marshal([]string{to.Provider, to.Endpoint, to.Model, string(op)})
	if err != nil {
		return err
	}
	a := schemas.Attempt{Number: 1, Target: to, Reason: ReasonFirst}
	if n := len(job.Attempts); n > 0 {
		before := &job.Attempts[n-1]
		a.Number, a.Reason = before.Number+1, ReasonRetry
		if before.Target.Provider != to.Provider || before.Target.Model != to.Model {
			a.Reason = ReasonFallback
		}
	}
	job.Pending = &pipeline.Pending{Attempt: a, More: len(found) > 1}
	job.Collect = string(key)
	return nil
}

// failed returns the last attempt at a target, all of which failed.
func failed(attempts []schemas.Attempt, t *schemas.Target) *schemas.Attempt {
	for i := len(attempts) - 1; i >= 0; i-- {
		if a := &attempts[i]; a.Target.Provider == t.Provider && a.Target.Model == t.Model {
			return a
		}
	}
	return nil
}

// endpoint returns the one that batches of a target go to: the first that is usable,
// or the first of all.
func (s *Stage) endpoint(t *schemas.Target, op schemas.Operation) *balance.Endpoint {
	pool := s.pools[t.Provider]
	if pool == nil {
		return nil
	}
	var first *balance.Endpoint
	for _, e := range pool.InRegion(t.Region) {
		b := provider.BatcherOf(caller(e))
		switch {
		case b == nil || !b.Takes(op):
		case e.Usable(time.Now()):
			return e
		case first == nil:
			first = e
		}
	}
	return first
}

// Batch is the stage for jobs that stand for the requests of a batch. It begins the
// vendor's job, or looks how it stands, and leaves an outcome on each request that
// has one. The others wait, and the job is parked for them.
//
// The vendor's job is known by an ID that is made from the batch itself, and it is
// marked as begun before it is: whoever finds the mark looks for it at the vendor
// first.
func (s *Stage) Batch(ctx context.Context, job *pipeline.Job) error {
	b := &batch{Stage: s, job: job}
	for _, m := range job.Members {
		if open(m) && m.Pending == nil { // its record does not say where: it goes through routing again
			m.Parked = time.Millisecond
		}
	}
	first := b.first()
	if first == nil {
		return nil
	}
	if job.Pending == nil {
		job.Pending = new(pipeline.Pending)
	}
	b.target = first.Pending.Attempt.Target
	b.batcher = s.batcher(&b.target)
	if b.batcher == nil {
		b.loseAll(schemas.Fail(schemas.NotFound, "the endpoint of the batch is not configured any more", nil))
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, batchTimeout)
	defer cancel()
	if err := b.advance(ctx); err != nil {
		return err
	}
	b.remember()
	return nil
}

// batch is one look at a batch.
type batch struct {
	*Stage
	job     *pipeline.Job
	target  schemas.Target
	batcher provider.Batcher
}

// open reports whether a request waits for the batch.
func open(m *pipeline.Job) bool {
	return m != nil && m.Response == nil && m.Failure == nil && m.Parked == 0
}

func (b *batch) first() *pipeline.Job {
	if i := slices.IndexFunc(b.job.Members, open); i >= 0 {
		return b.job.Members[i]
	}
	return nil
}

func (s *Stage) batcher(t *schemas.Target) provider.Batcher {
	if pool := s.pools[t.Provider]; pool != nil {
		for _, e := range pool.InRegion("") {
			if e.ID == t.Endpoint {
				return provider.BatcherOf(caller(e))
			}
		}
	}
	return nil
}

// asked is the batch as the vendor is asked about it.
func (b *batch) asked() provider.Batch {
	id := strings.TrimPrefix(b.job.Request.ID, "batch sha256:")
	out := provider.Batch{ID: id[:min(len(id), 32)], Since: b.job.Created, Calls: make([]provider.Call, len(b.job.Members))}
	for i, m := range b.job.Members {
		if open(m) {
			out.Calls[i] = provider.Call{Request: m.Outgoing, Model: b.target.Model, IdempotencyKey: m.Request.ID}
		}
	}
	return out
}

// advance takes the batch a step further.
func (b *batch) advance(ctx context.Context) error {
	began := b.job.Pending.Job.ID != ""
	b.leave(began)
	if b.first() == nil {
		if began { // nobody waits for it any more; if it can't be cancelled it ends by itself
			_ = b.batcher.End(ctx, b.asked(), b.job.Pending.Job)
		}
		return nil
	}
	if !began {
		return b.begin(ctx)
	}
	p := b.job.Pending
	now, err := b.batcher.Look(ctx, b.asked(), p.Job)
	p.Looks++
	switch f := (*schemas.Failure)(nil); {
	case errors.Is(err, provider.ErrNoBatch):
		p.Job = schemas.Job{}
		return b.begin(ctx)
	case errors.As(err, &f) && goesOn(f):
		b.park(f.RetryAfter())
	case err != nil:
		b.loseAll(schemas.AsFailure(err))
	case !now.State.Done():
		keep(&p.Job, &now)
		b.park(time.Duration(now.PollAfterMS) * time.Millisecond)
	default:
		keep(&p.Job, &now)
		return b.finish(ctx)
	}
	return nil
}

// leave ends the requests whose deadline has passed and those that were cancelled. A
// batch that was begun goes on with their lines and bills them, which nobody reads any
// more: they count with their input.
func (b *batch) leave(began bool) {
	for _, m := range b.job.Members {
		if !open(m) || !m.Cancelled() && time.Now().Before(m.Deadline) {
			continue
		}
		f := whyLeft(m.Cancelled(), began)
		if began {
			input, _ := estimate(m.Outgoing)
			f.Usage = &schemas.Usage{InputTokens: input, Source: schemas.UsageEstimated}
			b.lose(m, f)
		}
		m.Parked, m.Failure = 0, f // there is no time to ask elsewhere, or no need
	}
}

func whyLeft(cancelled, began bool) *schemas.Failure {
	switch {
	case cancelled && began:
		return schemas.Fail(schemas.Cancelled, "the request was cancelled while the provider's batch was at work", nil)
	case cancelled:
		return schemas.Fail(schemas.Cancelled, "the request was cancelled", nil)
	case began:
		return schemas.Fail(schemas.Timeout, "the deadline passed while the provider's batch was still at work", nil)
	}
	return schemas.Fail(schemas.Expired, "the deadline passed before the batch of the request was begun", nil)
}

// begin hands the requests over.
func (b *batch) begin(ctx context.Context) error {
	asked := b.asked()
	if b.Marks != nil {
		again, err := b.Marks.Mark(ctx, "batch "+asked.ID)
		if err != nil {
			return err
		}
		asked.Again = again
	}
	b.job.Pending.Attempt = schemas.Attempt{Target: b.target, StartedAt: time.Now()}
	began, err := b.batcher.Begin(ctx, asked, func(i int, why error) {
		m := b.job.Members[i]
		if errors.Is(why, provider.ErrBatchFull) {
			m.Pending, m.Parked = nil, time.Millisecond // for the next one
			return
		}
		f := schemas.AsFailure(why)
		f.Phase = schemas.PhaseLocal
		b.lose(m, f)
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return err // given back: whoever takes it up finds the mark
	case err != nil:
		f, p := schemas.AsFailure(err), b.job.Pending
		if p.Looks++; p.Looks < maxBegins && mayHelp(f) {
			b.park(f.RetryAfter()) // it may have been begun: whoever tries again looks first
			return nil
		}
		b.loseAll(f)
	case b.first() == nil:
	case began.ID == "":
		b.loseAll(schemas.Fail(schemas.MalformedResponse, "the provider began no batch", nil))
	default:
		b.job.Pending.Job = began
		b.park(time.Duration(began.PollAfterMS) * time.Millisecond)
	}
	return nil
}

// maxBegins is how often a batch is tried to be begun before its requests are asked
// for elsewhere.
const maxBegins = 6

// mayHelp reports whether beginning again may be of use.
func mayHelp(f *schemas.Failure) bool {
	return goesOn(f) || f.Code == schemas.Internal || f.Code == schemas.MalformedResponse
}

// finish reads the results of a batch that is done.
func (b *batch) finish(ctx context.Context) error {
	p, asked := b.job.Pending, b.asked()
	type outcome struct {
		res *schemas.Response
		err error
	}
	// Nothing counts before all of it was read.
	outcomes := make(map[int]outcome, len(asked.Calls))
	err := b.batcher.Results(ctx, asked, p.Job, func(i int, res *schemas.Response, err error) { outcomes[i] = outcome{res, err} })
	if f := (*schemas.Failure)(nil); errors.As(err, &f) && (goesOn(f) || ctx.Err() != nil) {
		b.park(f.RetryAfter())
		return nil
	}
	if err != nil {
		b.loseAll(schemas.AsFailure(err))
		return nil
	}
	for i, m := range b.job.Members {
		o, told := outcomes[i]
		switch {
		case !open(m):
		case told && o.err == nil && o.res.Complete(m.Request.Operation()):
			b.answer(m, o.res)
		case told && o.err != nil:
			b.lose(m, schemas.AsFailure(o.err))
		case told:
			b.lose(m, schemas.Fail(schemas.MalformedResponse, "the provider's answer is not complete", nil))
		default:
			b.lose(m, missing(p.Job.State))
		}
	}
	return nil
}

// missing is the failure of a request that the results say nothing of.
func missing(s schemas.JobState) *schemas.Failure {
	switch s {
	case schemas.JobExpired:
		return schemas.Fail(schemas.Timeout, "the provider's batch ended before the request was done", nil)
	case schemas.JobCancelled:
		return schemas.Fail(schemas.Cancelled, "the provider's batch was cancelled before the request was done", nil)
	}
	return schemas.Fail(schemas.MalformedResponse, "the results of the provider's batch do not tell of the request", nil)
}

// batchTier is what price books call the price of a batch.
const batchTier = "batch"

func (b *batch) answer(m *pipeline.Job, res *schemas.Response) {
	res.Usage.Tier = batchTier
	a := b.attempt(m)
	a.Outcome, a.Usage = schemas.OK, res.Usage
	m.Attempts = append(m.Attempts, a)
	m.Response, m.Answered, m.Pending = res, &a.Target, nil
}

// lose records that a request got no answer from the batch. It goes on elsewhere, if
// that may be of use.
func (b *batch) lose(m *pipeline.Job, f *schemas.Failure) {
	a := b.attempt(m)
	a.Outcome, a.HTTPStatus, a.VendorCode, a.Phase = f.Code, f.HTTPStatus, f.VendorCode, f.Phase
	if f.Usage != nil {
		a.Usage = *f.Usage
		a.Usage.Tier = batchTier
	}
	more := m.Pending.More
	m.Attempts = append(m.Attempts, a)
	m.Pending = nil
	if f.Code.Policy().Fallback && more {
		m.Parked = time.Millisecond
		return
	}
	m.Failure = f
}

func (b *batch) loseAll(f *schemas.Failure) {
	for _, m := range b.job.Members {
		if open(m) {
			own := *f
			b.lose(m, &own)
		}
	}
}

// attempt is the part of a request in the batch.
func (b *batch) attempt(m *pipeline.Job) schemas.Attempt {
	a := m.Pending.Attempt
	a.Round, a.StartedAt = m.Origin.Round, b.job.Pending.Attempt.StartedAt
	if a.StartedAt.IsZero() {
		a.StartedAt = time.Now()
	}
	a.LatencyMS = time.Since(a.StartedAt).Milliseconds()
	return a
}

// park has the batch wait for the next look, or for the first deadline.
func (b *batch) park(advised time.Duration) {
	wait := min(firstLook<<min(b.job.Pending.Looks, 10), b.config.BatchPoll)
	if advised > 0 {
		wait = min(advised, 10*time.Minute)
	}
	for _, m := range b.job.Members {
		if open(m) {
			wait = min(wait, max(time.Until(m.Deadline), time.Millisecond))
		}
	}
	b.job.Parked = wait
}

// remember notes which requests the batch goes on without.
func (b *batch) remember() {
	bits := make([]byte, (len(b.job.Members)+7)/8)
	for i, m := range b.job.Members {
		if !open(m) {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	b.job.Pending.Settled = bits
}

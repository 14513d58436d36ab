package pipeline

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// Chain is the itinerary of every job. Ask steps run in order until one of them
// answers the job or fails. Settle steps then run in order whatever happened, so
// that a refused, failed or cached job is priced and audited like any other.
type Chain struct {
	Ask, Settle []Step
	// Batch takes the place of Ask for a job that stands for the requests of a batch.
	Batch Step
	// Cancels, if it is not nil, ends the asking for requests that are cancelled.
	Cancels Cancels
}

// Run takes the job through the chain and leaves it with a Response or a
// Failure. A request whose deadline has passed is not asked but fails with
// expired, and one that is cancelled fails with cancelled: in the midst of an Ask
// step, too, but not once it has its answer. The error that Run returns is not the job's outcome but the
// gateway's: the job was cut off by ctx or could not be settled, and must not be
// acknowledged. A job that is Parked has neither and is not settled.
func (c *Chain) Run(ctx context.Context, job *Job) error {
	if len(job.Members) > 0 {
		return c.runBatch(ctx, job)
	}
	if job.Failure == nil {
		job.Failure = c.ask(ctx, job)
	}
	if ctx.Err() != nil && job.Response == nil {
		return context.Cause(ctx)
	}
	if job.waits() {
		return nil // there is nothing to settle yet
	}
	return c.settle(ctx, job)
}

// waits reports whether the job has no outcome yet but goes on later.
func (j *Job) waits() bool { return j.Parked > 0 || j.Collect != "" }

// runBatch takes the requests of a batch through together. Those that have their
// outcome are settled, each like a request of its own; the others wait.
func (c *Chain) runBatch(ctx context.Context, job *Job) error {
	for _, m := range job.Members {
		if m != nil && c.Cancels != nil {
			// Between two looks nothing is done for it that could be stopped.
			c.Cancels.Watch(m, nil)
			c.Cancels.Unwatch(m)
		}
	}
	var err error
	if job.Failure == nil { // else its requests have theirs
		err = guard(ctx, c.Batch, job)
	}
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		f := schemas.AsFailure(err)
		job.Parked = 0
		for _, m := range job.Members {
			if m != nil && m.Response == nil {
				m.Parked, m.Failure = 0, f
			}
		}
	}
	for _, m := range job.Members {
		if m == nil || m.waits() || m.Response == nil && m.Failure == nil {
			continue
		}
		if err := c.settle(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

func (c *Chain) settle(ctx context.Context, job *Job) error {
	job.Completed = time.Now()
	for _, s := range c.Settle {
		if err := guard(ctx, s, job); err != nil {
			return fmt.Errorf("settling in %s: %w", s.Name, err)
		}
	}
	return nil
}

// ask runs the Ask steps and returns why the job has no answer, or nil.
func (c *Chain) ask(ctx context.Context, job *Job) *schemas.Failure {
	ctx, cancel := context.WithDeadline(ctx, job.Deadline)
	defer cancel()
	if c.Cancels != nil {
		c.Cancels.Watch(job, cancel)
		defer c.Cancels.Unwatch(job)
	}
	switch {
	case job.Pending != nil: // it is also to be ended at the vendor
	case job.Cancelled():
		return cancelled()
	case !time.Now().Before(job.Deadline):
		return schemas.Fail(schemas.Expired, "the deadline passed before the request was taken up", nil)
	}
	for _, s := range c.Ask {
		err := guard(ctx, s, job)
		switch {
		case err == nil && (job.Response != nil || job.waits()):
			return nil
		case err == nil:
			continue
		case job.Cancelled() && ctx.Err() != nil:
			return asCancelled(err)
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil:
			return schemas.Fail(schemas.Expired, "the deadline passed before an answer came", err)
		default:
			return schemas.AsFailure(err)
		}
	}
	return schemas.Fail(schemas.Internal, "no step answered the request", nil)
}

// PanicError is a stage's panic, kept from taking the process down: other
// requests are in flight.
type PanicError struct {
	Step  string
	Value any
	Stack []byte
}

// Error names the step. The value is left out: it may hold request content.
func (p *PanicError) Error() string { return "panic in step " + p.Step }

func guard(ctx context.Context, s Step, job *Job) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Step: s.Name, Value: v, Stack: debug.Stack()}
		}
	}()
	return s.Stage.Handle(ctx, job)
}

package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Runner takes jobs from a Source through a Chain to a Deliverer.
type Runner struct {
	Source    Source
	Chain     *Chain
	Deliverer Deliverer
	// Concurrency bounds the jobs in flight.
	Concurrency int
	// Drain is how long jobs in flight may go on after the stop was asked for.
	Drain time.Duration
	// Tracer, if there is one, follows every job.
	Tracer Tracer
	Log    *zap.Logger
}

// Tracer follows jobs across the queue. It is safe for concurrent use and never fails
// a job.
type Tracer interface {
	// Begin is called once a job was read; it may set job.Trace. The context that it
	// returns is for the job's steps. ended is called when the job has its outcome, or
	// with why it is given back.
	Begin(ctx context.Context, job *Job) (_ context.Context, ended func(error))
}

// Run works until ctx is done or the source ends or fails, then waits up to
// Drain for the jobs in flight, cuts off what is left, and returns. When it
// returns, no goroutine of its own is left. It returns nil after a clean stop.
func (r *Runner) Run(ctx context.Context) error {
	var (
		wg      sync.WaitGroup
		slots   = make(chan struct{}, r.Concurrency)
		work    = make(chan Delivery)
		workers int
		err     error
	)
	for ctx.Err() == nil {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			continue // a job taken now would have no slot to give back
		}
		var d Delivery
		d, err = r.Source.Receive(ctx)
		if err != nil {
			break
		}
		// Goroutines stay and take further jobs: a new one for each job would spend
		// a good part of its time growing its stack.
		if workers < r.Concurrency {
			select {
			case work <- d:
				continue
			default:
			}
			workers++
			wg.Go(func() {
				for ok := true; ok; d, ok = <-work {
					r.handle(d)
					<-slots
				}
			})
			continue
		}
		work <- d // a worker is about to be free: it has given back its slot
	}
	close(work)
	if errors.Is(err, io.EOF) || ctx.Err() != nil {
		err = nil
	}
	overdue := time.AfterFunc(r.Drain, r.Source.Cut)
	wg.Wait()
	overdue.Stop()
	return err
}

// handle takes one job through and settles it, or gives it back.
func (r *Runner) handle(d Delivery) {
	s, err := r.settlement(d.Life, d)
	if err != nil {
		if d.Life.Err() == nil {
			r.Log.Warn("job given back", zap.Error(err))
		}
		d.Release(err)
		return
	}
	d.Settle(s)
}

func (r *Runner) settlement(ctx context.Context, d Delivery) (s Settlement, err error) {
	var ended func(error)
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Step: "open or deliver", Value: v, Stack: debug.Stack()}
		}
		if ended != nil {
			ended(err)
		}
	}()
	job, err := d.Open(ctx)
	if err != nil {
		return Settlement{}, fmt.Errorf("reading job: %w", err)
	}
	if r.Tracer != nil {
		ctx, ended = r.Tracer.Begin(ctx, job)
	}
	if err := r.Chain.Run(ctx, job); err != nil {
		return Settlement{}, fmt.Errorf("handling %s: %w", job.Origin.First, err)
	}
	s, err = r.Deliverer.Outputs(ctx, job)
	if err != nil {
		return Settlement{}, fmt.Errorf("encoding outcome of %s: %w", job.Origin.First, err)
	}
	return s, nil
}

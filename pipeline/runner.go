package pipeline

import (
	"context"
	"errors"
	"io"
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
	Log   *zap.Logger
}

// Run works until ctx is done or the source ends or fails, then waits up to
// Drain for the jobs in flight, cuts off what is left, and returns. When it
// returns, no goroutine of its own is left. It returns nil after a clean stop.
func (r *Runner) Run(ctx context.Context) error {
	hard, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	var (
		wg    sync.WaitGroup
		slots = make(chan struct{}, r.Concurrency)
		err   error
	)
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		var d Delivery
		d, err = r.Source.Receive(ctx)
		if err != nil {
			break
		}
		wg.Go(func() {
			r.handle(hard, d)
			<-slots
		})
	}
	if errors.Is(err, io.EOF) || ctx.Err() != nil {
		err = nil
	}
	overdue := time.AfterFunc(r.Drain, cut)
	wg.Wait()
	overdue.Stop()
	return err
}

// handle takes one job through and settles it, or gives it back.
func (r *Runner) handle(ctx context.Context, d Delivery) {
	if err := r.Chain.Run(ctx, d.Job); err != nil {
		r.release(ctx, d, err)
		return
	}
	s, err := r.Deliverer.Outputs(ctx, d.Job)
	if err != nil {
		r.release(ctx, d, err)
		return
	}
	d.Settle(s)
}

func (r *Runner) release(ctx context.Context, d Delivery, err error) {
	if ctx.Err() == nil {
		r.Log.Warn("job given back", zap.String("job", d.Job.Request.ID), zap.Error(err))
	}
	d.Release(err)
}

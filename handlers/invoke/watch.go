package invoke

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// watch follows the pieces of one streamed answer: it passes them on, measures
// them, and cuts the call off when they stay away. Provider calls piece from one
// goroutine.
type watch struct {
	attempt *attempt
	began   time.Time
	done    <-chan struct{} // closed when the call is to end
	idle    *time.Timer     // cuts the call off
	begun   atomic.Bool     // as output, for the timer's goroutine

	output bool          // a token was passed on
	first  time.Duration // when, after the beginning
	last   time.Time     // of the latest piece
	gap    time.Duration // the longest between two pieces
}

// start returns the context of the call. stop frees what it holds.
func (w *watch) start(ctx context.Context) (call context.Context, stop func()) {
	call, cut := context.WithCancelCause(ctx)
	w.done = call.Done()
	whole := time.AfterFunc(w.attempt.config.AttemptTimeout, func() { cut(errAttempt) })
	w.idle = time.AfterFunc(w.attempt.config.FirstTokenTimeout, func() {
		if w.begun.Load() {
			cut(errStalled)
		} else {
			cut(errFirstToken)
		}
	})
	return call, func() {
		whole.Stop()
		w.idle.Stop()
		cut(nil)
	}
}

// piece is the provider's Emit.
func (w *watch) piece(c schemas.Chunk) error {
	select {
	case <-w.done:
		return context.Canceled
	default:
	}
	if c.Type == schemas.ChunkError || c.Type == schemas.ChunkEnd {
		return nil // whether another attempt follows is not the provider's to know
	}
	now := time.Now()
	if w.output {
		w.gap = max(w.gap, now.Sub(w.last))
	}
	w.last = now
	if !w.output && isOutput(c.Type) {
		w.output, w.first = true, now.Sub(w.began)
		w.begun.Store(true)
	}
	if w.output {
		w.idle.Reset(w.attempt.config.StallTimeout)
	}
	return w.attempt.say(c, w.output)
}

// firstToken returns the time to the first token in milliseconds, at least 1,
// or 0 when none was seen.
func (w *watch) firstToken() int64 {
	if !w.output {
		return 0
	}
	return max(w.first.Milliseconds(), 1)
}

// isOutput tells what a model says from what surrounds it: a vendor may send a
// start at once and then think for a minute.
func isOutput(t schemas.ChunkType) bool {
	return t != schemas.ChunkStart && t != schemas.ChunkUsage
}

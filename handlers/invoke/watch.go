package invoke

import (
	"context"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// watch follows the pieces of one streamed answer: it passes them on, measures
// them, and cuts the call off when they stay away. Provider calls piece from one
// goroutine.
type watch struct {
	round *round
	began time.Time
	ctx   <-chan struct{} // the call's
	stop  context.CancelCauseFunc
	timer *time.Timer

	output bool          // a token was passed on
	first  time.Duration // when, after the beginning
	last   time.Time     // of the latest piece
	gap    time.Duration // the longest between two pieces
}

// piece is the provider's Emit.
func (w *watch) piece(c schemas.Chunk) error {
	select {
	case <-w.ctx:
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
	switch {
	case w.output:
		w.timer.Reset(w.round.config.StallTimeout)
	case isOutput(c.Type):
		w.output, w.first = true, now.Sub(w.began)
		w.timer.Stop()
		w.timer = time.AfterFunc(w.round.config.StallTimeout, func() { w.stop(errStalled) })
	}
	w.round.emit(c)
	return nil
}

func (w *watch) close() { w.timer.Stop() }

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

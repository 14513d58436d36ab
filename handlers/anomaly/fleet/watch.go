package fleet

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sira-ai/sira/handlers/anomaly/endpoint"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// Name is an endpoint's.
type Name struct{ Provider, Endpoint string }

// mostEndpoints bounds what a Watch keeps; further endpoints are not watched.
const mostEndpoints = 4096

// Watch adds up what calls tell of their endpoints: constant memory for each,
// whatever the traffic. The zero value is ready. It is safe for concurrent use.
type Watch struct {
	cells  atomic.Pointer[map[Name]*cell] // replaced, never changed
	adding sync.Mutex
}

type cell struct {
	mu    sync.Mutex
	stats endpoint.Stats
	gone  bool // nobody will take what is added
}

// Observe counts a finished call.
func (w *Watch) Observe(n Name, c endpoint.Call) {
	for {
		at := w.cell(n)
		if at == nil || at.observe(c) {
			return
		}
	}
}

// observe reports false where the cell was forgotten since it was found.
func (a *cell) observe(c endpoint.Call) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone {
		return false
	}
	a.stats.Observe(c)
	return true
}

func (w *Watch) cell(n Name) *cell {
	if known := w.cells.Load(); known != nil {
		if c := (*known)[n]; c != nil {
			return c
		}
	}
	w.adding.Lock()
	defer w.adding.Unlock()
	all := map[Name]*cell{}
	if known := w.cells.Load(); known != nil {
		if c := (*known)[n]; c != nil {
			return c
		}
		if len(*known) >= mostEndpoints {
			return nil
		}
		all = maps.Clone(*known)
	}
	c := new(cell)
	all[n] = c
	w.cells.Store(&all)
	return c
}

// Take returns what was seen since the last Take of every endpoint that had calls.
// Endpoints that keep does not name are forgotten, unless they had.
func (w *Watch) Take(keep map[Name]bool) map[Name]endpoint.Stats {
	w.adding.Lock()
	defer w.adding.Unlock()
	known := w.cells.Load()
	if known == nil {
		return nil
	}
	out := make(map[Name]endpoint.Stats)
	stay := make(map[Name]*cell, len(*known))
	for n, c := range *known {
		s, gone := c.take(keep[n])
		if s.Calls > 0 {
			out[n] = s
		}
		if !gone {
			stay[n] = c
		}
	}
	// Whoever found a forgotten cell meanwhile looks again until now.
	w.cells.Store(&stay)
	return out
}

// take empties the cell, and ends it if it was empty and is not to be kept.
func (a *cell) take(keep bool) (s endpoint.Stats, gone bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, a.stats = a.stats, endpoint.Stats{}
	a.gone = s.Calls == 0 && !keep
	return s, a.gone
}

// Stage returns the settle step that observes the calls of every job's round. It
// never fails a job.
func (w *Watch) Stage() pipeline.Stage {
	return pipeline.StageFunc(func(_ context.Context, job *pipeline.Job) error {
		for i := range job.Attempts {
			a := &job.Attempts[i]
			if a.Round != job.Origin.Round {
				continue
			}
			if c, tells := CallOf(a); tells {
				w.Observe(Name{a.Target.Provider, a.Target.Endpoint}, c)
			}
		}
		return nil
	})
}

// CallOf returns what an attempt tells of its endpoint's health. It reports false
// where that is nothing: the call was cancelled or never sent, or it is the
// credential that was refused.
func CallOf(a *schemas.Attempt) (c endpoint.Call, tells bool) {
	switch a.Outcome {
	case schemas.OK:
		return endpoint.Call{
			FirstToken: millis(a.FirstTokenMS), Gap: millis(a.MaxGapMS), Latency: millis(a.LatencyMS),
			Input: a.Usage.InputTokens, Output: a.Usage.OutputTokens,
		}, true
	case schemas.RateLimited:
		c.Outcome = endpoint.Limited
	case schemas.Overloaded:
		c.Outcome = endpoint.Overloaded
	case schemas.StreamInterrupted:
		c.Outcome = endpoint.Truncated
	case schemas.InvalidRequest, schemas.Unsupported, schemas.ContextLength, schemas.PayloadTooLarge, schemas.ContentFiltered, schemas.Conflict:
		c.Outcome = endpoint.OK
	default:
		if !a.Outcome.Policy().Breaker {
			return c, false
		}
		c.Outcome = endpoint.Fault
	}
	return c, a.Phase != schemas.PhaseLocal
}

func millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

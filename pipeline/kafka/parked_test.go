package kafka

import (
	"context"
	"testing"
	"time"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

func (e *Engine) waiting() int {
	e.parked.mu.Lock()
	defer e.parked.mu.Unlock()
	return len(e.parked.items)
}

// Of two requests that wait an hour for their next round, one is cancelled before it is
// read from the retry topic and one while it waits there. A third waits on.
func TestACancelledRequestDoesNotWaitForItsRound(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	book := pipeline.NewCancelBook(10, time.Hour)
	cancel := func(id string) {
		book.Cancel(schemas.Cancel{Tenant: "t", RequestID: id}, time.Now())
		r.engine.Load().Hurry("t", id)
	}
	work := func(_ context.Context, j *pipeline.Job) error {
		if j.Origin.Round > 0 {
			return schemas.Fail(schemas.Cancelled, "", nil)
		}
		if j.Request.ID == "r000000" {
			cancel(j.Request.ID)
		}
		f := schemas.Fail(schemas.RateLimited, "", nil)
		f.RetryAfterMS = time.Hour.Milliseconds()
		return f
	}
	lanes := []LaneConfig{{Name: "standard", Topics: []string{"requests"}}, {Name: "retry", Topics: []string{"retry"}, Retry: true}}
	stop := r.worker("w1", lanes, work, func(c *EngineConfig) { c.Cancelled = book.Cancelled })
	defer stop()
	r.send(0, 3)
	r.collect("results", 1)
	engine := r.engine.Load()
	for limit := time.Now().Add(30 * time.Second); engine.waiting() != 2; <-time.After(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%d wait for their round, want two", engine.waiting())
		}
	}
	cancel("r000001")
	values, _ := r.collect("results", 2)
	if len(values["r000000"]) != 1 || len(values["r000001"]) != 1 || values["r000002"] != nil {
		t.Errorf("results: %v", values)
	}
}

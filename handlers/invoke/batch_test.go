package invoke

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// bureau is a vendor with batches: begin says how each try to begin one ends.
type bureau struct {
	worker

	begin  []error
	again  []bool
	state  schemas.JobState
	refuse error // of the first call of a batch
	ended  int
}

func (*bureau) Takes(schemas.Operation) bool { return true }

func (v *bureau) Begin(_ context.Context, b provider.Batch, refuse func(int, error)) (schemas.Job, error) {
	v.again = append(v.again, b.Again)
	if v.refuse != nil && b.Calls[0].Request != nil {
		refuse(0, v.refuse)
	}
	if err := v.begin[min(len(v.again), len(v.begin))-1]; err != nil {
		return schemas.Job{}, err
	}
	return schemas.Job{ID: "batch-1", State: schemas.JobRunning}, nil
}

func (v *bureau) Look(context.Context, provider.Batch, schemas.Job) (schemas.Job, error) {
	return schemas.Job{ID: "batch-1", State: v.state}, nil
}

func (v *bureau) Results(_ context.Context, b provider.Batch, _ schemas.Job, each func(int, *schemas.Response, error)) error {
	for i, c := range b.Calls[1:] {
		if c.Request != nil {
			each(i+1, picture(), nil)
		}
	}
	return nil
}

func (v *bureau) End(context.Context, provider.Batch, schemas.Job) error {
	v.ended++
	return nil
}

type marks map[string]bool

func (m marks) Mark(_ context.Context, name string) (bool, error) {
	was := m[name]
	m[name] = true
	return was, nil
}

// bundle is a batch of two requests for provider a, with b as another one that has
// batches.
func bundle(more bool) *pipeline.Job {
	job := &pipeline.Job{Request: &schemas.Request{ID: "batch sha256:0123"}, Created: time.Now()}
	for range 2 {
		m := askPicture("a", "b").Job
		m.Outgoing = m.Request
		m.Deadline = time.Now().Add(time.Hour)
		m.Pending = &pipeline.Pending{Attempt: schemas.Attempt{Number: 1, Target: schemas.Target{Provider: "a", Endpoint: "a-0", Model: "m"}, Reason: ReasonFirst}, More: more}
		job.Members = append(job.Members, m)
	}
	return job
}

func batching(t *testing.T, v *bureau) *Stage {
	t.Helper()
	s := build(t, nil, map[string]provider.Provider{"a": v}, 1)
	s.Marks = marks{}
	return s.Stage
}

func look(t *testing.T, s *Stage, job *pipeline.Job) {
	t.Helper()
	job.Parked = 0
	if err := s.Batch(t.Context(), job); err != nil {
		t.Fatal(err)
	}
}

// The answer to the call that began a batch was lost: the next try looks for it first.
func TestABatchOfUnknownOutcomeIsLookedForBeforeItIsBegunAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &bureau{begin: []error{schemas.Fail(schemas.Network, "", nil), nil}, state: schemas.JobSucceeded}
		s, job := batching(t, v), bundle(false)
		look(t, s, job)
		if job.Parked == 0 || job.Pending.Job.ID != "" {
			t.Fatalf("parked %s with job %+v", job.Parked, job.Pending.Job)
		}
		look(t, s, job)
		if len(v.again) != 2 || v.again[0] || !v.again[1] || job.Pending.Job.ID != "batch-1" || job.Parked == 0 {
			t.Errorf("begun again %v, job %+v, parked %s", v.again, job.Pending.Job, job.Parked)
		}
	})
}

// A call that the vendor does not take leaves the batch at once, one that the results
// do not tell of fails, and the batch remembers whom it goes on without.
func TestRequestsLeaveTheirBatchOneByOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &bureau{begin: []error{nil}, state: schemas.JobSucceeded, refuse: schemas.Fail(schemas.Unsupported, "tools", nil)}
		s, job := batching(t, v), bundle(false)
		look(t, s, job)
		if first := job.Members[0]; first.Failure == nil || first.Failure.Code != schemas.Unsupported || job.Parked == 0 || job.Pending.Settled[0] != 1 {
			t.Fatalf("failure %v, parked %s, settled %v", first.Failure, job.Parked, job.Pending.Settled)
		}
		job.Members[0] = nil // as the next round reads it
		look(t, s, job)
		second := job.Members[1]
		if second.Response == nil || second.Response.Usage.Tier != "batch" || len(second.Attempts) != 1 || second.Attempts[0].Outcome != schemas.OK || job.Parked != 0 {
			t.Errorf("response %+v, attempts %+v, parked %s", second.Response, second.Attempts, job.Parked)
		}
	})
}

// What the vendor refuses as a whole goes to another target that has batches.
func TestARefusedBatchFallsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &bureau{begin: []error{schemas.Fail(schemas.Permission, "", nil)}}
		job := bundle(true)
		look(t, batching(t, v), job)
		for _, m := range job.Members {
			if m.Failure != nil || m.Parked == 0 || m.Pending != nil || len(m.Attempts) != 1 {
				t.Errorf("failure %v, parked %s, attempts %v", m.Failure, m.Parked, m.Attempts)
			}
		}
		if job.Parked != 0 || v.ended != 0 {
			t.Errorf("the batch is parked for %s", job.Parked)
		}
	})
}

// One of two requests is cancelled before the batch is begun and never goes up; the
// other leaves it while the vendor is at work, and takes the batch with it. What went
// up counts.
func TestCancelledRequestsLeaveTheirBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &bureau{begin: []error{nil}, state: schemas.JobRunning}
		s, job := batching(t, v), bundle(true)
		first, second := job.Members[0], job.Members[1]
		for _, m := range job.Members {
			m.Outgoing.Messages = []schemas.Message{schemas.TextMessage(schemas.RoleUser, "a few words to count")}
		}
		first.Cancel()
		look(t, s, job)
		if first.Failure == nil || first.Failure.Code != schemas.Cancelled || len(first.Attempts) != 0 || job.Parked == 0 {
			t.Fatalf("failure %v, attempts %v, parked %s", first.Failure, first.Attempts, job.Parked)
		}
		second.Cancel()
		look(t, s, job)
		if second.Failure == nil || second.Failure.Code != schemas.Cancelled || second.Parked != 0 || job.Parked != 0 || v.ended != 1 {
			t.Fatalf("failure %v, parked %s and %s, the batch ended %d times", second.Failure, second.Parked, job.Parked, v.ended)
		}
		if a := second.Attempts; len(a) != 1 || a[0].Usage.InputTokens == 0 || a[0].Usage.Tier != batchTier {
			t.Errorf("attempts %+v", a)
		}
	})
}

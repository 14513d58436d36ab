package invoke

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// worker is a vendor that works in its own time: each look gives the next answer.
type worker struct {
	begin, looks int
	cancelled    int
	answers      []any // *schemas.Response or *schemas.Failure
}

func (w *worker) Infer(context.Context, provider.Call, provider.Emit) (*schemas.Response, error) {
	w.begin++
	return running(), nil
}

func (w *worker) Poll(_ context.Context, _ provider.Call, job schemas.Job, _ provider.Emit) (*schemas.Response, error) {
	if job.ID != "job-1" {
		return nil, schemas.Fail(schemas.NotFound, "no such job", nil)
	}
	w.looks++
	switch a := w.answers[min(w.looks, len(w.answers))-1].(type) {
	case *schemas.Failure:
		return nil, a
	case *schemas.Response:
		return a, nil
	}
	return nil, nil
}

func (w *worker) Cancel(context.Context, provider.Call, schemas.Job) error {
	w.cancelled++
	return nil
}

func running() *schemas.Response {
	return &schemas.Response{Job: &schemas.Job{ID: "job-1", State: schemas.JobRunning}}
}

func picture() *schemas.Response {
	return &schemas.Response{
		Media: []schemas.Media{{MIME: "image/png", URL: "https://vendor.test/1.png"}},
		Job:   &schemas.Job{ID: "job-1", State: schemas.JobSucceeded},
		Usage: schemas.Usage{Source: schemas.UsageReported},
	}
}

// rounds takes the request through the stage as the retry topics would, until it
// is not parked any more. Another worker takes each round.
func rounds(t *testing.T, pools map[string]provider.Provider, job *order) (n int, waited time.Duration, err error) {
	t.Helper()
	for {
		s := build(t, nil, pools, 1)
		job.Parked = 0
		err = s.Handle(t.Context(), job.Job)
		if job.Parked == 0 {
			return n, waited, err
		}
		if job.Response != nil || err != nil {
			t.Fatalf("parked with response %v and error %v", job.Response, err)
		}
		n++
		waited += job.Parked
		time.Sleep(job.Parked)
		job.Origin.Round++
		job.Origin.Looks++
	}
}

func askPicture(targets ...string) *order {
	job := ask(targets...)
	job.Request.Op = schemas.OpImage
	job.Request.Image = &schemas.ImageSpec{Prompt: "a cat"}
	return job
}

func TestAVendorsLongJobIsFollowedByWhoeverComesNext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &worker{answers: []any{running(), schemas.Fail(schemas.Network, "", nil), running(), picture()}}
		job := askPicture("a")
		n, waited, err := rounds(t, map[string]provider.Provider{"a": w}, job)
		if err != nil || job.Response == nil || len(job.Response.Media) != 1 {
			t.Fatalf("error %v, response %+v", err, job.Response)
		}
		if n != 4 || w.begin != 1 || w.looks != 4 || waited < 10*time.Second {
			t.Errorf("%d rounds in %v, begun %d times, looked %d times: want 4, slower each time, 1, 4", n, waited, w.begin, w.looks)
		}
		if diff := cmp.Diff([]string{"1 a first ok"}, job.story()); diff != "" {
			t.Error(diff)
		}
		if a := job.Attempts[0]; a.LatencyMS < waited.Milliseconds() || a.Round != job.Origin.Round {
			t.Errorf("attempt took %d ms in round %d, want the whole time, in the last round", a.LatencyMS, a.Round)
		}
	})
}

func TestAJobThatFailsAtItsVendorFallsOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &worker{answers: []any{running(), schemas.Fail(schemas.Internal, "out of memory", nil)}}
		other := &worker{answers: []any{picture()}}
		job := askPicture("a", "b")
		_, _, err := rounds(t, map[string]provider.Provider{"a": w, "b": other}, job)
		if err != nil || job.Response == nil {
			t.Fatalf("error %v, response %v", err, job.Response)
		}
		if diff := cmp.Diff([]string{"1 a first internal", "2 b fallback ok"}, job.story()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestAJobThatIsRefusedForItsContentIsNotTakenElsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &worker{answers: []any{schemas.Fail(schemas.ContentFiltered, "", nil)}}
		other := &worker{answers: []any{picture()}}
		job := askPicture("a", "b")
		_, _, err := rounds(t, map[string]provider.Provider{"a": w, "b": other}, job)
		if f := failure(t, err); f.Code != schemas.ContentFiltered || other.begin != 0 {
			t.Errorf("failure %v with %d calls elsewhere", f, other.begin)
		}
	})
}

func TestAJobIsCancelledAtItsVendorWhenTheRequestExpires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &worker{answers: []any{running()}}
		job := askPicture("a", "b")
		job.Deadline = time.Now().Add(20 * time.Second)
		began := time.Now()
		_, _, err := rounds(t, map[string]provider.Provider{"a": w, "b": &worker{}}, job)
		if f := failure(t, err); f.Code != schemas.Timeout || w.cancelled != 1 {
			t.Errorf("failure %v, cancelled %d times", f, w.cancelled)
		}
		if took := time.Since(began); took < 20*time.Second || took > 21*time.Second {
			t.Errorf("took %v, want the deadline of 20 s", took)
		}
		if diff := cmp.Diff([]string{"1 a first timeout"}, job.story()); diff != "" {
			t.Error(diff)
		}
	})
}

// The vendor takes a moment to stop, and then says what it bills for the work so far.
func TestAJobIsCancelledAtItsVendorWhenTheRequestIs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stopped := schemas.Fail(schemas.Cancelled, "the prediction was cancelled", nil)
		stopped.Usage = &schemas.Usage{OutputTokens: 7, Source: schemas.UsageReported}
		w := &worker{answers: []any{running(), stopped}}
		job := askPicture("a", "b")
		job.Pending = &pipeline.Pending{Job: *running().Job, Attempt: schemas.Attempt{Number: 1, Target: schemas.Target{Provider: "a", Endpoint: "a-0"}, Reason: ReasonFirst}}
		job.Cancel()
		_, _, err := rounds(t, map[string]provider.Provider{"a": w, "b": &worker{}}, job)
		if f := failure(t, err); f.Code != schemas.Cancelled || w.cancelled != 1 || w.begin != 0 {
			t.Errorf("failure %v, cancelled %d times, begun %d times", f, w.cancelled, w.begin)
		}
		if diff := cmp.Diff([]string{"1 a first cancelled"}, job.story()); diff != "" {
			t.Error(diff)
		}
		if u := job.Attempts[0].Usage; u.OutputTokens != 7 {
			t.Errorf("usage %+v, want what the vendor says", u)
		}
	})
}

// A call is cut off in the midst. What it had begun is paid for, and the stream has an
// end, unlike that of a request that goes on elsewhere.
func TestACallOfACancelledRequestIsCutOffAndCounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		job := ask("a", "b")
		job.Request.Stream = true
		job.Request.Messages = []schemas.Message{schemas.TextMessage(schemas.RoleUser, strings.Repeat("word ", 100))}
		ctx, stop := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, func() { job.Cancel(); stop() })
		began := time.Now()
		err := build(t, nil, map[string]provider.Provider{"a": streaming(0, 2), "b": good()}, 1).Handle(ctx, job.Job)
		if f := failure(t, err); f.Code != schemas.Cancelled || time.Since(began) != time.Second {
			t.Errorf("failure %v after %v", f, time.Since(began))
		}
		if diff := cmp.Diff([]string{"1 a first cancelled"}, job.story()); diff != "" {
			t.Error(diff)
		}
		if job.pieces() != "1.0:start 1.1:text_delta 1.2:error 1.3:end" {
			t.Errorf("pieces %s", job.pieces())
		}
		if u := job.Attempts[0].Usage; u.InputTokens < 50 || u.Source != schemas.UsageEstimated {
			t.Errorf("usage %+v, want an estimate of the input", u)
		}
	})
}

func TestAJobOfAnEndpointThatIsGoneIsBegunElsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		job := askPicture("b")
		job.Pending = &pipeline.Pending{
			Job:     schemas.Job{ID: "job-1", State: schemas.JobRunning},
			Attempt: schemas.Attempt{Number: 1, Target: schemas.Target{Provider: "a", Endpoint: "a-0"}, Reason: ReasonFirst, StartedAt: time.Now()},
		}
		_, _, err := rounds(t, map[string]provider.Provider{"b": &worker{answers: []any{picture()}}}, job)
		if err != nil || job.Response == nil || job.Answered.Provider != "b" {
			t.Errorf("error %v, answered by %v", err, job.Answered)
		}
	})
}

package pipeline

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// step is a stage that counts its runs and does f.
type step struct {
	runs int
	f    func(context.Context, *Job) error
}

func (s *step) Handle(ctx context.Context, job *Job) error {
	s.runs++
	if s.f == nil {
		return nil
	}
	return s.f(ctx, job)
}

func answer(_ context.Context, job *Job) error {
	job.Response = &schemas.Response{}
	return nil
}

func hang(ctx context.Context, _ *Job) error {
	<-ctx.Done()
	return ctx.Err()
}

func jobDue(d time.Duration) *Job {
	return &Job{Request: &schemas.Request{ID: "r"}, Deadline: time.Now().Add(d)}
}

func chainOf(ask, settle *step) *Chain {
	return &Chain{Ask: []Step{{"ask", ask}}, Settle: []Step{{"settle", settle}}}
}

func TestExpiredRequestIsAnsweredNotCalled(t *testing.T) {
	t.Parallel()
	ask, settle := &step{f: answer}, &step{}
	job := jobDue(-time.Second)
	if err := chainOf(ask, settle).Run(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	if ask.runs != 0 || settle.runs != 1 || job.Outcome() != schemas.Expired {
		t.Errorf("asked %d times, settled %d times, outcome %s; want 0, 1, expired", ask.runs, settle.runs, job.Outcome())
	}
}

func TestDeadlineDuringTheCallEndsItAsExpired(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		settle := &step{}
		job := jobDue(time.Minute)
		if err := chainOf(&step{f: hang}, settle).Run(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		if took := time.Until(job.Deadline); took != 0 {
			t.Errorf("ended %s before the deadline", took)
		}
		if job.Outcome() != schemas.Expired || settle.runs != 1 || job.Completed.IsZero() {
			t.Errorf("outcome %s, settled %d times, completed %s", job.Outcome(), settle.runs, job.Completed)
		}
	})
}

// A stage's own time limit is that stage's failure and not the request's deadline.
func TestTimeLimitOfAStageIsNotTheRequestsDeadline(t *testing.T) {
	t.Parallel()
	job := jobDue(time.Hour)
	ask := &step{f: func(context.Context, *Job) error { return context.DeadlineExceeded }}
	if err := chainOf(ask, &step{}).Run(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	if job.Outcome() != schemas.Internal {
		t.Errorf("outcome %s, want internal", job.Outcome())
	}
}

func TestEveryOutcomeIsSettled(t *testing.T) {
	t.Parallel()
	refused := schemas.Fail(schemas.Unroutable, "no such model", nil)
	for name, c := range map[string]struct {
		f     func(context.Context, *Job) error
		given *schemas.Failure
		want  schemas.Code
		asked int
	}{
		"answered":              {answer, nil, schemas.OK, 1},
		"failed with a code":    {func(context.Context, *Job) error { return refused }, nil, schemas.Unroutable, 1},
		"failed without a code": {func(context.Context, *Job) error { return errors.New("oops") }, nil, schemas.Internal, 1},
		"panicked":              {func(context.Context, *Job) error { panic("prompt text") }, nil, schemas.Internal, 1},
		"nobody answered":       {nil, nil, schemas.Internal, 1},
		"no request at all":     {answer, schemas.Fail(schemas.InvalidRequest, "", nil), schemas.InvalidRequest, 0},
	} {
		ask, settle := &step{f: c.f}, &step{}
		job := jobDue(time.Hour)
		job.Failure = c.given
		if err := chainOf(ask, settle).Run(t.Context(), job); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if job.Outcome() != c.want || ask.runs != c.asked || settle.runs != 1 {
			t.Errorf("%s: outcome %s, asked %d, settled %d; want %s, %d, 1", name, job.Outcome(), ask.runs, settle.runs, c.want, c.asked)
		}
	}
}

func TestAnswerEndsTheAsking(t *testing.T) {
	t.Parallel()
	first, second := &step{f: answer}, &step{f: answer}
	c := &Chain{Ask: []Step{{"cache", first}, {"provider", second}}}
	if err := c.Run(t.Context(), jobDue(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if first.runs != 1 || second.runs != 0 {
		t.Errorf("the steps ran %d and %d times, want 1 and 0", first.runs, second.runs)
	}
}

func TestPanicNamesTheStepAndKeepsItsValueToItself(t *testing.T) {
	t.Parallel()
	job := jobDue(time.Hour)
	if err := chainOf(&step{f: func(context.Context, *Job) error { panic("prompt text") }}, &step{}).Run(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	p, ok := errors.AsType[*PanicError](job.Failure)
	if !ok || p.Step != "ask" || len(p.Stack) == 0 {
		t.Fatalf("failure %v does not carry the panic", job.Failure)
	}
	if text := p.Error() + job.Failure.Error() + job.Failure.Message; strings.Contains(text, "prompt") {
		t.Errorf("%q shows the panic's value", text)
	}
}

func TestJobCutOffByAStopIsNotSettled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	stopping := errors.New("stopping")
	settle := &step{}
	ask := &step{f: func(ctx context.Context, _ *Job) error { cancel(stopping); return ctx.Err() }}
	if err := chainOf(ask, settle).Run(ctx, jobDue(time.Hour)); !errors.Is(err, stopping) {
		t.Errorf("error %v, want the reason of the stop", err)
	}
	if settle.runs != 0 {
		t.Error("a job that was cut off was settled")
	}
}

// The call was made and paid for: throwing its answer away because of a stop
// would make it twice.
func TestAnswerThatCameDuringAStopIsKept(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	settle := &step{}
	ask := &step{f: func(ctx context.Context, job *Job) error { cancel(); return answer(ctx, job) }}
	if err := chainOf(ask, settle).Run(ctx, jobDue(time.Hour)); err != nil || settle.runs != 1 {
		t.Errorf("error %v, settled %d times, want none and once", err, settle.runs)
	}
}

func TestJobThatCanNotBeSettledIsNotAcknowledged(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(context.Context, *Job) error{
		"error": func(context.Context, *Job) error { return errors.New("no price book") },
		"panic": func(context.Context, *Job) error { panic("no price book") },
	} {
		err := chainOf(&step{f: answer}, &step{f: f}).Run(t.Context(), jobDue(time.Hour))
		if err == nil || !strings.Contains(err.Error(), "settle") {
			t.Errorf("%s: error %v, want one that names the step", name, err)
		}
	}
}

// revoke cancels the request of jobDue.
func revoke(b *CancelBook) { b.Cancel(schemas.Cancel{RequestID: "r"}, time.Now()) }

func TestACancelledRequestIsAnsweredNotCalled(t *testing.T) {
	t.Parallel()
	ask, settle := &step{f: answer}, &step{}
	c, job := chainOf(ask, settle), jobDue(time.Hour)
	known := NewCancelBook(1, time.Hour)
	revoke(known)
	c.Cancels = known
	if err := c.Run(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	if ask.runs != 0 || settle.runs != 1 || job.Outcome() != schemas.Cancelled || len(known.watched) != 0 {
		t.Errorf("asked %d times, settled %d times, outcome %s, %d watched", ask.runs, settle.runs, job.Outcome(), len(known.watched))
	}
}

// What a vendor is at work on has to be ended there, by the step that began it.
func TestACancelledRequestThatWaitsForAVendorIsStillAsked(t *testing.T) {
	t.Parallel()
	ended := false
	ask := &step{f: func(_ context.Context, job *Job) error {
		ended = job.Cancelled()
		return schemas.Fail(schemas.Cancelled, "ended", nil)
	}}
	c, job := chainOf(ask, &step{}), jobDue(time.Hour)
	known := NewCancelBook(1, time.Hour)
	revoke(known)
	c.Cancels, job.Pending = known, new(Pending)
	if err := c.Run(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	if !ended || job.Failure.Message != "ended" {
		t.Errorf("ended at the vendor: %t, failure %v", ended, job.Failure)
	}
}

func TestACancelledRequestIsCutOffAndSettled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		settle := &step{f: func(ctx context.Context, _ *Job) error { return ctx.Err() }}
		c, job := chainOf(&step{f: hang}, settle), jobDue(time.Hour)
		known := NewCancelBook(1, time.Hour)
		c.Cancels = known
		time.AfterFunc(time.Second, func() { revoke(known) })
		if err := c.Run(t.Context(), job); err != nil {
			t.Fatal(err)
		}
		if job.Outcome() != schemas.Cancelled || settle.runs != 1 {
			t.Errorf("outcome %s, settled %d times", job.Outcome(), settle.runs)
		}
	})
}

// The answer was there when the cancellation came: it is paid for, so it is given.
func TestAnAnswerIsNotTakenBackByACancellation(t *testing.T) {
	t.Parallel()
	c, job := chainOf(nil, &step{}), jobDue(time.Hour)
	known := NewCancelBook(1, time.Hour)
	c.Cancels = known
	c.Ask[0].Stage = &step{f: func(ctx context.Context, job *Job) error { revoke(known); return answer(ctx, job) }}
	if err := c.Run(t.Context(), job); err != nil || job.Outcome() != schemas.OK {
		t.Errorf("error %v, outcome %s", err, job.Outcome())
	}
}

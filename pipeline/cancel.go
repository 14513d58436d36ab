package pipeline

import (
	"errors"

	"github.com/sira-ai/sira/schemas"
)

// Cancels tells of requests that nobody waits for any more. It is safe for concurrent
// use.
type Cancels interface {
	// Watch has the job cancelled ([Job.Cancel]) once its request is, and calls stop
	// after that, both at once and before it returns if the request was cancelled
	// already. stop may be nil, does not block and is called once at most.
	Watch(job *Job, stop func())
	// Unwatch ends what Watch began. When it returns, stop is not called any more.
	Unwatch(job *Job)
}

// Cancel says that nobody waits for the job's answer any more. Unlike all else of a
// job, any goroutine may call it.
func (j *Job) Cancel() { j.cancelled.Store(true) }

// Cancelled reports whether nobody waits for the job's answer any more.
func (j *Job) Cancelled() bool { return j.cancelled.Load() }

// asCancelled is the failure of a request that was cancelled while a step was at work
// on it. Only the step knows what it cost.
func asCancelled(err error) *schemas.Failure {
	if f, ok := errors.AsType[*schemas.Failure](err); ok && f.Code == schemas.Cancelled {
		return f
	}
	return cancelled()
}

// cancelled is the failure of a request that was cancelled before it was taken up.
func cancelled() *schemas.Failure {
	return schemas.Fail(schemas.Cancelled, "the request was cancelled", nil)
}

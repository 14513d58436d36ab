package provider

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// Batch is calls that a vendor does together, in its own time and at its price for
// that.
type Batch struct {
	// ID names the batch for good: up to 32 letters and digits.
	ID string
	// Calls are by their place in the batch. One without a Request is not part of it any
	// more.
	Calls []Call
	// Since is a time before anybody asked for the batch to be begun.
	Since time.Time
	// Again says that a batch of this ID may have been begun already, by someone who
	// did not live to tell.
	Again bool
}

// Batcher is the ability to do calls as a batch. It is safe for concurrent use; its
// errors are *schemas.Failure, but for the two below.
type Batcher interface {
	// Takes reports whether the vendor does the operation in batches.
	Takes(op schemas.Operation) bool
	// Begin hands the calls over and returns the vendor's job. Calls that can't be part
	// of it are told to refuse, with their place and why, [ErrBatchFull] for those that
	// find no room; when none is left the job has no ID. Again, it first looks for the
	// job that was begun, as far as the vendor lets it.
	Begin(ctx context.Context, b Batch, refuse func(i int, why error)) (schemas.Job, error)
	// Look asks how the job stands. It returns [ErrNoBatch] when the job turns out to be
	// somebody else's, and a *schemas.Failure for a job that failed as a whole.
	Look(ctx context.Context, b Batch, job schemas.Job) (schemas.Job, error)
	// Results reads what became of the calls of a job that is done, in any order. Calls
	// that it does not tell have no answer.
	Results(ctx context.Context, b Batch, job schemas.Job, each func(i int, res *schemas.Response, err error)) error
	// End cancels the job. It returns no error for one that has ended.
	End(ctx context.Context, b Batch, job schemas.Job) error
}

// What a Batcher says beside failures.
var (
	ErrBatchFull = errors.New("the batch has no room for the call")
	ErrNoBatch   = errors.New("the vendor has no such batch")
)

// Sender sends a request and returns the answer, whose body is bounded and has to be
// closed. Its error is a *schemas.Failure.
type Sender func(*http.Request) (*http.Response, error)

// BatchAdapter is the ability of an Adapter to speak its vendor's API for batches. It
// does its exchanges by send, in which ctx is the request's own.
type BatchAdapter interface {
	Adapter
	// Batches returns nil where there is no such API.
	Batches(send Sender) Batcher
}

// maxBatchBytes bounds the answer to a question about a batch: the results of 50,000
// calls come in one.
const maxBatchBytes = 2 << 30

// BatcherOf returns what does the calls of p in batches, or nil.
func BatcherOf(p Provider) Batcher {
	if b, ok := p.(interface{ batcher() Batcher }); ok {
		return b.batcher()
	}
	b, _ := p.(Batcher)
	return b
}

func (p *overHTTP) batcher() Batcher {
	a, ok := p.adapter.(BatchAdapter)
	if !ok {
		return nil
	}
	return a.Batches(func(req *http.Request) (*http.Response, error) {
		large := *p
		large.limit = maxBatchBytes
		traced, sent := noticeConnection(req.Context())
		return large.send(req.Context(), req.WithContext(traced), sent)
	})
}

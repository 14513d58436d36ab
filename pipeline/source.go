package pipeline

import (
	"context"
	"errors"
	"time"
)

// Header is one header of a Record.
type Header struct {
	Key   string
	Value []byte
}

// Record is one message for a topic, free of any client's types.
type Record struct {
	Topic   string
	Key     []byte
	Value   []byte
	Headers []Header
}

// Settlement is what the source has to make durable for a job.
type Settlement struct {
	// Outputs are written together with the fact that the job is done: all or
	// nothing.
	Outputs []Record
	// Retry, when above zero, asks for another round after this long. The source
	// then keeps the request and Outputs holds only what this round leaves behind.
	Retry time.Duration
	// RetryHeaders are added to the request record of the next round.
	RetryHeaders []Header
	// Collect, when not empty, asks for the request to be kept until there are enough
	// of the same key for a batch. RetryHeaders are added to it as well.
	Collect string
	// Moves are the requests of a batch that go on by themselves.
	Moves []Move
}

// Move is another round for a request that was part of a batch.
type Move struct {
	Record  Record        // the request as the source gave it out
	Wait    time.Duration // above zero
	Headers []Header      // added to it
}

// Delivery is one job handed over by a Source with the duty to settle it.
type Delivery struct {
	// Open reads the job. It may fetch a claim-checked payload. A record that is no
	// request gives a job with Failure and Dead set, not an error; an error means
	// that the job could not be read now, and that it must be released.
	Open func(ctx context.Context) (*Job, error)
	// Life ends once the job no longer belongs to this source, so that its outcome
	// would be thrown away, or when the source is Cut.
	Life context.Context //nolint:containedctx // of the job, not of a call
	// Settle hands over what became of the job. The source makes it durable soon;
	// Settle does not wait for that and does not block for long.
	Settle func(Settlement)
	// Release gives the job back unsettled: it is delivered again, here after a
	// pause or elsewhere. A job that is given back again and again because of a
	// *PanicError or ErrHopeless comes as a failed job that is dead. Exactly one of
	// Settle and Release is called, once.
	Release func(cause error)
}

// ErrHopeless is in the chain of errors that the same job would meet again, such as
// an outcome that can't be written down.
var ErrHopeless = errors.New("trying again is of no use")

// Source yields jobs.
type Source interface {
	// Cut ends the Life of every job that was handed over and is not settled.
	Cut()
	// Receive blocks until a job is ready, ctx is done, or nothing more will
	// come, which it reports as io.EOF. It is safe for concurrent use.
	Receive(ctx context.Context) (Delivery, error)
}

// Deliverer writes down the outcome of a job as records. It does no I/O beyond
// the claim check of large payloads. It is safe for concurrent use.
type Deliverer interface {
	Outputs(ctx context.Context, job *Job) (Settlement, error)
}

// Package provider gets answers from AI vendors. Each vendor is a folder with an
// Adapter that translates between Sira's schemas and the vendor's HTTP API;
// providertest is the contract that all of them pass.
package provider

import (
	"context"
	"net/http"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// Call is one attempt at one request.
type Call struct {
	// Request is what is asked. It is shared with other attempts: nobody changes
	// it.
	Request *schemas.Request
	// Model is the vendor's name of the model.
	Model string
	// IdempotencyKey is the same for every attempt at this request, for vendors
	// that honour one.
	IdempotencyKey string
	// RateLimit, where it is not nil, is told what the vendor says of its limits,
	// before the answer is read and also when that is a refusal.
	RateLimit func(wire.RateLimit)
	// Fetch, where it is not nil, gets media that a requester gave by URL, for vendors
	// that take them by value only.
	Fetch Fetch
	// Publish, where it is not nil, gives media that are too large for the vendor's
	// requests an address.
	Publish Publisher
	// Keep, where it is not nil, is told what was handed over for the call and is needed
	// until its long job is over. Polls and the cancellation of that have it as Handed,
	// and whichever sees the job end takes it back.
	Keep   func(handed []string)
	Handed []string
}

// Emit receives the pieces of a streamed answer in order. Its error ends the
// call. It sees no start of numbering: RequestID, Attempt and Seq are the
// caller's to fill in.
type Emit func(schemas.Chunk) error

// Provider gets answers from one vendor with one credential at one address.
//
// Infer makes one attempt and returns the whole answer; retries, fallbacks and
// hedging belong to the caller. When emit is not nil and the vendor streams, the
// pieces are also passed to emit as they arrive, from start to finish and usage
// (not error and end, which are the caller's: only it knows whether another
// attempt follows). When there is no answer it returns a *schemas.Failure whose
// code tells the caller what may help, with Phase, RetryAfterMS and, where the
// vendor had begun to answer, Usage filled in. It returns soon after ctx is done
// and is safe for concurrent use.
type Provider interface {
	Infer(ctx context.Context, call Call, emit Emit) (*schemas.Response, error)
}

// Adapter translates between our schemas and a vendor's HTTP API. It does no
// I/O of its own, so recorded bytes are enough to test it. It is safe for
// concurrent use.
type Adapter interface {
	// Encode returns the vendor's form of the call, ready to send. A request that
	// the vendor can't express is a *schemas.Failure with code unsupported or
	// invalid_request.
	Encode(ctx context.Context, call Call) (*http.Request, error)
	// Decode reads the vendor's answer, success or refusal, and passes pieces to
	// emit, which may be nil. It does not close the body.
	Decode(res *http.Response, call Call, emit Emit) (*schemas.Response, error)
}

// Prober is the ability to say cheaply whether the vendor answers.
type Prober interface {
	Probe(ctx context.Context) error
}

// Poller is the ability of a Provider to follow a vendor's long job. Both take the
// call that began it.
type Poller interface {
	// Poll asks how the job stands. The answer is a Response whose Job is not Done
	// while it goes on; of a job that failed it is a *schemas.Failure. When emit is
	// not nil and the vendor streams what the job writes, the pieces go there as in
	// Infer; such a job says so with a PollAfterMS of 1.
	Poll(ctx context.Context, call Call, job schemas.Job, emit Emit) (*schemas.Response, error)
	// Cancel ends the job, where the vendor can. It returns no error for a job that
	// has ended already.
	Cancel(ctx context.Context, call Call, job schemas.Job) error
}

// Entry is a kind of provider for the catalog.
type Entry = catalog.Entry[Provider]

// JobAdapter is the ability of an Adapter to follow work that its vendor does in
// its own time. Decode returns a Response with a Job that is not Done for work
// that was only accepted; the answers to polls go to Decode as well.
type JobAdapter interface {
	Adapter
	// EncodePoll returns the question how the job stands.
	EncodePoll(ctx context.Context, call Call, job schemas.Job) (*http.Request, error)
	// EncodeCancel returns the request that ends the job, or nil where the vendor
	// has none.
	EncodeCancel(ctx context.Context, call Call, job schemas.Job) (*http.Request, error)
}

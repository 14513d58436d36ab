// Package pipeline moves requests: a Source yields jobs, a Chain takes each
// through its steps, a Deliverer writes down the outcome, and the Source makes
// it durable together with the fact that the job is done.
//
// The package knows neither Kafka nor any vendor.
package pipeline

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// Origin says where a job came from.
type Origin struct {
	Topic     string
	Partition int32
	Offset    int64
	// First is topic/partition/offset of the first record of this request. It
	// differs from the fields above in a later round, and it is what ids of
	// events are made from.
	First string
	Lane  string
	Round int // 0 at first; counts trips through the retry topics
	Looks int // of these, trips that only waited for a vendor's long job
	JSON  bool
	// Key is the record's key; results and retries carry it on where it fits.
	Key []byte
	// Traceparent is the W3C trace context of the request record, or empty.
	Traceparent string
	// Hash is the SHA-256 of the request record's value, hex.
	Hash string
	// Record is the request record as it came, for retries and dead letters.
	Record Record
}

// Trace is the W3C trace context for records about a job.
type Trace struct {
	Headers []Header // traceparent and, if there is one, tracestate; not to be changed
	Sampled bool     // the trace is recorded
}

// Dead asks for a record on the dead-letter topic next to the result.
type Dead struct {
	Reason schemas.DeadReason
	Detail string // one line for people, without request content
}

// Job is one request on its way through the gateway: what was asked, what has
// been decided so far, and what came of it. Each field says who writes it.
//
// A Job belongs to one goroutine at a time. A stage that needs something after
// Handle returns copies it.
type Job struct {
	Request  *schemas.Request // as received; nobody changes it
	Outgoing *schemas.Request // what providers are asked: Request, or the altered copy of a security stage
	Origin   Origin           // set by the source
	Created  time.Time        // timestamp of the request record; set by the source
	Started  time.Time        // when a worker took it up; set by the source
	Deadline time.Time        // never zero; set by the source from request, header or lane

	Route     string              // name of the matching route; written by routing
	Targets   []schemas.Target    // best first; written by routing; jobs share it, so it is replaced, never changed
	Decision  []Candidate         // why each candidate was kept, dropped, ranked; written by routing and shared likewise
	Attempts  []schemas.Attempt   // in order, those of earlier rounds first; written by invoke
	Response  *schemas.Response   // written by whichever stage answers
	Answered  *schemas.Target     // who answered; written with Response
	Failure   *schemas.Failure    // written by Chain when a stage fails, or by the source for what is no request
	Dead      *Dead               // written by whoever sees that the record must be kept for people
	Completed time.Time           // written by Chain before the settle steps
	Trace     *Trace              // where this process follows the job; written by Tracer; nil: the request record's own is handed on
	Cost      *schemas.CostEvent  // written by cost
	Audit     *schemas.AuditEvent // written by audit

	// Reserved are the budgets that were asked to set money aside; written by budget.
	Reserved []string
	// Also is what is published with the result besides the events above, in the same
	// transaction; written by settle steps.
	Also []Record

	// Pending is the vendor's long job that this request waits for; written by invoke
	// and, in the next round, by the source.
	Pending *Pending
	// Collect asks for the request to wait for others and to be done with those of the
	// same key as one batch of a vendor; written by invoke together with Pending, which
	// says where it is meant to go. Like a parked job it has no outcome yet.
	Collect string
	// Members, when there are any, are the requests of a batch: this job stands for
	// them and is no request itself. Those that were settled in earlier rounds are nil.
	// Each of the others gets an outcome, is Parked to be asked for elsewhere, or goes
	// on waiting for the batch, which is Parked then.
	Members []*Job
	// Parked, when above zero, is how long to wait before the next look at Pending.
	// The job has no outcome yet: it gives up its worker and is settled as a
	// request of a later round.
	Parked time.Duration

	// Emit publishes a piece of a streamed answer, outside the transaction. It
	// does not block for long; it is never nil.
	Emit func(schemas.Chunk)

	cancelled atomic.Bool
}

// Pending is work that a vendor does in its own time for a request. It travels
// with the request's record, so that any worker can go on after a crash.
type Pending struct {
	Job     schemas.Job     `json:"job"`
	Attempt schemas.Attempt `json:"attempt"` // the call that began it, without outcome
	Looks   int             `json:"looks"`   // how often its state was asked for
	// Handed names what was handed over to the vendor for the job, or published for it,
	// and is to be taken back when it is over.
	Handed []string `json:"handed,omitempty"`
	// More says that a request of a batch has other targets, if this one fails.
	More bool `json:"more,omitempty"`
	// Settled has a bit for each request of a batch that has its outcome.
	Settled []byte `json:"settled,omitempty"`
}

// Candidate is one target that routing looked at.
type Candidate struct {
	Target *schemas.Target `json:"target"` // of the configuration: not to be changed
	Reason string          `json:"reason"` // why it stands where it stands, or was left out
	Kept   bool            `json:"kept"`
}

// Outcome returns ok or the failure's code.
func (j *Job) Outcome() schemas.Code {
	if j.Failure != nil {
		return j.Failure.Code
	}
	return schemas.OK
}

// Stage is one step of a job's journey. Handle reads what earlier stages wrote
// on the job and adds its own part.
//
// Handle returns nil to let the job go on and an error to end it; return a
// *schemas.Failure to choose the code that the requester sees. Handle gives up
// promptly when ctx is done, leaves no goroutine behind, and is safe for
// concurrent use on different jobs.
type Stage interface {
	Handle(ctx context.Context, job *Job) error
}

// StageFunc is a function that is a Stage.
type StageFunc func(ctx context.Context, job *Job) error

// Handle calls f.
func (f StageFunc) Handle(ctx context.Context, job *Job) error { return f(ctx, job) }

// Step is a Stage with the name that logs, spans and metrics know it by.
type Step struct {
	Name  string
	Stage Stage
}

package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/schemas"
)

// Guarantees of a lane.
const (
	// ExactlyOnce writes outputs and offsets in one transaction.
	ExactlyOnce = "exactly_once"
	// AtLeastOnce writes outputs, then offsets: the lowest latency, and after a
	// crash the outputs of the last moments may appear twice.
	AtLeastOnce = "at_least_once"
)

// Orders within a lane.
const (
	OrderNone = "none" // any order: no request waits for another
	OrderKey  = "key"  // requests with one record key are handled one after another
)

// LaneConfig is one class of traffic: its topics, its share of the worker, its
// promises.
type LaneConfig struct {
	Name      string        `json:"name"`
	Topics    []string      `json:"topics,omitempty"`
	Weight    int           `json:"weight,omitempty"`    // share of free places when lanes compete
	Reserve   int           `json:"reserve,omitempty"`   // places that no other lane may take
	Guarantee string        `json:"guarantee,omitempty"` // exactly_once or at_least_once
	Order     string        `json:"order,omitempty"`     // none or key
	MaxAge    time.Duration `json:"max_age,omitempty"`   // deadline of requests that name none, from the record's timestamp
	// TenantInFlight bounds the requests in flight of one tenant; 0 means no bound.
	TenantInFlight int `json:"tenant_in_flight,omitempty"`
	// Retry marks the lane of the retry topics: its requests use the share of
	// the lane that they came from, and wait until their time has come.
	Retry bool `json:"-"`
}

// EngineConfig is what the engine needs. Zero values of the tuning fields mean
// the defaults named beside them.
type EngineConfig struct {
	Client Config
	// Instance is the stable name of this process, such as its pod name. It is the
	// group instance id and part of the transactional ids: two live processes must
	// not share one.
	Instance string
	// Group prefixes the names of the consumer groups, one for each lane.
	Group string
	Lanes []LaneConfig

	Concurrency       int           // most requests in flight; 2000
	FixedConcurrency  bool          // allow that many also when this machine does not keep up with them
	Window            int           // most unfinished offsets of one partition; 1000
	MaxBytes          int64         // most bytes of requests read and not finished; 256 MiB
	FlushInterval     time.Duration // how long a finished request waits for others to share its transaction; 20 ms
	Transaction       time.Duration // broker-side limit of a transaction; 10 s
	SessionTimeout    time.Duration // after which a dead member's partitions are given away; 10 s
	RebalanceTimeout  time.Duration // for members to give up partitions and join again; RevokeDrain and 5 s
	RevokeDrain       time.Duration // how long a revoked partition's calls may finish; 10 s
	Drain             time.Duration // how long all calls may finish at a stop; 30 s
	FetchMaxBytes     int32         // of one fetch; 8 MiB
	FetchMaxPartition int32         // of one partition in a fetch; 1 MiB
	// Journal is a folder for outcomes that are not committed yet, of this instance
	// alone: after a kill they are committed instead of being asked for again. Empty
	// means none.
	Journal          string
	StaticMembership bool // on unless the group changes size all the time
	MaxRequestBytes  int  // larger requests are answered payload_too_large

	// Decode reads an Avro request. An error that wraps ErrNotNow means that it
	// could not be read now.
	Decode func(ctx context.Context, value []byte, req *schemas.Request) error
	// Fetch returns a claim-checked payload. It may be nil: then a claim check is
	// answered as undecodable.
	Fetch func(ctx context.Context, ref string) ([]byte, error)
	// FetchSize returns how many bytes Fetch would return. Claim-checked payloads of
	// MaxBytes together are held at a time; nil means that their number is not bounded.
	FetchSize func(ctx context.Context, ref string) (int64, error)
	// Outputs are the topics that transactions write to. Transactions that a broker
	// left hanging there are ended; none: nobody looks.
	Outputs []string
	// RetryTopic returns the topic for a further round after the given delay.
	RetryTopic func(delay time.Duration) string
	// Cancelled, if it is not nil, reports whether a request that was made at that time
	// was cancelled. Such a one does not wait for its next round.
	Cancelled func(tenant, id string, made time.Time) bool
	// CollectTopic is where requests wait to be done with others as a batch.
	CollectTopic string

	Log     *zap.Logger
	Metrics prometheus.Registerer
}

// ErrNotNow is in the chain of errors that say nothing about the record: the
// schema registry or the blob store does not answer. The record is tried again.
var ErrNotNow = errors.New("not readable now")

func (c *EngineConfig) setDefaults() {
	def(&c.Concurrency, 2000)
	def(&c.Window, 1000)
	def(&c.MaxBytes, 256<<20)
	def(&c.FlushInterval, 20*time.Millisecond)
	def(&c.Transaction, 10*time.Second)
	def(&c.SessionTimeout, 10*time.Second)
	def(&c.RevokeDrain, 10*time.Second)
	def(&c.RebalanceTimeout, c.RevokeDrain+5*time.Second)
	def(&c.Drain, 30*time.Second)
	def(&c.FetchMaxBytes, 8<<20)
	def(&c.FetchMaxPartition, 1<<20)
	def(&c.MaxRequestBytes, schemas.MaxRequestBytes)
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	c.Lanes = append([]LaneConfig(nil), c.Lanes...)
	for i := range c.Lanes {
		l := &c.Lanes[i]
		def(&l.Weight, 1)
		def(&l.Guarantee, ExactlyOnce)
		def(&l.Order, OrderNone)
		def(&l.MaxAge, 10*time.Minute)
	}
}

func def[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Validate reports all faults at once.
func (c *EngineConfig) Validate() error {
	var errs []error
	if c.Instance == "" {
		errs = append(errs, errors.New("instance: empty; give each worker a stable name of its own"))
	}
	if c.Group == "" {
		errs = append(errs, errors.New("group: empty; name the consumer group"))
	}
	if len(c.Lanes) == 0 {
		errs = append(errs, errors.New("lanes: empty; name at least one"))
	}
	reserved, names := 0, map[string]bool{}
	for i, l := range c.Lanes {
		at := fmt.Sprintf("lanes[%d]", i)
		if l.Name == "" || names[l.Name] {
			errs = append(errs, fmt.Errorf("%s.name: %q is empty or used twice", at, l.Name))
		}
		names[l.Name] = true
		if len(l.Topics) == 0 {
			errs = append(errs, fmt.Errorf("%s.topics: empty; name the topics of the lane", at))
		}
		if l.Weight < 0 || l.Reserve < 0 || l.TenantInFlight < 0 {
			errs = append(errs, fmt.Errorf("%s: weight, reserve and tenant_in_flight can't be negative", at))
		}
		if g := l.Guarantee; g != "" && g != ExactlyOnce && g != AtLeastOnce {
			errs = append(errs, fmt.Errorf("%s.guarantee: %q is unknown; write %s or %s", at, g, ExactlyOnce, AtLeastOnce))
		}
		if o := l.Order; o != "" && o != OrderNone && o != OrderKey {
			errs = append(errs, fmt.Errorf("%s.order: %q is unknown; write %s or %s", at, o, OrderNone, OrderKey))
		}
		reserved += l.Reserve
	}
	if c.Concurrency > 0 && reserved >= c.Concurrency {
		errs = append(errs, fmt.Errorf("lanes: reserves add up to %d, which leaves nothing of concurrency %d", reserved, c.Concurrency))
	}
	return errors.Join(errs...)
}

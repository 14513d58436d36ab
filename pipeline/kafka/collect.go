package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// CollectorConfig sets up a Collector.
type CollectorConfig struct {
	Client          Config
	Group, Instance string
	// Topic is where requests wait for their batch; RetryTopic is where batches go.
	Topic, RetryTopic string
	// A batch is closed when it has MaxRequests or MaxBytes, or when its first request
	// has waited for MaxWait.
	MaxRequests int
	MaxBytes    int64
	MaxWait     time.Duration
	// Put keeps the requests of a batch and returns their reference. The same bytes
	// may come again.
	Put func(ctx context.Context, b []byte) (ref string, err error)
	// SessionTimeout is that of the consumer group; 0: the client's.
	SessionTimeout time.Duration
	// Static keeps the topic for an instance that restarts within the session timeout.
	Static  bool
	Log     *zap.Logger
	Metrics prometheus.Registerer
}

// Collector makes batches of requests that wait for one. It takes them from a topic
// and writes one record for each batch, in the transaction that marks them as taken:
// a request is in one batch and no other, whoever dies meanwhile. It holds what it
// has read in memory, MaxBytes for each key at most.
type Collector struct{ cfg CollectorConfig }

// NewCollector returns a collector that does not run yet.
func NewCollector(c CollectorConfig) *Collector { return &Collector{cfg: c} }

// headerSince is when a request began to wait for its batch, in Unix milliseconds.
const headerSince = "sira-since"

// Run collects until ctx is done. It ends with an error when another process runs as
// the same instance, or Kafka refuses for good.
func (c *Collector) Run(ctx context.Context) error {
	for {
		err := c.session(ctx)
		if !errors.Is(err, ErrForgotten) || ctx.Err() != nil {
			return err
		}
		c.cfg.Log.Warn("collecting anew", zap.Error(err))
	}
}

// session is one life in the group, from joining to leaving.
func (c *Collector) session(ctx context.Context) error {
	log, id := c.cfg.Log, c.cfg.Group+"."+c.cfg.Instance
	opts, err := c.cfg.Client.Options(log, c.cfg.Metrics)
	if err != nil {
		return err
	}
	var member atomic.Pointer[kgo.Client]
	var forgotten atomic.Bool
	opts = append(opts, kgo.ConsumerGroup(c.cfg.Group), kgo.ConsumeTopics(c.cfg.Topic), kgo.TransactionalID(id),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.Balancers(WatchMembership(kgo.CooperativeStickyBalancer(), member.Load, func() { forgotten.Store(true) })))
	if c.cfg.SessionTimeout > 0 {
		opts = append(opts, kgo.SessionTimeout(c.cfg.SessionTimeout), kgo.HeartbeatInterval(c.cfg.SessionTimeout/3))
	}
	if c.cfg.Static {
		opts = append(opts, kgo.InstanceID(c.cfg.Instance))
	}
	s, err := kgo.NewGroupTransactSession(opts...)
	if err != nil {
		return fmt.Errorf("connecting to Kafka: %w", err)
	}
	defer s.Close()
	member.Store(s.Client())
	w := newWaiting(&c.cfg)
	for ctx.Err() == nil {
		if err := c.read(ctx, s, w); err != nil {
			return err
		}
		if forgotten.Load() {
			return ErrForgotten // what was read may be in another member's batches
		}
		if !w.due(time.Now()) {
			continue
		}
		if err := c.commit(ctx, s, w, &forgotten); err != nil && ctx.Err() == nil {
			log.Warn("closing batches; their requests are collected again", zap.Error(err))
		}
		// What was not committed is read again, and so is what was left for later.
		w = newWaiting(&c.cfg)
	}
	return nil
}

// read takes in what is there, or waits for it until the next batch is due.
func (c *Collector) read(ctx context.Context, s *kgo.GroupTransactSession, w *waiting) error {
	wait, cancel := context.WithDeadline(ctx, w.next(time.Now()))
	defer cancel()
	fetches := s.PollRecords(wait, 1000)
	for _, f := range fetches.Errors() {
		if errors.Is(f.Err, context.DeadlineExceeded) || errors.Is(f.Err, context.Canceled) {
			continue
		}
		if isFatal(f.Err) {
			return fmt.Errorf("collecting requests for batches: %w", f.Err)
		}
		c.cfg.Log.Warn("reading", zap.String("topic", f.Topic), zap.Int32("partition", f.Partition), zap.Error(f.Err))
	}
	now := time.Now()
	for r := range fetches.RecordsAll() {
		w.add(copyRecord(r), now)
	}
	return nil
}

// commit writes the batches that are due and, once more, the requests that wait on.
func (c *Collector) commit(ctx context.Context, s *kgo.GroupTransactSession, w *waiting, forgotten *atomic.Bool) error {
	if err := s.Begin(); err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	out, err := w.records(ctx, time.Now())
	if err != nil {
		return errors.Join(err, c.end(ctx, s, kgo.TryAbort))
	}
	all := make([]*kgo.Record, len(out))
	for i, r := range out {
		all[i] = &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			all[i].Headers = append(all[i].Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	written := s.ProduceSync(ctx, all...).FirstErr()
	if forgotten.Load() {
		written = errors.Join(written, ErrForgotten)
	}
	return errors.Join(written, c.end(ctx, s, kgo.TransactionEndTry(written == nil)))
}

// end ends the transaction. Aborting goes back to what is committed, so that all that
// was read since comes again.
func (c *Collector) end(ctx context.Context, s *kgo.GroupTransactSession, how kgo.TransactionEndTry) error {
	// Not ctx, which a stop ends: cutting off the end leaves its outcome to the broker.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	_, err := s.End(ctx, how) // a transaction that was not committed is no error: its requests come again
	return err
}

// waiting is the requests that wait for their batch, by key.
type waiting struct {
	cfg   *CollectorConfig
	keys  []string // in the order of coming
	byKey map[string]*gathered
}

type gathered struct {
	members []record
	bytes   int64
	since   time.Time // of the first
}

func newWaiting(c *CollectorConfig) *waiting {
	return &waiting{cfg: c, byKey: make(map[string]*gathered)}
}

func (w *waiting) add(r record, now time.Time) {
	key := string(r.key)
	g := w.byKey[key]
	if g == nil {
		g = &gathered{since: now}
		w.byKey[key] = g
		w.keys = append(w.keys, key)
	}
	if ms := r.number(headerSince); ms > 0 && time.UnixMilli(ms).Before(g.since) {
		g.since = time.UnixMilli(ms)
	}
	g.members = append(g.members, r)
	g.bytes += memberSize(&r)
}

func memberSize(r *record) int64 {
	n := r.size()
	for _, h := range r.headers {
		n += int64(len(h.Key) + len(h.Value) + 8)
	}
	return n
}

// full reports whether a batch has all that it may have, or waited long enough.
func (w *waiting) full(g *gathered, now time.Time) bool {
	return len(g.members) >= w.cfg.MaxRequests || g.bytes >= w.cfg.MaxBytes || now.Sub(g.since) >= w.cfg.MaxWait
}

// due reports whether there is a batch to close.
func (w *waiting) due(now time.Time) bool {
	for _, g := range w.byKey {
		if w.full(g, now) {
			return true
		}
	}
	return false
}

// next returns when a batch is due that nothing is added to.
func (w *waiting) next(now time.Time) time.Time {
	at := now.Add(time.Minute)
	for _, g := range w.byKey {
		if end := g.since.Add(w.cfg.MaxWait); end.Before(at) {
			at = end
		}
	}
	return at
}

// records returns the batches that are due and the requests that are not: since a
// partition is read in order, these are written again behind what is there.
func (w *waiting) records(ctx context.Context, now time.Time) ([]pipeline.Record, error) {
	var out []pipeline.Record
	for _, key := range w.keys {
		g := w.byKey[key]
		if !w.full(g, now) {
			out = append(out, w.later(g)...)
			continue
		}
		for _, members := range w.cut(g.members) {
			var b []byte
			for i := range members {
				m := members[i]
				m.restore()
				b = appendMember(b, &m)
			}
			ref, err := w.cfg.Put(ctx, b)
			if err != nil {
				return nil, fmt.Errorf("keeping the requests of a batch: %w", err)
			}
			r, err := batchRecord(w.cfg.RetryTopic, []byte(key), ref, members)
			if err != nil {
				return nil, fmt.Errorf("writing a batch: %w", err)
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// cut parts requests into batches within the limits.
func (w *waiting) cut(members []record) (all [][]record) {
	from, size := 0, int64(0)
	for i := range members {
		n := memberSize(&members[i])
		if i > from && (i-from >= w.cfg.MaxRequests || size+n > w.cfg.MaxBytes) {
			all = append(all, members[from:i:i])
			from, size = i, 0
		}
		size += n
	}
	return append(all, members[from:])
}

func (w *waiting) later(g *gathered) []pipeline.Record {
	out := make([]pipeline.Record, len(g.members))
	for i := range g.members {
		r := &g.members[i]
		out[i] = pipeline.Record{Topic: w.cfg.Topic, Key: r.key, Value: r.value, Headers: r.headers}
		if r.number(headerSince) == 0 {
			since := pipeline.Header{Key: headerSince, Value: strconv.AppendInt(nil, g.since.UnixMilli(), 10)}
			out[i].Headers = append(out[i].Headers[:len(r.headers):len(r.headers)], since)
		}
	}
	return out
}

// restore gives a request its own key back.
func (r *record) restore() {
	kept := make([]pipeline.Header, 0, len(r.headers))
	for _, h := range r.headers {
		switch h.Key {
		case schemas.HeaderKey:
			r.key = h.Value
		case headerSince:
		default:
			kept = append(kept, h)
		}
	}
	r.headers = kept
}

package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
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
// of one partition and writes one record for each batch, in the transaction that marks them as taken:
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
	const longest = 5 * time.Second
	wait := 100 * time.Millisecond
	for {
		began := time.Now()
		err := c.session(ctx)
		if ctx.Err() != nil {
			return nil // what was not committed comes again
		}
		if isHopeless(err) {
			return err
		}
		if time.Since(began) > time.Minute {
			wait = 100 * time.Millisecond
		}
		c.cfg.Log.Warn("requests for batches are collected anew", zap.Error(err))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, longest)
	}
}

// errTaken means that the topic is another member's now, or may have been meanwhile.
var errTaken = errors.New("another member may have what was read")

// errClient is in the chain of errors about how a client is configured.
var errClient = errors.New("configuring a client of Kafka")

// isHopeless reports whether a new life in the group would end like the last one.
func isHopeless(err error) bool {
	for _, e := range []error{errClient, kerr.FencedInstanceID, kerr.TransactionalIDAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.TopicAuthorizationFailed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// session is one life in the group, from joining until partitions are taken away or ctx is done. What was read and not
// committed is for the next life, here or elsewhere.
func (c *Collector) session(ctx context.Context) error {
	opts, err := c.cfg.Client.Options(c.cfg.Log, c.cfg.Metrics)
	if err != nil {
		return fmt.Errorf("%w: %w", errClient, err)
	}
	l := &collecting{Collector: c, w: newWaiting(&c.cfg)}
	took := func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
		if len(lost) > 0 {
			l.taken.Store(true)
		}
	}
	opts = append(opts, kgo.ConsumerGroup(c.cfg.Group), kgo.ConsumeTopics(c.cfg.Topic), kgo.TransactionalID(l.transactionalID()), kgo.DisableAutoCommit(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.OnPartitionsRevoked(took), kgo.OnPartitionsLost(took),
		kgo.Balancers(WatchMembership(kgo.CooperativeStickyBalancer(), l.member.Load, func() { l.taken.Store(true) })))
	if c.cfg.SessionTimeout > 0 {
		opts = append(opts, kgo.SessionTimeout(c.cfg.SessionTimeout), kgo.HeartbeatInterval(c.cfg.SessionTimeout/3))
	}
	if c.cfg.Static {
		opts = append(opts, kgo.InstanceID(c.cfg.Instance))
	}
	if l.client, err = kgo.NewClient(opts...); err != nil {
		return fmt.Errorf("%w: %w", errClient, err)
	}
	defer l.client.Close()
	l.member.Store(l.client)
	// An earlier life may have left a transaction open, which hides offsets and requests.
	if _, _, err := l.client.ProducerID(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("fencing the previous incarnation: %w", err)
	}
	for ctx.Err() == nil {
		if err := l.read(ctx); err != nil {
			return err
		}
		if l.taken.Load() {
			return errTaken
		}
		if !l.w.due(time.Now()) {
			continue
		}
		if err := l.commit(ctx); err != nil {
			return fmt.Errorf("closing batches: %w", err)
		}
		l.w = newWaiting(&c.cfg) // what was left for later comes again
	}
	return nil
}

// collecting is one session of a collector.
type collecting struct {
	*Collector

	client *kgo.Client
	member atomic.Pointer[kgo.Client] // client, once it is made
	taken  atomic.Bool                // see errTaken

	version transactionVersion
	w       *waiting
}

func (l *collecting) transactionalID() string { return l.cfg.Group + "." + l.cfg.Instance }

// read takes in what is there, or waits for it until the next batch is due.
func (l *collecting) read(ctx context.Context) error {
	wait, cancel := context.WithDeadline(ctx, l.w.next(time.Now()))
	defer cancel()
	fetches := l.client.PollRecords(wait, 1000)
	for _, f := range fetches.Errors() {
		if errors.Is(f.Err, context.DeadlineExceeded) || errors.Is(f.Err, context.Canceled) {
			continue
		}
		if isFatal(f.Err) || isHopeless(f.Err) {
			return fmt.Errorf("collecting requests for batches: %w", f.Err)
		}
		l.cfg.Log.Warn("reading", zap.String("topic", f.Topic), zap.Int32("partition", f.Partition), zap.Error(f.Err))
	}
	now := time.Now()
	for _, f := range fetches { // EachTopic loses the ids of topics when it joins fetches
		for i := range f.Topics {
			f.Topics[i].EachRecord(func(r *kgo.Record) {
				l.w.topicID = f.Topics[i].TopicID
				l.w.read[r.Partition] = kgo.EpochOffset{Epoch: r.LeaderEpoch, Offset: r.Offset + 1}
				l.w.add(copyRecord(r), now)
			})
		}
	}
	return nil
}

// commit writes the batches that are due and, once more, the requests that wait on, in the transaction that marks all that
// was read as taken.
func (l *collecting) commit(ctx context.Context) error {
	if err := l.client.BeginTransaction(); err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	out, err := l.w.records(ctx, time.Now())
	if err == nil {
		err = l.client.ProduceSync(ctx, l.kafkaRecords(out)...).FirstErr()
	}
	if err == nil {
		err = l.commitOffsets(ctx)
	}
	// Not ctx, which a stop ends: cutting off the end leaves its outcome to the broker.
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if err != nil {
		return errors.Join(err, l.client.AbortBufferedRecords(end), l.client.EndTransaction(end, kgo.TryAbort))
	}
	if err := l.client.EndTransaction(end, kgo.TryCommit); err != nil {
		return fmt.Errorf("ending the transaction: %w", err) // the next life reads from the broker what became of it
	}
	return nil
}

func (l *collecting) kafkaRecords(out []pipeline.Record) []*kgo.Record {
	all := make([]*kgo.Record, len(out))
	for i, r := range out {
		all[i] = &kgo.Record{Topic: r.Topic, Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			all[i].Headers = append(all[i].Headers, kgo.RecordHeader{Key: h.Key, Value: h.Value})
		}
	}
	return all
}

// commitOffsets adds what was read to the transaction, as the member that has read it.
func (l *collecting) commitOffsets(ctx context.Context) error {
	t := txnOffsets{client: l.client, transactionalID: l.transactionalID(), group: l.cfg.Group, version: &l.version}
	t.member, t.generation = l.client.GroupMetadata()
	if l.taken.Load() { // looked at after the metadata, which may be those of a new member
		return errTaken
	}
	if l.cfg.Static {
		t.instance = &l.cfg.Instance
	}
	rt := kmsg.NewTxnOffsetCommitRequestTopic()
	rt.Topic, rt.TopicID = l.cfg.Topic, l.w.topicID
	for p, at := range l.w.read {
		rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		rp.Partition, rp.Offset, rp.LeaderEpoch = p, at.Offset, at.Epoch
		rt.Partitions = append(rt.Partitions, rp)
	}
	return t.commit(ctx, []kmsg.TxnOffsetCommitRequestTopic{rt})
}

// waiting is the requests that wait for their batch, by key.
type waiting struct {
	cfg     *CollectorConfig
	keys    []string // in the order of coming
	byKey   map[string]*gathered
	topicID [16]byte
	read    map[int32]kgo.EpochOffset // by partition, behind the last request
}

type gathered struct {
	members []record
	bytes   int64
	since   time.Time // of the first
}

func newWaiting(c *CollectorConfig) *waiting {
	return &waiting{cfg: c, byKey: make(map[string]*gathered), read: make(map[int32]kgo.EpochOffset)}
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
		batches := w.cut(g.members)
		if n := len(batches) - 1; n > 0 {
			// What is left over waits for others, unless it has waited long enough.
			if rest := w.gather(batches[n], g.since); !w.full(rest, now) {
				out = append(out, w.later(rest)...)
				batches = batches[:n]
			}
		}
		for _, members := range batches {
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

// gather returns requests as they would wait on their own.
func (w *waiting) gather(members []record, since time.Time) *gathered {
	g := &gathered{members: members, since: since}
	for i := range members {
		g.bytes += memberSize(&members[i])
	}
	return g
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

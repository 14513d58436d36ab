package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline/kafka"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// RecorderConfig is what a Recorder needs.
type RecorderConfig struct {
	Client   kafka.Config
	Group    string // consumer group
	Instance string // stable name of this process
	Conn     driver.Conn
	Codecs   *avro.Codecs
	Topics   RecorderTopics
	// Link returns the hash of an audit record: handlers/audit owns the formula.
	Link func(prev [32]byte, chain uint16, seq uint64, payload []byte) [32]byte

	MaxRows   int           // of a batch; 20,000
	MaxWait   time.Duration // how long a row waits for its batch; 1 s
	MaxBuffer int           // rows held of all partitions; 200,000

	Log     *zap.Logger
	Metrics prometheus.Registerer
}

// RecorderTopics are the topics to keep.
type RecorderTopics struct {
	Results                               []string // and the reply topics
	Costs, Attempts, Audit, Metrics, Dead string
}

// Recorder moves events from Kafka to ClickHouse, each exactly once, whatever is
// killed in between. For every partition it announces a batch (see plan), inserts
// it as one block with a token made of the announced offsets, and moves on. While
// ClickHouse is away it waits; the events wait in Kafka.
type Recorder struct {
	cfg    RecorderConfig
	tables map[string]*table // by topic
	client *kgo.Client

	// own is held for reading while offsets are committed, and for writing while
	// partitions are dropped: the coordinator does not check whose partition an
	// offset is for.
	own   sync.RWMutex
	mu    sync.Mutex
	parts map[topicPartition]*partition

	buffered int
	rows     *prometheus.CounterVec
	unread   *prometheus.CounterVec
	failing  atomic.Pointer[string] // why the last insert failed, or nil
}

type topicPartition struct {
	topic     string
	partition int32
}

// partition is what is read of one partition and not inserted. One goroutine
// works on it.
type partition struct {
	topicPartition
	table     *table
	topicID   [16]byte
	committed int64 // offset in the group
	pending   *plan // announced before a crash, to be done first
	rows      []row
	next      int64 // offset after the last one read
	since     time.Time
	head      *head
	lost      bool // guarded by Recorder.own
}

type row struct {
	offset int64
	values []any
}

// NewRecorder returns a recorder that is not connected yet.
func NewRecorder(cfg RecorderConfig) *Recorder {
	if cfg.MaxRows == 0 {
		cfg.MaxRows = 20_000
	}
	if cfg.MaxWait == 0 {
		cfg.MaxWait = time.Second
	}
	if cfg.MaxBuffer == 0 {
		cfg.MaxBuffer = 10 * cfg.MaxRows
	}
	r := &Recorder{cfg: cfg, parts: map[topicPartition]*partition{}, tables: map[string]*table{
		cfg.Topics.Costs: costsTable(cfg.Codecs), cfg.Topics.Attempts: attemptsTable(cfg.Codecs), cfg.Topics.Audit: auditTable(cfg.Codecs),
		cfg.Topics.Metrics: metricsTable(cfg.Codecs), cfg.Topics.Dead: deadTable(),
	}}
	for _, t := range cfg.Topics.Results {
		r.tables[t] = requestsTable(cfg.Codecs)
	}
	delete(r.tables, "")
	r.rows = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sira_recorder_rows_total", Help: "Rows inserted."}, []string{"table"})
	r.unread = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sira_recorder_unreadable_total", Help: "Events that no table could take; they are on the dead-letter topic."}, []string{"topic"})
	return r
}

// Ready returns why rows are not being inserted, or nil.
func (r *Recorder) Ready() error {
	if why := r.failing.Load(); why != nil {
		return errors.New("clickhouse: " + *why)
	}
	return nil
}

// Run works until ctx is done and returns nil after a clean stop.
func (r *Recorder) Run(ctx context.Context) error {
	if r.cfg.Metrics != nil {
		for _, c := range []prometheus.Collector{r.rows, r.unread} {
			if err := r.cfg.Metrics.Register(c); err != nil {
				return fmt.Errorf("registering metrics: %w", err)
			}
			defer r.cfg.Metrics.Unregister(c)
		}
	}
	topics := make([]string, 0, len(r.tables))
	for t := range r.tables {
		topics = append(topics, t)
	}
	slices.Sort(topics)
	var err error
	r.client, err = r.cfg.Client.NewClient(r.cfg.Log, r.cfg.Metrics,
		kgo.ConsumerGroup(r.cfg.Group), kgo.InstanceID(r.cfg.Instance), kgo.ConsumeTopics(topics...), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxBytes(8<<20), kgo.FetchMaxWait(250*time.Millisecond), kgo.SessionTimeout(10*time.Second), kgo.HeartbeatInterval(time.Second),
		kgo.OnOffsetsFetched(r.fetched), kgo.OnPartitionsRevoked(r.dropped), kgo.OnPartitionsLost(r.dropped),
	)
	if err != nil {
		return err
	}
	defer r.client.CloseAllowingRebalance()
	for ctx.Err() == nil {
		r.read(ctx)
		if err := r.flush(ctx, false); err != nil && ctx.Err() == nil {
			return err
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := r.flush(last, true); err != nil {
		r.cfg.Log.Warn("stopping with events that wait in Kafka", zap.Error(err))
	}
	return nil
}

func (r *Recorder) fetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	add := func(topic string, id [16]byte, n int32, offset int64, metadata *string) {
		tp := topicPartition{topic, n}
		p := &partition{topicPartition: tp, table: r.tables[topic], topicID: id, committed: offset, next: offset}
		if metadata != nil {
			if pl, ok := parsePlan(*metadata, offset); ok {
				p.pending = &pl
			}
		}
		r.parts[tp] = p
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			add(t.Topic, [16]byte{}, p.Partition, p.Offset, p.Metadata)
		}
	}
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				add(t.Topic, t.TopicID, p.Partition, p.Offset, p.Metadata)
			}
		}
	}
	return nil
}

// dropped forgets partitions. An insert may be under way: the next owner finds
// its plan and inserts the same block with the same token.
func (r *Recorder) dropped(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	r.own.Lock()
	defer r.own.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	for topic, ps := range lost {
		for _, n := range ps {
			if p := r.parts[topicPartition{topic, n}]; p != nil {
				p.lost = true
				delete(r.parts, p.topicPartition)
			}
		}
	}
}

// read polls once and turns records into rows.
func (r *Recorder) read(ctx context.Context) {
	limit, cancel := context.WithTimeout(ctx, min(r.cfg.MaxWait/2, 250*time.Millisecond))
	defer cancel()
	fetches := r.client.PollRecords(limit, min(10_000, max(1, r.cfg.MaxBuffer-r.buffered)))
	defer r.client.AllowRebalance()
	fetches.EachError(func(topic string, n int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			r.cfg.Log.Warn("reading events", zap.String("topic", topic), zap.Int32("partition", n), zap.Error(err))
		}
	})
	for _, f := range fetches {
		for i := range f.Topics {
			for _, fp := range f.Topics[i].Partitions {
				r.mu.Lock()
				p := r.parts[topicPartition{f.Topics[i].Topic, fp.Partition}]
				r.mu.Unlock()
				if p == nil {
					continue
				}
				if p.topicID == ([16]byte{}) {
					p.topicID = f.Topics[i].TopicID
				}
				for _, rec := range fp.Records {
					r.add(ctx, p, rec)
				}
			}
		}
	}
}

// add turns one record into a row. A record that no table can take goes to the
// dead-letter topic, and its offset counts as read.
func (r *Recorder) add(ctx context.Context, p *partition, rec *kgo.Record) {
	if rec.Offset < p.next {
		return
	}
	values, err := p.table.read(ctx, rec)
	for wait := 100 * time.Millisecond; err != nil && !errors.Is(err, errUnreadable) && ctx.Err() == nil; wait = min(2*wait, 5*time.Second) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
		values, err = p.table.read(ctx, rec)
	}
	if ctx.Err() != nil && err != nil {
		return
	}
	if len(p.rows) == 0 {
		p.since = time.Now()
	}
	p.next = rec.Offset + 1
	if err != nil {
		r.unread.WithLabelValues(rec.Topic).Inc()
		if rec.Topic != r.cfg.Topics.Dead {
			r.bury(ctx, rec)
		}
		return
	}
	p.rows = append(p.rows, row{rec.Offset, values})
	r.buffered++
}

func (r *Recorder) bury(ctx context.Context, rec *kgo.Record) {
	dead := &kgo.Record{Topic: r.cfg.Topics.Dead, Key: rec.Key, Value: rec.Value, Headers: append(slices.Clone(rec.Headers),
		kgo.RecordHeader{Key: schemas.HeaderDeadReason, Value: []byte(schemas.DeadUndecodable)},
		kgo.RecordHeader{Key: schemas.HeaderDeadDetail, Value: []byte("event that no table can take")},
		kgo.RecordHeader{Key: schemas.HeaderDeadOrigin, Value: fmt.Appendf(nil, "%s/%d/%d", rec.Topic, rec.Partition, rec.Offset)},
	)}
	if err := r.client.ProduceSync(ctx, dead).FirstErr(); err != nil {
		r.cfg.Log.Warn("unreadable event was not buried", zap.String("topic", rec.Topic), zap.Int64("offset", rec.Offset), zap.Error(err))
	}
}

// batch is what is due of one partition.
type batch struct {
	p    *partition
	plan plan
	rows []row
}

// flush inserts what is due: full batches, old ones, announced ones; all of it
// when everything is set.
func (r *Recorder) flush(ctx context.Context, everything bool) error {
	due := r.due(everything)
	if len(due) == 0 {
		return nil
	}
	if err := r.announce(ctx, due); err != nil {
		return err
	}
	for _, b := range due {
		if r.gone(b.p) { // perhaps before it was announced: then the next owner knows nothing of this batch
			continue
		}
		if err := r.insert(ctx, b); err != nil {
			return err
		}
		b.p.rows = b.p.rows[len(b.rows):]
		b.p.committed, b.p.pending = b.plan.last+1, nil
		r.buffered -= len(b.rows)
		if len(b.p.rows) == 0 {
			b.p.rows = nil
		}
	}
	return r.commit(ctx, due, func(b batch) (int64, string) { return b.plan.last + 1, "" })
}

func (r *Recorder) gone(p *partition) bool {
	r.own.RLock()
	defer r.own.RUnlock()
	return p.lost
}

func (r *Recorder) due(everything bool) []batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []batch
	held := 0
	for _, p := range r.parts {
		switch {
		case p.pending != nil:
			// Complete once a later offset was read, or the rows reach its end.
			if p.next > p.pending.last {
				n, _ := slices.BinarySearchFunc(p.rows, p.pending.last+1, func(x row, o int64) int { return int(x.offset - o) })
				out = append(out, batch{p, *p.pending, p.rows[:n]})
			}
		case len(p.rows) == 0:
		case everything || len(p.rows) >= r.cfg.MaxRows || time.Since(p.since) >= r.cfg.MaxWait || r.buffered >= r.cfg.MaxBuffer:
			rows := p.rows[:min(len(p.rows), r.cfg.MaxRows)]
			first := p.committed
			if first < 0 {
				first = rows[0].offset
			}
			out = append(out, batch{p, plan{first, rows[len(rows)-1].offset}, rows})
		default:
			held += len(p.rows)
		}
	}
	// Rows of lost partitions leave the count here.
	total := held
	for _, b := range out {
		total += len(b.p.rows)
	}
	for _, p := range r.parts {
		if p.pending != nil && p.next <= p.pending.last {
			total += len(p.rows)
		}
	}
	r.buffered = total
	return out
}

// announce commits the plans with the old offsets, in one request.
func (r *Recorder) announce(ctx context.Context, due []batch) error {
	var fresh []batch
	for _, b := range due {
		if b.p.pending == nil {
			fresh = append(fresh, b)
		}
	}
	return r.commit(ctx, fresh, func(b batch) (int64, string) { return b.plan.first, b.plan.String() })
}

// commit commits what of says for each batch that is still owned, and tries again
// until it holds or ctx is done.
func (r *Recorder) commit(ctx context.Context, batches []batch, of func(batch) (int64, string)) error {
	if len(batches) == 0 {
		return nil
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := r.tryCommit(ctx, batches, of)
		if err == nil {
			return nil
		}
		if errors.Is(err, kerr.FencedInstanceID) {
			return fmt.Errorf("another recorder runs as %q: %w", r.cfg.Instance, err)
		}
		r.cfg.Log.Debug("committing offsets again", zap.Error(err))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("committing offsets: %w", errors.Join(err, ctx.Err()))
		}
	}
}

func (r *Recorder) tryCommit(ctx context.Context, batches []batch, of func(batch) (int64, string)) error {
	r.own.RLock()
	defer r.own.RUnlock()
	member, generation := r.client.GroupMetadata()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation, req.InstanceID = r.cfg.Group, member, generation, &r.cfg.Instance
	at := map[string]int{}
	for _, b := range batches {
		if b.p.lost {
			continue
		}
		i, ok := at[b.p.topic]
		if !ok {
			rt := kmsg.NewOffsetCommitRequestTopic()
			rt.Topic, rt.TopicID = b.p.topic, b.p.topicID
			i = len(req.Topics)
			at[b.p.topic] = i
			req.Topics = append(req.Topics, rt)
		}
		rp := kmsg.NewOffsetCommitRequestTopicPartition()
		offset, metadata := of(b)
		rp.Partition, rp.Offset, rp.Metadata = b.p.partition, offset, &metadata
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, rp)
	}
	if len(req.Topics) == 0 {
		return nil
	}
	resp, err := req.RequestWith(ctx, r.client)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("%s/%d: %w", t.Topic, p.Partition, err)
			}
		}
	}
	return nil
}

// insert writes one batch as one block and tries again until ClickHouse has it or
// ctx is done.
func (r *Recorder) insert(ctx context.Context, b batch) error {
	if len(b.rows) == 0 {
		return nil
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		err := r.tryInsert(ctx, b)
		if err == nil {
			r.failing.Store(nil)
			r.rows.WithLabelValues(b.p.table.name).Add(float64(len(b.rows)))
			return nil
		}
		why := "inserting into " + b.p.table.name
		if r.failing.Swap(&why) == nil {
			r.cfg.Log.Warn("clickhouse does not take events; they wait in Kafka", zap.String("table", b.p.table.name), zap.Error(err))
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("inserting into %s: %w", b.p.table.name, errors.Join(err, ctx.Err()))
		}
	}
}

func (r *Recorder) tryInsert(ctx context.Context, b batch) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if b.p.table.name == "audit" {
		if err := r.link(ctx, b); err != nil {
			return err
		}
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"insert_deduplication_token": b.plan.token(b.p.topic, b.p.partition), "insert_deduplicate": 1,
		"deduplicate_blocks_in_dependent_materialized_views": 1, "async_insert": 0, "max_insert_block_size": 1 << 20,
	}))
	block, err := r.cfg.Conn.PrepareBatch(ctx, b.p.table.insert(), driver.WithReleaseConnection())
	if err != nil {
		return fmt.Errorf("preparing: %w", err)
	}
	for i := range b.rows {
		values := append(b.rows[i].values[:len(b.p.table.columns):len(b.p.table.columns)], b.p.topic, uint32(b.p.partition), uint64(b.rows[i].offset))
		if err := block.Append(values...); err != nil {
			return errors.Join(fmt.Errorf("appending: %w", err), block.Abort())
		}
	}
	if err := block.Send(); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	return nil
}

// link fills in the chain of an audit batch from the newest row below it.
func (r *Recorder) link(ctx context.Context, b batch) error {
	if b.p.head == nil {
		h, err := loadHead(ctx, r.cfg.Conn, b.p.partition, b.rows[0].offset)
		if err != nil {
			return err
		}
		b.p.head = &h
	}
	if b.rows[0].values[auditHash] != nil {
		return nil // linked by an earlier try
	}
	h := *b.p.head
	for i := range b.rows {
		v := b.rows[i].values
		prev := h.hash
		h.hash = r.cfg.Link(prev, uint16(b.p.partition), h.next, []byte(v[auditPayload].(string)))
		v[auditSeq], v[auditPrev], v[auditHash] = h.next, string(prev[:]), string(h.hash[:])
		h.next++
	}
	b.p.head = &h
	return nil
}

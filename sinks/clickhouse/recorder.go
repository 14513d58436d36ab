package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline/kafka"
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
	Drain     time.Duration // how long a stop waits for the last batches; 10 s

	SessionTimeout time.Duration // after which a dead recorder's partitions are given away; 10 s
	Heartbeat      time.Duration // how soon a recorder learns of a newcomer; 1 s

	// Tracer, if there is one, follows the inserts of what belongs to recorded traces.
	Tracer  Tracer
	Log     *zap.Logger
	Metrics prometheus.Registerer
}

// Tracer follows requests to their rows. It is safe for concurrent use.
type Tracer interface {
	// Sampled reports whether a traceparent, which may be any bytes, is of a trace that
	// is recorded.
	Sampled(traceparent []byte) bool
	// Insert is called before rows of a topic's partition go to a table. traceparents are
	// those of the first records among them that are Sampled. The context that it returns
	// is for the insert; ended is called once, when the rows are there or nobody tries any
	// more.
	Insert(ctx context.Context, table, topic string, partition int32, rows int, traceparents []string) (_ context.Context, ended func(error))
}

// RecorderTopics are the topics to keep.
type RecorderTopics struct {
	Results                               []string // and the reply topics
	Costs, Attempts, Audit, Metrics, Dead string
	Health, Budgets                       string
}

// Recorder moves events from Kafka to ClickHouse, each exactly once, whatever is
// killed in between. For every partition it announces a batch (see plan), inserts
// it as one block with a token made of the announced offsets, and moves on. While
// ClickHouse is away it waits; the events wait in Kafka.
type Recorder struct {
	cfg    RecorderConfig
	tables map[string]*table // by topic
	client *kgo.Client

	member    atomic.Pointer[kgo.Client] // client, once it is made
	forgotten atomic.Bool                // the group forgot this member: what is known of its partitions may be old

	// own is held for reading while offsets are committed, and for writing while
	// partitions are dropped: the coordinator does not check whose partition an
	// offset is for.
	own   sync.RWMutex
	mu    sync.Mutex
	parts map[topicPartition]*partition

	copiers  sync.Pool    // of *copier
	inserted atomic.Int64 // rows, since the start
	buffered int          // rows held
	bytes    int          // and the text in them
	held     atomic.Int64 // the same, for the metric
	rows     *prometheus.CounterVec
	unread   *prometheus.CounterVec
	waiting  prometheus.GaugeFunc
	failing  atomic.Pointer[string] // why the last insert failed, or nil
}

type topicPartition struct {
	topic     string
	partition int32
}

// partition is what is read of one partition and not inserted. One goroutine
// works on it; committed and topicID are written under Recorder.mu.
type partition struct {
	topicPartition
	table     *table
	topicID   [16]byte
	committed int64 // offset in the group
	pending   *plan // announced, perhaps before a crash: to be done first, and as it was announced
	cut       int64 // last offset of the batch that was announced before this process had the partition, or -1
	blocks    []*block
	next      int64     // offset after the last one read
	since     time.Time // when the first record behind committed came
	stuck     bool      // a record could be neither read nor buried: nothing above it may be committed
	head      *head
	used      bool // records of it were taken in; guarded by Recorder.mu
	busy      bool // and some of them may not be inserted yet; guarded by Recorder.mu
	lost      bool // guarded by Recorder.own
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
	if cfg.Drain == 0 {
		cfg.Drain = 10 * time.Second
	}
	if cfg.SessionTimeout == 0 {
		cfg.SessionTimeout = 10 * time.Second
	}
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = time.Second
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	r := &Recorder{cfg: cfg, parts: map[topicPartition]*partition{}, tables: newTables(cfg.Topics, cfg.Codecs)}
	r.rows = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sira_recorder_rows_total", Help: "Rows inserted."}, []string{"table"})
	r.unread = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sira_recorder_unreadable_total", Help: "Events that no table could take; they are on the dead-letter topic."}, []string{"topic"})
	r.waiting = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sira_recorder_rows_held", Help: "Rows read and not inserted."}, func() float64 { return float64(r.held.Load()) })
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
		for _, c := range []prometheus.Collector{r.rows, r.unread, r.waiting} {
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
	for {
		err := r.session(ctx, topics)
		if !errors.Is(err, kafka.ErrForgotten) {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		r.cfg.Log.Warn("joining the recorder's group anew", zap.Error(err))
	}
}

// session is one life in the group, from joining to leaving. It begins with nothing: what is to be done is committed.
func (r *Recorder) session(ctx context.Context, topics []string) error {
	r.mu.Lock()
	r.parts = map[topicPartition]*partition{}
	r.tally()
	r.mu.Unlock()
	r.member.Store(nil)
	r.forgotten.Store(false)
	balancer := kafka.WatchMembership(kgo.CooperativeStickyBalancer(), r.member.Load, func() { r.forgotten.Store(true) })
	var err error
	r.client, err = r.cfg.Client.NewClient(r.cfg.Log, r.cfg.Metrics,
		kgo.ConsumerGroup(r.cfg.Group), kgo.InstanceID(r.cfg.Instance), kgo.ConsumeTopics(topics...), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxBytes(16<<20), kgo.FetchMaxPartitionBytes(4<<20), kgo.FetchMaxWait(250*time.Millisecond), kgo.SessionTimeout(r.cfg.SessionTimeout), kgo.HeartbeatInterval(r.cfg.Heartbeat),
		kgo.Balancers(balancer), kgo.OnOffsetsFetched(r.fetched), kgo.OnPartitionsRevoked(r.dropped), kgo.OnPartitionsLost(r.dropped),
	)
	if err != nil {
		return err
	}
	defer r.client.CloseAllowingRebalance()
	r.member.Store(r.client)
	return r.work(ctx)
}

// work reads and inserts side by side, one flush at a time, until ctx is done;
// then it flushes what it holds, for as long as Drain.
func (r *Recorder) work(ctx context.Context) error {
	flushing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		limit := time.NewTimer(r.cfg.Drain)
		defer limit.Stop()
		select {
		case <-limit.C:
			cancel()
		case <-flushing.Done():
		}
	})
	defer stop()
	var done chan error // of the flush under way
	poll := ctx         // ends with the flush under way, so that the next one need not wait
	var due []batch
	var err error
	for ctx.Err() == nil && err == nil {
		if r.forgotten.Load() {
			cancel()
			return errors.Join(kafka.ErrForgotten, r.finish(done, due))
		}
		full := r.full() && done != nil
		if !full {
			if err := r.read(ctx, poll); err != nil {
				cancel()
				return errors.Join(err, r.finish(done, due))
			}
		}
		if done == nil {
			if due = r.due(false); len(due) > 0 {
				done, poll = r.start(ctx, flushing, due)
			}
			continue
		}
		if !full && len(done) == 0 {
			continue
		}
		select {
		case err = <-done:
			r.settle(due)
			done, poll = nil, ctx
		case <-ctx.Done():
		}
	}
	err = errors.Join(err, r.finish(done, due))
	for err == nil {
		if due = r.due(true); len(due) == 0 {
			return nil
		}
		done, _ = r.start(ctx, flushing, due)
		err = r.finish(done, due)
	}
	if flushing.Err() == nil {
		return err
	}
	r.cfg.Log.Warn("stopping with events that wait in Kafka", zap.String("why", reason(err)))
	return nil
}

// start flushes in the background, as long as flushing lasts. The context that it
// returns is a child of ctx that ends with the flush.
func (r *Recorder) start(ctx, flushing context.Context, due []batch) (chan error, context.Context) {
	poll, ended := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() {
		defer ended()
		done <- r.flush(flushing, due)
	}()
	return done, poll
}

// finish waits for a flush, if there is one.
func (r *Recorder) finish(done chan error, due []batch) error {
	if done == nil {
		return nil
	}
	err := <-done
	r.settle(due)
	return err
}

// fetched begins the partitions whose offsets the group's coordinator told.
func (r *Recorder) fetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	r.own.Lock()
	defer r.own.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	add := func(topic string, id [16]byte, n int32, offset int64, metadata *string) {
		tp := topicPartition{topic, n}
		if p := r.parts[tp]; p != nil {
			if p.knows(id, offset) {
				return
			}
			p.lost = true
		}
		p := &partition{topicPartition: tp, table: r.tables[topic], topicID: id, committed: offset, next: offset, cut: -1}
		if metadata != nil {
			if pl, ok := parsePlan(*metadata, offset); ok {
				p.pending, p.cut = &pl, pl.last
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

// knows reports whether an offset that was fetched says nothing new about the
// partition. Offsets are asked for again when a session of the group ends before
// its client took note of them, and an answer may be older than what was inserted
// since. The partition was never lost: what is read of it again is known, and a
// plan made anew would insert it twice.
func (p *partition) knows(topicID [16]byte, offset int64) bool {
	if none := [16]byte{}; topicID != none && p.topicID != none && topicID != p.topicID {
		return false // the topic was made anew
	}
	return p.busy || p.used && offset >= 0 && offset <= p.committed
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

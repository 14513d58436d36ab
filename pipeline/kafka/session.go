package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// session is one lane's life in its consumer group, from joining to leaving. When
// the outcome of a transaction is unknown, the session ends and a new one reads
// the truth from the broker.
type session struct {
	engine *Engine
	lane   int
	cfg    *LaneConfig
	log    *zap.Logger

	consumer *kgo.Client
	producer *kgo.Client
	member   atomic.Pointer[kgo.Client] // consumer, once it is made: for readiness, which asks at any time

	// own is held during a whole transaction and while partitions are dropped. A member that lost a partition may still have a valid
	// generation for the others; the coordinator would accept its offsets for the
	// lost one, so this lock is what keeps them out.
	own        ownership
	mu         sync.Mutex // guards trackers, limbo and generation
	trackers   map[topicPartition]*tracker
	limbo      map[topicPartition]*tracker // lost, and perhaps coming back
	lostAt     time.Time                   // when partitions were put in limbo last
	generation int32                       // of the group when partitions were last assigned
	leaving    chan struct{}               // closed when the session is about to end

	dirty   chan struct{}      // has a token when completions wait for a transaction
	fatal   chan error         // the first error that ends the session
	version transactionVersion // of the cluster; of the commit loop
	epochs  int                // times that reading was set to go on; of the polling goroutine
	fenced  int                // times in a row that the producer was; of the commit loop
	broken  atomic.Bool        // no further commit: the session is about to end
	suspect atomic.Bool        // no commit until it is known that nobody else had the partitions, see forgotten

	count atomic.Int64  // records read and not finished
	bytes atomic.Int64  // of these records
	freed chan struct{} // has a token when count or bytes went down
}

// run joins the group and works until ctx is done, when it drains, or until the
// session breaks.
func (s *session) run(ctx context.Context) error {
	if err := s.open(ctx); err != nil {
		return err
	}
	defer s.close()
	live, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { s.poll(live) })
	wg.Go(func() { s.endHanging(live) })
	committing := make(chan struct{})
	halt := make(chan struct{})
	go func() {
		defer close(committing)
		s.commitLoop(halt)
	}()
	var err error
	select {
	case <-ctx.Done():
		s.drain()
	case err = <-s.fatal:
	}
	stop()
	close(s.leaving)
	wg.Wait()
	close(halt)
	<-committing
	return err
}

// open makes both clients. The producer fences and aborts what an earlier
// incarnation left open before the consumer joins: until then the new owner could
// not read its offsets.
func (s *session) open(ctx context.Context) error {
	c := s.engine.cfg
	name := c.Group + "." + s.cfg.Name
	var err error
	if s.producer, err = s.newProducer(); err != nil {
		return err
	}
	if s.cfg.Guarantee == ExactlyOnce {
		fence, cancel := context.WithTimeout(ctx, 30*time.Second)
		_, _, err := s.producer.ProducerID(fence)
		cancel()
		if err != nil {
			s.producer.Close()
			return fmt.Errorf("fencing the previous incarnation: %w", err)
		}
	}
	consumer := []kgo.Opt{
		kgo.ConsumerGroup(name), kgo.ConsumeTopics(s.cfg.Topics...), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxBytes(c.FetchMaxBytes), kgo.FetchMaxPartitionBytes(c.FetchMaxPartition), kgo.FetchMaxWait(500 * time.Millisecond),
		kgo.WithDecompressor(newUnpacker(unpackedLimit(c.MaxRequestBytes))),
		kgo.SessionTimeout(c.SessionTimeout), kgo.HeartbeatInterval(c.SessionTimeout / 10), kgo.RebalanceTimeout(c.RebalanceTimeout),
		kgo.RequestTimeoutOverhead(joinPatience), kgo.Balancers(WatchMembership(newReturning(s), s.member.Load, s.forgotten)),
		kgo.OnPartitionsAssigned(s.assigned), kgo.OnOffsetsFetched(s.fetched), kgo.OnPartitionsRevoked(s.revoked), kgo.OnPartitionsLost(s.lost),
	}
	if c.StaticMembership {
		consumer = append(consumer, kgo.InstanceID(c.Instance))
	}
	if s.consumer, err = c.Client.NewClient(c.Log, c.Metrics, consumer...); err != nil {
		s.producer.Close()
		return err
	}
	s.member.Store(s.consumer)
	return nil
}

// joinPatience is how much longer than the rebalance timeout a member waits for an
// answer to its join. A coordinator whose count of members went wrong, as the
// embedded broker's may after a member dies in the middle of joining, sets things
// right when the rebalance timeout passes without a further join: members that ask
// again too soon would put that off for ever.
const joinPatience = 30 * time.Second

// producerPatience is how long a refused produce request waits at least before it
// is sent again: as long as metadata may not be asked for once more. Brokers that
// add their partitions to a transaction at the same moment refuse each other's
// requests now and then, so it is short; the library's own 5 s would be the
// length of that transaction.
const producerPatience = 50 * time.Millisecond

// newProducer returns a producer of the lane, with its transactional id where the
// lane has transactions. It is not fenced yet.
func (s *session) newProducer() (*kgo.Client, error) {
	c := s.engine.cfg
	opts := []kgo.Opt{
		kgo.ProducerLinger(0), kgo.ProducerBatchMaxBytes(1 << 20), kgo.MaxBufferedRecords(1 << 20), kgo.RecordDeliveryTimeout(2 * c.Transaction),
		kgo.MetadataMinAge(producerPatience),
	}
	if s.cfg.Guarantee == ExactlyOnce {
		opts = append(opts, kgo.TransactionalID(s.transactionalID()), kgo.TransactionTimeout(c.Transaction))
	}
	return c.Client.NewClient(c.Log, c.Metrics, opts...)
}

func (s *session) close() {
	s.drop(nil)
	s.hold(false)
	s.consumer.CloseAllowingRebalance()
	s.producer.Close()
}

// room waits until the lane may read more and returns how many records. It waits
// for a quarter of the bound to be free, so that reading goes in batches.
func (s *session) room(ctx context.Context) int {
	bound := int64(2 * s.engine.cfg.Concurrency)
	if s.cfg.Retry { // they wait for their time without holding a worker
		bound = maxWaiting
	}
	for ctx.Err() == nil {
		if free := bound - s.count.Load(); free >= max(1, bound/4) && s.bytes.Load() < s.engine.laneBytes {
			return int(free)
		}
		select {
		case <-s.freed:
		case <-ctx.Done():
		}
	}
	return 0
}

// maxWaiting bounds the requests that wait in memory for a later round.
const maxWaiting = 10_000

// take and let keep count of what was read and is not finished.
func (s *session) take(it *item) {
	s.count.Add(1)
	s.bytes.Add(it.bytes)
}

func (s *session) let(it *item) {
	s.count.Add(-1)
	s.bytes.Add(-it.bytes)
	select {
	case s.freed <- struct{}{}:
	default:
	}
}

// abandon lets go of an item that did not run.
func (s *session) abandon(it *item) {
	it.tracker.mu.Lock()
	it.tracker.dropped(it)
	it.tracker.mu.Unlock()
	s.let(it)
}

// poll reads records and queues them. It never waits between a poll and
// AllowRebalance.
func (s *session) poll(ctx context.Context) {
	for ctx.Err() == nil {
		room := s.room(ctx)
		if room <= 0 {
			continue
		}
		fetches := s.consumer.PollRecords(ctx, room)
		if fetches.IsClientClosed() {
			return
		}
		now := time.Now()
		for _, f := range fetches {
			for i := range f.Topics {
				for j := range f.Topics[i].Partitions {
					s.accept(&f.Topics[i], &f.Topics[i].Partitions[j], now)
				}
			}
		}
		s.consumer.AllowRebalance()
	}
}

func (s *session) accept(topic *kgo.FetchTopic, p *kgo.FetchPartition, now time.Time) {
	if packed := (*kgo.ErrDecompressTooLarge)(nil); errors.As(p.Err, &packed) {
		s.skip(packed, now)
		return
	}
	if p.Err != nil {
		s.fetchError(topic.Topic, p)
		return
	}
	s.mu.Lock()
	t := s.trackers[topicPartition{topic.Topic, p.Partition}]
	s.mu.Unlock()
	if t == nil {
		if len(p.Records) > 0 {
			s.fail(fmt.Errorf("reading %s/%d: records of a partition without a committed offset", topic.Topic, p.Partition))
		}
		return
	}
	t.mu.Lock()
	t.highest = p.HighWatermark
	if t.topicID == [16]byte{} {
		t.topicID = topic.TopicID
	}
	var fresh []*item
	for _, r := range p.Records {
		if !t.register(r.Offset, r.LeaderEpoch) {
			continue
		}
		if outputs, ok := s.outcome(r); ok {
			t.finish(&completion{offset: r.Offset, outputs: outputs, key: keyOfRecord(r)})
			s.markDirty()
			continue
		}
		fresh = append(fresh, s.newItem(t, r))
	}
	pause := !t.paused && t.incomplete() >= s.engine.cfg.Window
	t.paused = t.paused || pause
	ready := t.chain(fresh)
	t.mu.Unlock()
	if pause {
		s.consumer.PauseFetchPartitions(map[string][]int32{t.topic: {t.partition}})
	}
	for _, it := range ready {
		s.dispatch(it, now)
	}
}

// outcome returns what an earlier life of this worker has found out about a record
// and had no time to commit.
func (s *session) outcome(r *kgo.Record) ([]pipeline.Record, bool) {
	if s.engine.journal == nil {
		return nil, false
	}
	return s.engine.journal.take(keyOfRecord(r))
}

// newItem copies a record into the engine's keeping.
func (s *session) newItem(t *tracker, r *kgo.Record) *item {
	it := &item{tracker: t, session: s, offset: r.Offset, lane: s.lane, rec: copyRecord(r)}
	it.bytes = it.rec.size()
	it.tenant = it.rec.tenant()
	if s.cfg.Order == OrderKey {
		it.key = string(r.Key)
	}
	if s.cfg.Retry {
		it.lane = s.engine.laneIndex(it.rec.header(schemas.HeaderLane), s.lane)
	}
	s.take(it)
	return it
}

// dispatch queues an item now, or when its time has come.
func (s *session) dispatch(it *item, now time.Time) {
	if ms := it.rec.number(schemas.HeaderNotBefore); s.cfg.Retry && ms > 0 {
		if wait := time.UnixMilli(ms).Sub(now); wait > 0 {
			s.engine.park(it, wait)
			return
		}
	}
	s.engine.enqueue(it)
}

// settle records an item's outcome for the next transaction.
func (s *session) settle(it *item, outputs []pipeline.Record) {
	t, j := it.tracker, s.engine.journal
	t.mu.Lock()
	t.running--
	if t.life.Err() == nil {
		c := &completion{offset: it.offset, outputs: outputs, key: keyOf(&it.rec)}
		if j != nil {
			c.file = j.add(c.key, outputs)
		}
		t.finish(c)
	}
	t.wakeIdle()
	next := t.unchain(it)
	t.mu.Unlock()
	if j != nil {
		j.due()
	}
	s.let(it)
	if next != nil {
		s.dispatch(next, time.Now())
	}
	s.markDirty()
}

// release gives an item back: it runs again after a pause that grows, unless its
// partition has gone.
func (s *session) release(it *item) {
	t := it.tracker
	t.mu.Lock()
	t.running--
	gone := t.closing || t.life.Err() != nil
	t.wakeIdle()
	t.mu.Unlock()
	if gone {
		s.abandon(it)
		return
	}
	it.tries++
	wait := min(100*time.Millisecond<<min(it.tries, 9), 30*time.Second)
	it.timer = time.AfterFunc(wait, func() { s.engine.enqueue(it) })
}

// fail ends the session; the first error counts.
func (s *session) fail(err error) {
	s.broken.Store(true)
	select {
	case s.fatal <- err:
	default:
	}
}

// drain lets the calls in flight finish, for as long as the engine's limit says.
func (s *session) drain() {
	limit := time.NewTimer(s.engine.cfg.Drain)
	defer limit.Stop()
	for _, t := range s.closePartitions(nil) {
		select {
		case <-t.idle():
		case <-limit.C:
			return
		case err := <-s.fatal:
			s.log.Warn("stopping without a last transaction", zap.Error(err))
			return
		}
	}
}

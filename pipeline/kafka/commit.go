package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// maxBatch bounds the completions of one partition in one transaction, so that a
// transaction stays short after a stall.
const maxBatch = 4000

// minFlush is how long completions gather even after a quiet time.
const minFlush = time.Millisecond

// commitLoop commits whenever completions wait, and not more often than once in a
// flush interval. It ends with a last commit after halt is closed.
func (s *session) commitLoop(halt <-chan struct{}) {
	pause := time.NewTimer(0)
	<-pause.C
	defer pause.Stop()
	var last time.Time // when the last transaction began
	for {
		select {
		case <-s.dirty:
		case <-halt:
			s.commit()
			return
		}
		if s.cfg.Guarantee == ExactlyOnce {
			// Counted from the last beginning, not from the first completion: a
			// completion then waits for one interval at most, not for the end of the
			// transaction before and an interval after it.
			pause.Reset(max(minFlush, s.engine.cfg.FlushInterval-time.Since(last)))
			select {
			case <-pause.C:
			case <-halt:
			}
		}
		last = time.Now()
		if more := s.commit(); more {
			s.markDirty()
		}
	}
}

func (s *session) markDirty() {
	select {
	case s.dirty <- struct{}{}:
	default:
	}
}

// commit writes one transaction and reports whether another one is due at once.
// A transaction that surely did not happen is given back and tried again; one
// whose outcome is unknown ends the session.
func (s *session) commit() (more bool) {
	s.own.lock()
	defer s.own.unlock()
	if s.broken.Load() {
		// After an unknown outcome the trackers may lag behind the broker. A further
		// commit would overwrite a map that says more than they know.
		return false
	}
	if s.suspect.Load() {
		return false // assigned says when to go on
	}
	cuts := s.cuts()
	if len(cuts) == 0 {
		s.hold(false)
		return false
	}
	began := time.Now()
	ended := s.holdIfSlow()
	// Not the session's context: cutting off an EndTxn leaves its outcome unknown.
	ctx, cancel := context.WithTimeout(context.Background(), 3*s.engine.cfg.Transaction)
	defer cancel()
	var err error
	if s.cfg.Guarantee == ExactlyOnce {
		err = s.transact(ctx, cuts)
	} else {
		err = s.write(ctx, cuts)
	}
	storeMax(&s.engine.slowest, int64(time.Since(began)))
	s.engine.metrics.committed(s.cfg.Name, cuts, time.Since(began), err)
	ended(err)
	switch {
	case err == nil:
		s.fenced = 0
		for _, c := range cuts {
			s.durable(c)
		}
		return true
	case errors.Is(err, errUnknownOutcome), s.refence(err):
		if resolved := s.resolve(cuts); resolved != nil {
			s.fail(errors.Join(err, resolved))
			return false
		}
		return true
	default:
		for _, c := range cuts {
			c.tracker.giveBack(c)
		}
		s.log.Debug("transaction aborted", zap.Error(err))
		if isFatal(err) {
			s.fail(err)
			return false
		}
		select { // the callbacks of a rebalance need a moment to come
		case <-time.After(s.engine.cfg.FlushInterval):
		case <-ctx.Done():
		}
		return true
	}
}

// durable notes that a cut's outcomes are durable.
func (s *session) durable(c *cut) {
	c.tracker.commit(c)
	s.resume(c.tracker)
	if s.engine.journal == nil {
		return
	}
	files := make(map[int]int, 1)
	for _, b := range c.batch {
		if b.file > 0 {
			files[b.file]++
		}
	}
	for file, n := range files {
		s.engine.journal.committed(file, n)
	}
}

// slowCommits is after how many flush intervals a transaction is slow.
const slowCommits = 25

// hold stops handing out the lane's requests while their outcomes can't be
// committed: what is finished meanwhile would be done again if this process died
// or lost its partitions.
func (s *session) hold(held bool) { s.engine.sched.hold(s.lane, held) }

// holdIfSlow holds the lane if a transaction takes long or fails, until one
// succeeds. The function that it returns says how the transaction ended.
func (s *session) holdIfSlow() (ended func(error)) {
	var mu sync.Mutex
	over := false
	slow := time.AfterFunc(slowCommits*s.engine.cfg.FlushInterval, func() {
		mu.Lock()
		defer mu.Unlock()
		if !over {
			s.hold(true)
		}
	})
	return func(err error) {
		slow.Stop()
		mu.Lock()
		defer mu.Unlock()
		over = true
		s.hold(err != nil)
	}
}

// cuts takes what waits in every tracker that is still owned.
func (s *session) cuts() []*cut {
	s.mu.Lock()
	defer s.mu.Unlock()
	var cuts []*cut
	for _, t := range s.trackers {
		if c := t.take(maxBatch); c != nil {
			cuts = append(cuts, c)
		}
	}
	return cuts
}

// errUnknownOutcome means that a transaction may or may not have been committed.
// Nothing in memory can tell; only the committed offsets can.
var errUnknownOutcome = errors.New("the outcome of a transaction is unknown")

// transact writes outputs and offsets in one Kafka transaction.
func (s *session) transact(ctx context.Context, cuts []*cut) error {
	if err := s.producer.BeginTransaction(); err != nil {
		return fmt.Errorf("beginning transaction: %w", err)
	}
	// One after the other: a coordinator that is told of two parts of a transaction at
	// once refuses one of them (CONCURRENT_TRANSACTIONS), and a refused produce request
	// waits for metadata before it is sent again.
	if err := s.produce(ctx, cuts); err != nil {
		return s.abort(ctx, fmt.Errorf("producing: %w", err))
	}
	if err := s.offsetsInTransaction(ctx, cuts); err != nil {
		return s.abort(ctx, fmt.Errorf("committing offsets in transaction: %w", err))
	}
	if err := s.producer.EndTransaction(ctx, kgo.TryCommit); err != nil {
		// Abort heals the client, but whether the commit had happened stays open.
		healed := s.producer.EndTransaction(ctx, kgo.TryAbort)
		return fmt.Errorf("ending transaction: %w: %w", errUnknownOutcome, errors.Join(err, healed))
	}
	return nil
}

// offsetsInTransaction is commitTxnOffsets, tried again while the coordinator is
// still busy with the transaction before.
func (s *session) offsetsInTransaction(ctx context.Context, cuts []*cut) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := s.commitTxnOffsets(ctx, cuts)
		if !errors.Is(err, kerr.ConcurrentTransactions) {
			return err
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return err
		}
	}
}

func storeMax(v *atomic.Int64, n int64) {
	for old := v.Load(); n > old && !v.CompareAndSwap(old, n); old = v.Load() {
	}
}

// abort ends a transaction that must not be committed and returns why. When even
// that fails the session has to start anew: the broker aborts by itself later.
func (s *session) abort(ctx context.Context, why error) error {
	if err := s.producer.AbortBufferedRecords(ctx); err != nil {
		return fmt.Errorf("aborting: %w: %w", errUnknownOutcome, errors.Join(why, err))
	}
	if err := s.producer.EndTransaction(ctx, kgo.TryAbort); err != nil {
		return fmt.Errorf("aborting: %w: %w", errUnknownOutcome, errors.Join(why, err))
	}
	return why
}

// write is the at-least-once way: outputs first, offsets after.
func (s *session) write(ctx context.Context, cuts []*cut) error {
	if err := s.produce(ctx, cuts); err != nil {
		return fmt.Errorf("producing: %w", err)
	}
	if err := s.commitOffsets(ctx, cuts); err != nil {
		return fmt.Errorf("committing offsets: %w", err)
	}
	return nil
}

// produce writes the outputs of the cuts and waits until they are acknowledged.
func (s *session) produce(ctx context.Context, cuts []*cut) error {
	first := new(kgo.FirstErrPromise)
	if s.cfg.Guarantee == ExactlyOnce {
		first = kgo.AbortingFirstErrPromise(s.producer)
	}
	n := 0
	for _, c := range cuts {
		for _, b := range c.batch {
			n += len(b.outputs)
		}
	}
	records := make([]kgo.Record, n)
	for _, c := range cuts {
		for _, b := range c.batch {
			for i := range b.outputs {
				n--
				r, out := &records[n], &b.outputs[i]
				r.Topic, r.Key, r.Value = out.Topic, out.Key, out.Value
				if len(out.Headers) > 0 {
					r.Headers = make([]kgo.RecordHeader, len(out.Headers))
					for j, h := range out.Headers {
						r.Headers[j] = kgo.RecordHeader{Key: h.Key, Value: h.Value}
					}
				}
				s.producer.Produce(ctx, r, first.Promise())
			}
		}
	}
	if err := s.producer.Flush(ctx); err != nil {
		return err
	}
	return first.Err()
}

// commitTxnOffsets adds the offsets to the transaction.
func (s *session) commitTxnOffsets(ctx context.Context, cuts []*cut) error {
	t := txnOffsets{client: s.producer, transactionalID: s.transactionalID(), group: s.engine.cfg.Group + "." + s.cfg.Name, instance: s.instanceID(), version: &s.version}
	t.member, t.generation = s.consumer.GroupMetadata()
	if s.suspect.Load() { // looked at after the metadata, which may be those of a new member
		return ErrForgotten
	}
	var topics []kmsg.TxnOffsetCommitRequestTopic
	for topic, cs := range byTopic(cuts) {
		rt := kmsg.NewTxnOffsetCommitRequestTopic()
		rt.Topic, rt.TopicID = topic, cs[0].tracker.topicID
		for _, c := range cs {
			rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
			rp.Partition, rp.Offset, rp.LeaderEpoch, rp.Metadata = c.tracker.partition, c.offset, c.epoch, new(c.metadata)
			rt.Partitions = append(rt.Partitions, rp)
		}
		topics = append(topics, rt)
	}
	return t.commit(ctx, topics)
}

// txnOffsets adds offsets of a group's member to the transaction of a producer.
type txnOffsets struct {
	client                 *kgo.Client // the producer
	transactionalID, group string
	member                 string
	generation             int32
	instance               *string // of a static member
	version                *transactionVersion
}

// commit sends the offsets. Every partition's error counts: EndTransaction would
// commit happily without them.
func (t *txnOffsets) commit(ctx context.Context, topics []kmsg.TxnOffsetCommitRequestTopic) error {
	id, epoch, err := t.client.ProducerID(ctx)
	if err != nil {
		return err
	}
	if err := t.addGroup(ctx, id, epoch); err != nil {
		return err
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch = t.transactionalID, t.group, id, epoch
	req.MemberID, req.Generation, req.InstanceID, req.Topics = t.member, t.generation, t.instance, topics
	resp, err := req.RequestWith(ctx, t.client)
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

// addGroup adds the group to the transaction, on clusters before
// transaction.version 2.
func (t *txnOffsets) addGroup(ctx context.Context, id int64, epoch int16) error {
	if implicit, err := t.version.addsGroups(ctx, t.client); err != nil || implicit {
		return err
	}
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = t.transactionalID, id, epoch, t.group
	added, err := add.RequestWith(ctx, t.client)
	if err != nil {
		return err
	}
	return kerr.ErrorForCode(added.ErrorCode)
}

// transactionVersion is what was asked of a cluster once: whether offsets add their
// group to a transaction by themselves (KIP-890). One goroutine uses it.
type transactionVersion struct{ asked, implicit bool }

func (v *transactionVersion) addsGroups(ctx context.Context, cl *kgo.Client) (bool, error) {
	if v.asked {
		return v.implicit, nil
	}
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, cl)
	if err != nil {
		return false, err
	}
	for _, f := range resp.FinalizedFeatures {
		v.implicit = v.implicit || f.Name == "transaction.version" && f.MaxVersionLevel >= 2
	}
	v.asked = true
	return v.implicit, nil
}

// commitOffsets commits without a transaction, with the same map.
func (s *session) commitOffsets(ctx context.Context, cuts []*cut) error {
	member, generation := s.consumer.GroupMetadata()
	if s.suspect.Load() {
		return ErrForgotten
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation, req.InstanceID = s.engine.cfg.Group+"."+s.cfg.Name, member, generation, s.instanceID()
	for topic, cs := range byTopic(cuts) {
		rt := kmsg.NewOffsetCommitRequestTopic()
		rt.Topic, rt.TopicID = topic, cs[0].tracker.topicID
		for _, c := range cs {
			rp := kmsg.NewOffsetCommitRequestTopicPartition()
			rp.Partition, rp.Offset, rp.LeaderEpoch, rp.Metadata = c.tracker.partition, c.offset, c.epoch, new(c.metadata)
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	resp, err := req.RequestWith(ctx, s.consumer)
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

func (s *session) instanceID() *string {
	if !s.engine.cfg.StaticMembership {
		return nil
	}
	return &s.engine.cfg.Instance
}

func byTopic(cuts []*cut) map[string][]*cut {
	m := map[string][]*cut{}
	for _, c := range cuts {
		m[c.tracker.topic] = append(m[c.tracker.topic], c)
	}
	return m
}

// refence reports whether the producer was fenced and may start anew. A broker
// that died does that to every producer. So does another process with our
// instance's name, but not to one that starts anew: that one's partitions are gone
// with the next heartbeat.
func (s *session) refence(err error) bool {
	if !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) && !errors.Is(err, kerr.InvalidProducerIDMapping) {
		return false
	}
	s.fenced++
	return s.fenced <= maxFenced
}

// maxFenced is how often in a row a producer starts anew before its session does.
const maxFenced = 3

// isFatal reports whether trying again with these clients is of no use.
func isFatal(err error) bool {
	for _, e := range []error{
		kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.InvalidProducerIDMapping, kerr.TransactionalIDAuthorizationFailed,
		kerr.FencedInstanceID, kerr.UnknownTopicID, kgo.ErrClientClosed,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

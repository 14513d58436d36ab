package kafka

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// ownership is a lock that is held while the network is waited for. It is a channel
// and no mutex, so that virtual time goes on while someone waits for it.
type ownership chan struct{}

func newOwnership() ownership { return make(ownership, 1) }
func (o ownership) lock()     { o <- struct{}{} }
func (o ownership) unlock()   { <-o }

type topicPartition struct {
	topic     string
	partition int32
}

// fetched makes the trackers, and is the only place that does: a tracker made at
// the first record would not know what the last owner had finished.
func (s *session) fetched(_ context.Context, consumer *kgo.Client, r *kmsg.OffsetFetchResponse) error {
	// Not s.consumer: a client joins its group before it is returned, so on a busy
	// machine this may come first.
	_, generation := consumer.GroupMetadata()
	// The client remembers that a partition was paused, also when it is lost and
	// comes back; a new tracker does not.
	assigned := make(map[string][]int32)
	defer func() { consumer.ResumeFetchPartitions(assigned) }()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation = generation
	add := func(topic string, id [16]byte, partition int32, offset int64, metadata *string) {
		var done []run
		if metadata != nil && offset >= 0 {
			var err error
			if done, err = decodeMap(offset, *metadata, id); err != nil {
				s.log.Warn("ignoring committed metadata; finished requests above the offset run again",
					zap.String("topic", topic), zap.Int32("partition", partition), zap.Error(err))
			}
		}
		tp := topicPartition{topic, partition}
		assigned[topic] = append(assigned[topic], partition)
		text := ""
		if metadata != nil {
			text = *metadata
		}
		if t := s.trackers[tp]; t != nil && t.used() {
			// Offsets are asked for again when a session of the group ends before its
			// client took note of them. The partition was never lost, so its tracker
			// knows more than an answer that may be older than its last commit.
			return
		}
		if t := s.limbo[tp]; t != nil {
			delete(s.limbo, tp)
			if s.cfg.Order != OrderKey && t.adopt(offset, text) {
				s.trackers[tp] = t
				s.markDirty()
				return
			}
			s.log.Warn("a partition came back that another member has worked on; calls in flight are made again",
				zap.Int32("partition", partition), zap.Int("open", t.open), zap.Int("finished", t.ready))
			s.end(t)
		}
		t := newTracker(topic, partition, id, offset, done)
		t.committedMap = text
		s.trackers[tp] = t
	}
	topics := r.Topics // of brokers before OffsetFetch v8; else a copy of what Groups has
	if len(r.Groups) > 0 {
		topics = nil
	}
	for _, t := range topics {
		for _, p := range t.Partitions {
			add(t.Topic, [16]byte{}, p.Partition, p.Offset, p.Metadata)
		}
	}
	for _, g := range r.Groups {
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				add(t.Topic, t.TopicID, p.Partition, p.Offset, p.Metadata)
			}
		}
	}
	return nil
}

// revoked gives partitions up in order: no new dispatch, calls in flight finish
// and are committed while the member's generation still holds, then the rest is
// dropped for the next owner.
func (s *session) revoked(ctx context.Context, cl *kgo.Client, parts map[string][]int32) {
	if s.suspect.Load() {
		s.lost(ctx, cl, parts) // another member may have them already
		return
	}
	leaving := s.closePartitions(parts)
	limit := time.NewTimer(s.engine.cfg.RevokeDrain)
	defer limit.Stop()
wait:
	for _, t := range leaving {
		select {
		case <-t.idle():
		case <-limit.C:
			break wait
		case <-ctx.Done():
			break wait
		}
	}
	s.drop(parts)
}

// lost keeps what is in flight for a while: a broker that was away for a moment
// makes the group forget its members, and the same partitions come back. See
// tracker.adopt.
func (s *session) lost(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
	leaving := s.closePartitions(parts)
	s.own.lock() // waits for the transaction in progress
	defer s.own.unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range leaving {
		tp := topicPartition{t.topic, t.partition}
		delete(s.trackers, tp)
		s.limbo[tp] = t
	}
	at := time.Now()
	s.lostAt = at
	time.AfterFunc(2*s.engine.cfg.SessionTimeout, func() { s.forget(leaving, at) })
}

// forget ends the trackers that did not come back into service.
func (s *session) forget(lost []*tracker, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lostAt != at {
		return // they came back and were lost again, and that loss has its own time
	}
	for _, t := range lost {
		tp := topicPartition{t.topic, t.partition}
		if s.limbo[tp] == t {
			delete(s.limbo, tp)
			s.end(t)
		}
	}
}

// closePartitions stops dispatch for parts (nil: all) and takes back what waits.
func (s *session) closePartitions(parts map[string][]int32) []*tracker {
	leaving := map[*tracker]bool{}
	s.mu.Lock()
	for tp, t := range s.trackers {
		if parts == nil || contains(parts, tp) {
			leaving[t] = true
		}
	}
	s.mu.Unlock()
	out := make([]*tracker, 0, len(leaving))
	for t := range leaving {
		t.mu.Lock()
		t.closing = true
		for _, waiting := range t.chains {
			for _, it := range waiting {
				t.dropped(it)
				s.let(it)
			}
		}
		clear(t.chains)
		t.mu.Unlock()
		out = append(out, t)
	}
	for _, it := range s.engine.sched.drop(func(it *item) bool { return leaving[it.tracker] }) {
		s.abandon(it)
	}
	return out
}

// drop forgets parts (nil: all) and cuts off their calls.
func (s *session) drop(parts map[string][]int32) {
	if parts == nil {
		s.closePartitions(nil)
	}
	s.own.lock() // waits for the transaction in progress
	defer s.own.unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for tp, t := range s.trackers {
		if parts == nil || contains(parts, tp) {
			s.end(t)
			delete(s.trackers, tp)
		}
	}
	if parts == nil {
		for _, t := range s.limbo {
			s.end(t)
		}
		clear(s.limbo)
	}
}

// cut ends the calls in flight; what is finished is still committed.
func (s *session) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.trackers {
		t.cut()
	}
	for _, t := range s.limbo {
		t.cut()
	}
}

func contains(parts map[string][]int32, tp topicPartition) bool {
	return slices.Contains(parts[tp.topic], tp.partition)
}

// end gives a tracker up. What it has finished and not committed is kept for the
// partition's next tracker here, if there is one.
func (s *session) end(t *tracker) {
	t.end()
	if s.engine.journal == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.engine.journal.keep(t.pending)
}

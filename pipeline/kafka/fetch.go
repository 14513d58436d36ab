package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
)

func (s *session) fetchError(topic string, p *kgo.FetchPartition) {
	var loss *kgo.ErrDataLoss
	switch {
	case errors.Is(p.Err, context.Canceled), errors.Is(p.Err, context.DeadlineExceeded), errors.Is(p.Err, kgo.ErrClientClosed):
	case errors.As(p.Err, &loss):
		s.log.Error("the broker lost records; reading goes on where it has some", zap.String("topic", topic), zap.Int32("partition", p.Partition), zap.Error(p.Err))
	case errors.Is(p.Err, kerr.UnknownTopicID), errors.Is(p.Err, kerr.FencedInstanceID):
		s.fail(fmt.Errorf("reading %s/%d: %w", topic, p.Partition, p.Err))
	default:
		s.log.Warn("reading", zap.String("topic", topic), zap.Int32("partition", p.Partition), zap.Error(p.Err))
		var session *kgo.ErrGroupSession
		if errors.As(p.Err, &session) && errors.Is(session, kerr.FencedInstanceID) {
			s.fail(fmt.Errorf("another process runs as instance %q: %w", s.engine.cfg.Instance, p.Err))
		}
	}
}

// skip puts one item in the place of a batch that can't be unpacked, and reads on
// behind it.
func (s *session) skip(batch *kgo.ErrDecompressTooLarge, now time.Time) {
	s.log.Warn("a batch of records can't be unpacked: it is answered as one", zap.String("topic", batch.Topic),
		zap.Int32("partition", batch.Partition), zap.Int64("offset", batch.Offset), zap.Int64("next", batch.NextOffset))
	s.mu.Lock()
	t := s.trackers[topicPartition{batch.Topic, batch.Partition}]
	s.mu.Unlock()
	if t == nil {
		return // given up meanwhile; its next owner meets the batch
	}
	var ready []*item
	t.mu.Lock()
	// A part of the batch may be done: the next owner of a partition begins in the
	// middle.
	first := max(batch.Offset, t.next)
	if first < batch.NextOffset && t.register(first, batch.Epoch) {
		r := &kgo.Record{Topic: batch.Topic, Partition: batch.Partition, Offset: first, Timestamp: now}
		it := s.newItem(t, r)
		it.rec.packed = batch.NextOffset - first
		ready = t.chain([]*item{it})
		t.pass(batch.NextOffset)
	}
	t.mu.Unlock()
	s.readOn()
	for _, it := range ready {
		s.dispatch(it, now)
	}
}

// readOn has the client read every partition from where its tracker stands. To set
// one partition alone would not do: the client throws away what it has fetched of
// the others, and with it perhaps the news that another one has stopped at such a
// batch, which then would be read no more. A partition is only set to what differs
// from what was set before, in its epoch if nothing else; all negative ones mean
// none.
func (s *session) readOn() {
	s.epochs++
	none := int32(-1 - s.epochs%2)
	at := map[string]map[int32]kgo.EpochOffset{}
	s.mu.Lock()
	for tp, t := range s.trackers {
		if at[tp.topic] == nil {
			at[tp.topic] = map[int32]kgo.EpochOffset{}
		}
		t.mu.Lock()
		at[tp.topic][tp.partition] = kgo.EpochOffset{Epoch: none, Offset: t.position()}
		t.mu.Unlock()
	}
	s.mu.Unlock()
	s.consumer.SetOffsets(at)
}

// resume lets a partition be read again once a quarter of its window is free. A
// finished request leaves the window only with its commit, so this is where to
// look.
func (s *session) resume(t *tracker) {
	t.mu.Lock()
	free := t.paused && !t.closing && t.incomplete() < s.engine.cfg.Window*3/4
	if free {
		t.paused = false
	}
	t.mu.Unlock()
	if free {
		s.consumer.ResumeFetchPartitions(map[string][]int32{t.topic: {t.partition}})
	}
}

package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// resolve finds out what became of a transaction whose end got no answer. A new
// producer with the same transactional id first fences it, so that its outcome
// can't change any more; then the committed offsets tell: a cut's offset and map
// differ from what was committed before, so they are there if and only if the
// transaction was committed. What was not is given back and written again.
//
// The ownership lock is held. An error means that the session must
// end: nothing is known then but what a new one reads from the broker.
func (s *session) resolve(cuts []*cut) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*s.engine.cfg.SessionTimeout)
	defer cancel()
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := s.tryResolve(ctx, cuts)
		if err == nil {
			return nil
		}
		s.log.Debug("asking again what became of a transaction", zap.Error(err))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("asking what became of a transaction: %w", err)
		}
	}
}

func (s *session) tryResolve(ctx context.Context, cuts []*cut) error {
	fresh, err := s.newProducer()
	if err != nil {
		return err
	}
	if _, _, err := fresh.ProducerID(ctx); err != nil {
		fresh.Close()
		return fmt.Errorf("fencing: %w", err)
	}
	trackers := make([]*tracker, len(cuts))
	for i, c := range cuts {
		trackers[i] = c.tracker
	}
	committed, err := s.committed(ctx, fresh, trackers)
	if err != nil {
		fresh.Close()
		return err
	}
	s.producer.Close()
	s.producer = fresh
	for _, c := range cuts {
		at, ok := committed[topicPartition{c.tracker.topic, c.tracker.partition}]
		if ok && at.offset == c.offset && at.metadata == c.metadata {
			s.durable(c)
		} else {
			c.tracker.giveBack(c)
		}
	}
	return nil
}

type committedOffset struct {
	offset   int64
	metadata string
}

// committed reads the stable committed offsets of the trackers' partitions.
func (s *session) committed(ctx context.Context, cl *kgo.Client, trackers []*tracker) (map[topicPartition]committedOffset, error) {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = true
	group := kmsg.NewOffsetFetchRequestGroup()
	group.Group = s.engine.cfg.Group + "." + s.cfg.Name
	req.Group = group.Group
	topics := map[string][]*tracker{}
	for _, t := range trackers {
		topics[t.topic] = append(topics[t.topic], t)
	}
	for topic, ts := range topics {
		gt := kmsg.NewOffsetFetchRequestGroupTopic()
		gt.Topic, gt.TopicID = topic, ts[0].topicID
		rt := kmsg.NewOffsetFetchRequestTopic()
		rt.Topic = topic
		for _, t := range ts {
			gt.Partitions = append(gt.Partitions, t.partition)
			rt.Partitions = append(rt.Partitions, t.partition)
		}
		group.Topics = append(group.Topics, gt)
		req.Topics = append(req.Topics, rt)
	}
	req.Groups = append(req.Groups, group)
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, fmt.Errorf("reading committed offsets: %w", err)
	}
	out := map[topicPartition]committedOffset{}
	for _, g := range resp.Groups {
		if err := kerr.ErrorForCode(g.ErrorCode); err != nil {
			return nil, fmt.Errorf("reading committed offsets: %w", err)
		}
		for _, t := range g.Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					return nil, fmt.Errorf("reading committed offsets: %w", err)
				}
				at := committedOffset{offset: p.Offset}
				if p.Metadata != nil {
					at.metadata = *p.Metadata
				}
				out[topicPartition{t.Topic, p.Partition}] = at
			}
		}
	}
	if len(out) < len(trackers) {
		return nil, fmt.Errorf("reading committed offsets: %d of %d partitions came", len(out), len(trackers))
	}
	return out, nil
}

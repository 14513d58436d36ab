package kafka

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"go.uber.org/zap"
)

// hangingPeriod is how often a session looks for transactions of its own that
// hang, and how long one must have hung before it is ended.
const hangingPeriod = 15 * time.Second

// hanging is a transaction of an earlier epoch of ours that is open on a partition
// although its coordinator knows nothing of it there any more. A broker that dies
// in the wrong moment can leave one behind, as was seen with Apache Kafka 4.4;
// readers of committed records then never get past it.
type hanging struct {
	topic     string
	partition int32
	epoch     int16
	start     int64 // offset of its first record
}

// endHanging ends hanging transactions until ctx is done, as the tool
// kafka-transactions does (KIP-664): by markers of abort. What they had written
// is in no committed transaction, or the coordinator would still know of it.
func (s *session) endHanging(ctx context.Context) {
	if s.cfg.Guarantee != ExactlyOnce {
		return
	}
	tick := time.NewTicker(hangingPeriod)
	defer tick.Stop()
	var before map[hanging]int32
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		look, cancel := context.WithTimeout(ctx, hangingPeriod)
		before = s.endThoseOf(look, before)
		cancel()
	}
}

// endThoseOf looks, ends what hung at the look before too, and returns what hangs
// now with the epoch of the coordinator that began it.
func (s *session) endThoseOf(ctx context.Context, before map[hanging]int32) map[hanging]int32 {
	topics := s.written.Load()
	if topics == nil {
		return nil
	}
	admin := kadm.NewClient(s.consumer)
	id := s.transactionalID()
	known, err := admin.DescribeTransactions(ctx, id)
	txn, ok := known[id]
	if err != nil || !ok || txn.Err != nil {
		return nil // asked again in a while; a broker may be away
	}
	open, err := admin.DescribeProducers(ctx, *topics)
	if err != nil {
		return nil
	}
	now := make(map[hanging]int32)
	open.EachProducer(func(p kadm.DescribedProducer) {
		// The coordinator lists the partitions that a transaction still needs.
		if p.ProducerID != txn.ProducerID || p.ProducerEpoch >= txn.ProducerEpoch || p.CurrentTxnStartOffset < 0 || txn.Topics.Lookup(p.Topic, p.Partition) {
			return
		}
		now[hanging{p.Topic, p.Partition, p.ProducerEpoch, p.CurrentTxnStartOffset}] = max(p.CoordinatorEpoch, 0)
	})
	for h, coordinator := range now {
		if _, hung := before[h]; !hung {
			continue
		}
		s.log.Warn("ending a transaction that a broker left open: nobody could read committed records behind it",
			zap.String("topic", h.topic), zap.Int32("partition", h.partition), zap.Int64("offset", h.start), zap.Error(s.abortOn(ctx, admin, txn.ProducerID, h, coordinator)))
	}
	return now
}

func (s *session) abortOn(ctx context.Context, admin *kadm.Client, producer int64, h hanging, coordinator int32) error {
	var topics kadm.TopicsSet
	topics.Add(h.topic, h.partition)
	written, err := admin.WriteTxnMarkers(ctx, kadm.TxnMarkers{ProducerID: producer, ProducerEpoch: h.epoch, CoordinatorEpoch: coordinator, Topics: topics})
	if err != nil {
		return err
	}
	for _, p := range written.SortedPartitions() {
		if p.Err != nil && p.Err != kerr.InvalidProducerEpoch { //nolint:errorlint // codes are single values
			err = p.Err
		}
	}
	return err
}

func (s *session) transactionalID() string {
	c := s.engine.cfg
	return c.Group + "." + s.cfg.Name + "." + c.Instance
}

// wrote remembers that there are records of ours on a topic. Only the commit loop
// calls it.
func (s *session) wrote(topic string) {
	old := s.written.Load()
	if old != nil {
		if _, ok := (*old)[topic]; ok {
			return
		}
	}
	topics := kadm.TopicsSet{topic: nil}
	if old != nil {
		topics.Merge(*old)
	}
	s.written.Store(&topics)
}

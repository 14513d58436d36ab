package kafka

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"go.uber.org/zap"
)

// hangingPeriod is how often a session looks for transactions of its own that
// hang, and how old one is at least that is ended.
const hangingPeriod = 5 * time.Second

// endHanging ends hanging transactions until ctx is done: those of an earlier epoch
// of ours that are open on a partition although their coordinator knows nothing of
// them there any more. A broker that dies in the wrong moment can leave one behind,
// as was seen with Apache Kafka 4.4, and readers of committed records then never get
// past it. They are ended as the tool kafka-transactions does (KIP-664), by markers
// of abort: what they had written is in no committed transaction, or the coordinator
// would still know of it.
func (s *session) endHanging(ctx context.Context) {
	if s.cfg.Guarantee != ExactlyOnce || len(s.engine.cfg.Outputs) == 0 {
		return
	}
	tick := time.NewTicker(hangingPeriod)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		look, cancel := context.WithTimeout(ctx, hangingPeriod)
		s.endThoseThatHang(look)
		cancel()
	}
}

// endThoseThatHang asks the coordinator first: what it calls complete then has its
// markers on every partition, so what is open after that was left behind.
func (s *session) endThoseThatHang(ctx context.Context) {
	admin := kadm.NewClient(s.consumer)
	id := s.transactionalID()
	known, err := admin.DescribeTransactions(ctx, id)
	txn, ok := known[id]
	if err != nil || !ok || txn.Err != nil {
		return // asked again in a while; a broker may be away
	}
	var topics kadm.TopicsSet
	for _, t := range s.engine.cfg.Outputs {
		topics.Add(t)
	}
	open, err := admin.DescribeProducers(ctx, topics)
	if err != nil {
		return
	}
	latest := time.Now().Add(-hangingPeriod).UnixMilli()
	open.EachProducer(func(p kadm.DescribedProducer) {
		if p.ProducerID != txn.ProducerID || p.ProducerEpoch >= txn.ProducerEpoch || p.CurrentTxnStartOffset < 0 {
			return
		}
		if p.LastTimestamp > latest || txn.Topics.Lookup(p.Topic, p.Partition) {
			return // the coordinator lists the partitions that a transaction still needs
		}
		s.log.Warn("ending a transaction that a broker left open: nobody could read committed records behind it",
			zap.String("topic", p.Topic), zap.Int32("partition", p.Partition), zap.Int64("offset", p.CurrentTxnStartOffset), zap.Error(abortOn(ctx, admin, &p)))
	})
}

func abortOn(ctx context.Context, admin *kadm.Client, p *kadm.DescribedProducer) error {
	var topics kadm.TopicsSet
	topics.Add(p.Topic, p.Partition)
	written, err := admin.WriteTxnMarkers(ctx, kadm.TxnMarkers{
		ProducerID: p.ProducerID, ProducerEpoch: p.ProducerEpoch, CoordinatorEpoch: max(p.CoordinatorEpoch, 0), Topics: topics,
	})
	for _, answer := range written.SortedPartitions() {
		err = errors.Join(err, answer.Err)
	}
	return err
}

func (s *session) transactionalID() string {
	c := s.engine.cfg
	return c.Group + "." + s.cfg.Name + "." + c.Instance
}

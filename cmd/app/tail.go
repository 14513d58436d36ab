package app

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
)

// topicTail follows a topic from its start: every process that needs it reads all of it.
type topicTail struct {
	client *kgo.Client
	topic  string
	log    *zap.Logger

	caught chan struct{} // closed when all is read that was there at the start
}

func (a *App) tail(topic string) (topicTail, error) {
	cl, err := a.client.NewClient(a.log, a.reg, kgo.ConsumeTopics(topic), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(500*time.Millisecond))
	return topicTail{cl, topic, a.log, make(chan struct{})}, err
}

// follow gives take every record, in the order of each partition, until ctx is done.
func (s *topicTail) follow(ctx context.Context, take func(context.Context, *kgo.Record)) error {
	defer s.client.Close()
	left, err := s.ends(ctx)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	for told := false; ; {
		if len(left) == 0 && !told {
			told = true
			close(s.caught)
		}
		for r := range s.client.PollFetches(ctx).RecordsAll() {
			take(ctx, r)
			if end, ok := left[r.Partition]; ok && r.Offset+1 >= end {
				delete(left, r.Partition)
			}
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// ends returns the ends of the partitions that hold something, and tries until it
// has them: without Kafka there is nothing else to do.
func (s *topicTail) ends(ctx context.Context) (map[int32]int64, error) {
	admin := kadm.NewClient(s.client)
	for {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		starts, err := admin.ListStartOffsets(try, s.topic)
		if err == nil {
			err = starts.Error()
		}
		var ends kadm.ListedOffsets
		if err == nil {
			ends, err = admin.ListEndOffsets(try, s.topic)
		}
		if err == nil {
			err = ends.Error()
		}
		cancel()
		if err == nil {
			left := map[int32]int64{}
			ends.Each(func(o kadm.ListedOffset) {
				if from, ok := starts.Lookup(o.Topic, o.Partition); !ok || from.Offset < o.Offset {
					left[o.Partition] = o.Offset
				}
			})
			return left, nil
		}
		s.log.Warn("listing offsets", zap.String("topic", s.topic), zap.Error(err))
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, fmt.Errorf("listing offsets of %s: %w", s.topic, ctx.Err())
		}
	}
}

package app

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// states follows the topic of endpoint states from its start: every process that
// needs them reads all of them.
type states struct {
	client *kgo.Client
	codec  *avro.Codec[schemas.EndpointState]
	topic  string
	hear   func(schemas.EndpointState, time.Time)
	log    *zap.Logger

	caught chan struct{} // closed when all is read that was there at the start
}

// followStates returns what calls hear for every state, in the order of each
// partition, from the goroutine of run.
func (a *App) followStates(hear func(schemas.EndpointState, time.Time)) (*states, error) {
	topic := a.cfg.Topic(TopicStates)
	cl, err := a.client.NewClient(a.log, a.reg, kgo.ConsumeTopics(topic), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		return nil, err
	}
	return &states{cl, a.codecs.EndpointState, topic, hear, a.log, make(chan struct{})}, nil
}

// run reads until ctx is done.
func (s *states) run(ctx context.Context) error {
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
			s.take(ctx, r)
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
func (s *states) ends(ctx context.Context) (map[int32]int64, error) {
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
		s.log.Warn("listing endpoint states", zap.Error(err))
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, fmt.Errorf("listing endpoint states: %w", ctx.Err())
		}
	}
}

func (s *states) take(ctx context.Context, r *kgo.Record) {
	if len(r.Value) == 0 {
		return
	}
	var state schemas.EndpointState
	if err := s.codec.Decode(ctx, r.Value, &state); err != nil {
		s.log.Warn("reading endpoint state", zap.Int64("offset", r.Offset), zap.Error(err)) // the next one is seconds away
		return
	}
	s.hear(state, time.Now())
}

package app

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// states follows the topic of endpoint states.
type states struct {
	topicTail
	codec *avro.Codec[schemas.EndpointState]
	hear  func(schemas.EndpointState, time.Time)
}

// followStates returns what calls hear for every state, in the order of each
// partition, from the goroutine of run.
func (a *App) followStates(hear func(schemas.EndpointState, time.Time)) (*states, error) {
	tail, err := a.tail(a.cfg.Topic(TopicStates))
	if err != nil {
		return nil, err
	}
	return &states{tail, a.codecs.EndpointState, hear}, nil
}

// run reads until ctx is done.
func (s *states) run(ctx context.Context) error { return s.follow(ctx, s.take) }

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

package app

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/limit"
	"github.com/sira-ai/sira/handlers/invoke"
	"github.com/sira-ai/sira/pipeline/kafka"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// sampleEvery is how often gauges become metric events.
const sampleEvery = 5 * time.Second

// sampler writes gauges that can't be derived from other events to the metrics
// topic, and from there to ClickHouse. A sample that is lost is not missed.
type sampler struct {
	engine *kafka.Engine
	pools  map[string]*invoke.Pool
	limits *limit.Limiter

	predictor *predictor

	client *kgo.Client
	codec  *avro.Codec[schemas.MetricEvent]
	topic  string
	worker string
	log    *zap.Logger
}

func (s *sampler) run(ctx context.Context) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			s.sample(ctx, now)
		case <-ctx.Done():
			return nil
		}
	}
}

func (s *sampler) sample(ctx context.Context, now time.Time) {
	for _, p := range s.engine.Partitions() {
		subject := p.Topic
		s.emit(ctx, now, "engine_backlog", subject, float64(p.Backlog))
		s.emit(ctx, now, "engine_window", subject, float64(p.Window))
	}
	for _, pool := range s.pools {
		for _, e := range pool.Snapshot() {
			s.emit(ctx, now, "endpoint_in_flight", e.ID, float64(e.InFlight))
			open := 0.0
			if e.State == balance.Open {
				open = 1
			}
			s.emit(ctx, now, "endpoint_breaker_open", e.ID, open)
			s.emit(ctx, now, "endpoint_share_percent", e.ID, float64(e.Share))
		}
	}
	for _, o := range s.predictor.views() {
		s.emit(ctx, now, "endpoint_failure_probability", o.Endpoint, o.Probability)
	}
	for _, l := range s.limits.Lines() {
		subject := string(l.Scope) + " " + l.Name
		s.emit(ctx, now, "limit_waiting", subject, float64(l.Waiting))
		s.emit(ctx, now, "limit_eta_seconds", subject, l.ETA.Seconds())
	}
}

func (s *sampler) emit(ctx context.Context, now time.Time, name, subject string, v float64) {
	b, err := s.codec.Append(nil, &schemas.MetricEvent{Time: now, Name: name, Endpoint: subject, Worker: s.worker, Value: v})
	if err != nil {
		s.log.Warn("writing metric event", zap.Error(err))
		return
	}
	s.client.TryProduce(ctx, &kgo.Record{Topic: s.topic, Key: []byte(subject), Value: b}, nil)
}

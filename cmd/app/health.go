package app

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// healthWriter writes health events. An event that can't be written is logged: calls
// do not wait for it.
type healthWriter struct {
	client   *kgo.Client
	codec    *avro.Codec[schemas.HealthEvent]
	topic    string
	source   string
	instance string
	log      *zap.Logger
}

func (a *App) newHealthWriter(client *kgo.Client, source string) *healthWriter {
	return &healthWriter{client, a.codecs.Health, a.cfg.Topic(TopicHealth), source, a.cfg.Instance, a.log}
}

func (w *healthWriter) write(e *schemas.HealthEvent) {
	e.Source, e.Instance = w.source, w.instance
	if w.source == schemas.SourceWorker { // its numbers are its own
		e.ID = w.instance + "/" + e.ID + "@" + e.Time.UTC().Format(time.RFC3339Nano)
	}
	failed := func(err error) {
		w.log.Warn("writing health event", zap.String("provider", e.Provider), zap.String("endpoint", e.Endpoint), zap.Error(err))
	}
	b, err := w.codec.Append(nil, e)
	if err != nil {
		failed(err)
		return
	}
	// Not the caller's context: it may end before the event is written.
	w.client.TryProduce(context.Background(), &kgo.Record{Topic: w.topic, Key: []byte(e.Provider + "/" + e.Endpoint), Value: b}, func(_ *kgo.Record, err error) {
		if err != nil {
			failed(err)
		}
	})
}

func (w *healthWriter) breaker(c balance.Change) {
	w.write(&schemas.HealthEvent{
		ID: c.Provider + "/" + c.Endpoint, Time: c.At, Kind: schemas.HealthBreaker, Provider: c.Provider, Endpoint: c.Endpoint,
		Applied: true, FromState: c.From, ToState: c.To,
	})
}

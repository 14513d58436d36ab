package kafka

import (
	"context"
	"encoding/json"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// Chunks publishes the pieces of streamed answers as they come, outside the
// transaction. A piece that Kafka can't take at once is dropped and counted: a
// slow broker must not slow a provider's stream, and the result is what counts.
type Chunks struct {
	Client  *kgo.Client // idempotent, not transactional
	Codec   *avro.Codec[schemas.Chunk]
	Topic   string
	dropped atomic.Int64
}

// Dropped returns how many pieces were not published.
func (c *Chunks) Dropped() int64 { return c.dropped.Load() }

// Handle is a stage that gives streaming jobs their Emit.
func (c *Chunks) Handle(ctx context.Context, job *pipeline.Job) error {
	if !job.Request.Stream {
		return nil
	}
	ctx = context.WithoutCancel(ctx) // a piece that was begun is sent
	tenant, asJSON := job.Request.Tenant, job.Origin.JSON
	key := []byte(job.Request.ID)
	job.Emit = func(chunk schemas.Chunk) {
		chunk.Tenant = tenant
		rec := &kgo.Record{Topic: c.Topic, Key: key}
		var err error
		if asJSON {
			rec.Value, err = json.Marshal(&chunk)
			rec.Headers = []kgo.RecordHeader{{Key: schemas.HeaderContentType, Value: []byte(schemas.ContentTypeJSON)}}
		} else {
			rec.Value, err = c.Codec.Append(nil, &chunk)
		}
		if err != nil {
			c.dropped.Add(1)
			return
		}
		c.Client.TryProduce(ctx, rec, func(_ *kgo.Record, err error) {
			if err != nil {
				c.dropped.Add(1)
			}
		})
	}
	return nil
}

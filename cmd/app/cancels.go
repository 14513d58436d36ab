package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

const (
	// maxCancels bounds the cancellations that a worker remembers: about 50 MB.
	maxCancels = 500_000
	// keepCancels is how long they are remembered where Kafka keeps requests for ever.
	keepCancels = 30 * 24 * time.Hour
	// cancelsPatience is how long a worker that starts waits until it knows who was
	// cancelled. After that it works all the same: it stops calls that it makes in vain
	// as soon as it knows.
	cancelsPatience = 10 * time.Second
)

// cancels follows the topic of cancellations. Every worker reads all of it, since any
// of them may have the request, or get it later.
type cancels struct {
	topicTail
	codec *avro.Codec[schemas.Cancel]
	book  *pipeline.CancelBook
	hurry func(tenant, id string)
}

// cancelBook returns an empty book that remembers for as long as a request may wait.
func (a *App) cancelBook() *pipeline.CancelBook {
	keep := a.cfg.Kafka.Retention
	if keep <= 0 {
		keep = keepCancels
	}
	return pipeline.NewCancelBook(maxCancels, keep)
}

// followCancels returns what fills the book. hurry is told of each after that.
func (a *App) followCancels(book *pipeline.CancelBook, hurry func(tenant, id string)) (*cancels, error) {
	tail, err := a.tail(a.cfg.Topic(TopicCancels))
	if err != nil {
		return nil, err
	}
	return &cancels{topicTail: tail, codec: a.codecs.Cancel, book: book, hurry: hurry}, nil
}

func (c *cancels) run(ctx context.Context) error { return c.follow(ctx, c.take) }

// take notes one cancellation. What can't be read is not worth a stop.
func (c *cancels) take(ctx context.Context, r *kgo.Record) {
	said, err := c.read(ctx, r.Value)
	if err == nil {
		err = said.Validate()
	}
	if err != nil {
		if ctx.Err() == nil {
			c.log.Warn("a cancellation can't be read", zap.Int32("partition", r.Partition), zap.Int64("offset", r.Offset), zap.Error(err))
		}
		return
	}
	at := r.Timestamp
	if now := time.Now(); at.After(now) {
		at = now
	}
	c.book.Cancel(said, at)
	c.hurry(said.Tenant, said.RequestID)
}

// read waits for a registry that does not answer: nobody says it again.
func (c *cancels) read(ctx context.Context, value []byte) (said schemas.Cancel, err error) {
	if len(value) == 0 || value[0] != 0 {
		return said, said.ReadJSON(value)
	}
	for {
		if err = c.codec.Decode(ctx, value, &said); !errors.Is(err, avro.ErrRegistryUnavailable) {
			return said, err
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return said, fmt.Errorf("reading a cancellation: %w", errors.Join(err, ctx.Err()))
		}
	}
}

// wait returns when all is known that was there at the start, or it takes too long.
func (c *cancels) wait(ctx context.Context) {
	limit := time.NewTimer(cancelsPatience)
	defer limit.Stop()
	select {
	case <-c.caught:
	case <-ctx.Done():
	case <-limit.C:
		c.log.Warn("taking up requests without knowing which were cancelled", zap.Duration("after", cancelsPatience))
	}
}

package pubsub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline/kafka"
)

const defaultPublishTimeout = 30 * time.Second

// PublisherConfig configures a Publisher. Zero fields take their defaults.
type PublisherConfig struct {
	Client kafka.Config `json:"client"`
	// Timeout bounds how long a message may take to be written before Publish fails. Default 30 s.
	Timeout time.Duration `json:"timeout,omitempty"`
	// Linger is how long a message waits for others to share its batch. Default 0: Publish waits for the answer, so lingering
	// only pays where many goroutines publish at once.
	Linger time.Duration `json:"linger,omitempty"`
	// Log gets the client's warnings. Nil discards them.
	Log *zap.Logger `json:"-"`
	// Metrics gets the client's metrics. Nil measures nothing.
	Metrics prometheus.Registerer `json:"-"`
}

// Validate returns all faults, each saying what to write instead.
func (c PublisherConfig) Validate() error {
	err := c.Client.Validate()
	if c.Timeout < 0 {
		err = errors.Join(err, fmt.Errorf("timeout is %v; write a positive duration, or leave it out for %v", c.Timeout, defaultPublishTimeout))
	}
	if c.Linger < 0 {
		err = errors.Join(err, fmt.Errorf("linger is %v; write a positive duration, or leave it out for none", c.Linger))
	}
	return err
}

// Publisher writes messages to topics, which must exist. Its methods may be called concurrently.
type Publisher struct {
	cl        *kgo.Client
	timeout   time.Duration
	closed    atomic.Bool
	closeOnce sync.Once
	closeErr  error
}

var _ message.Publisher = (*Publisher)(nil)

// NewPublisher makes a Publisher. It connects on the first Publish.
func NewPublisher(cfg PublisherConfig) (*Publisher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuring publisher: %w", err)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = defaultPublishTimeout
	}
	cl, err := cfg.Client.NewClient(cfg.Log, cfg.Metrics,
		kgo.RecordDeliveryTimeout(cfg.Timeout),
		kgo.ProducerLinger(cfg.Linger),
		kgo.RequiredAcks(kgo.AllISRAcks()),
	)
	if err != nil {
		return nil, err
	}
	return &Publisher{cl: cl, timeout: cfg.Timeout}, nil
}

// Publish writes the messages and returns when all in-sync replicas have them, or one could not be written. Messages of one key
// keep their order. Publish is not atomic: after an error some of the messages may have been written, and publishing all of
// them again repeats those. A message whose Context ends before it is sent is not written.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if p.closed.Load() {
		return ErrClosed
	}
	var wg sync.WaitGroup
	errs := make([]error, len(messages))
	for i, m := range messages {
		wg.Add(1)
		p.cl.Produce(m.Context(), toRecord(topic, m), func(_ *kgo.Record, err error) {
			errs[i] = err
			wg.Done()
		})
	}
	wg.Wait()
	failed, first := 0, error(nil)
	for _, err := range errs {
		if err != nil {
			failed++
			if first == nil {
				first = err
			}
		}
	}
	switch {
	case first == nil:
		return nil
	case errors.Is(first, kgo.ErrClientClosed):
		return ErrClosed
	}
	return fmt.Errorf("publishing %d of %d messages to %s: %w", failed, len(messages), topic, first)
}

// Close waits for running Publish calls, for the configured Timeout at most, and disconnects. Further calls return the same
// error: that of messages which could not be written in time.
func (p *Publisher) Close() error {
	p.closeOnce.Do(func() {
		p.closed.Store(true)
		ctx, cancel := context.WithTimeout(context.Background(), p.timeout)
		defer cancel()
		if err := p.cl.Flush(ctx); err != nil {
			p.closeErr = fmt.Errorf("flushing messages: %w", err)
		}
		p.cl.Close()
	})
	return p.closeErr
}

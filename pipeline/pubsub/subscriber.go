package pubsub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline/kafka"
)

// Where a subscription starts that has no committed offset.
const (
	// StartAtStart delivers all that the topic holds, then what comes. For a compacted topic: its state, then the changes.
	StartAtStart = "start"
	// StartAtEnd delivers what comes. Without a group, that is everything published after Subscribe returned.
	StartAtEnd = "end"
)

const (
	defaultMaxInFlight    = 256
	defaultNackDelay      = time.Second
	defaultNackDelayMax   = 30 * time.Second
	defaultCloseTimeout   = 10 * time.Second
	defaultCommitInterval = time.Second
	defaultHeartbeat      = 3 * time.Second
	defaultSession        = 45 * time.Second

	// requestTimeout bounds each of the requests that Subscribe and Close wait for.
	requestTimeout = 5 * time.Second
	// fetchMaxBytes bounds what a broker sends ahead of need, per broker; franz-go's default is 50 MiB.
	fetchMaxBytes = 8 << 20
	// fetchMaxWait bounds how long an empty fetch stays with the broker. A partition that is added meanwhile waits for it to come
	// back, so that franz-go's default of 5 s delays the first messages after a rebalance by as much.
	fetchMaxWait = 500 * time.Millisecond
)

// SubscriberConfig configures a Subscriber. Zero fields take their defaults.
type SubscriberConfig struct {
	Client kafka.Config `json:"client"`
	// Group is the consumer group whose members share a topic. Empty means no group: every subscription reads all partitions
	// and commits nothing, as a process does that keeps a copy of a state topic.
	Group string `json:"group,omitempty"`
	// Instance makes the group member static: after a restart it gets its partitions back without a rebalance, and nobody gets
	// them before SessionTimeout. It must be unique in the group and the same after a restart. An instance can subscribe to a
	// topic once.
	Instance string `json:"instance,omitempty"`
	// StartOffset is start or end. Default start.
	StartOffset string `json:"start_offset,omitempty"`
	// MaxInFlight bounds how many messages of a subscription are un-acknowledged, those waiting out a NackDelay included. With
	// 1, a subscription gets the messages of a partition strictly in order. Default 256.
	MaxInFlight int `json:"max_in_flight,omitempty"`
	// NackDelay is the wait before a message is delivered again after its first Nack. It doubles with every further one, up
	// to NackDelayMax. Defaults 1 s and 30 s.
	NackDelay    time.Duration `json:"nack_delay,omitempty"`
	NackDelayMax time.Duration `json:"nack_delay_max,omitempty"`
	// CloseTimeout is how long Close waits for the acknowledgement of delivered messages. Default 10 s.
	CloseTimeout time.Duration `json:"close_timeout,omitempty"`
	// CommitInterval is how often acknowledgements are written to the broker. Default 1 s.
	CommitInterval time.Duration `json:"commit_interval,omitempty"`
	// HeartbeatInterval and SessionTimeout decide how soon the group learns of a newcomer and of a death. Defaults 3 s and 45 s.
	HeartbeatInterval time.Duration `json:"heartbeat_interval,omitempty"`
	SessionTimeout    time.Duration `json:"session_timeout,omitempty"`
	// NewTopic is how SubscribeInitialize creates topics. Its Name is ignored.
	NewTopic kafka.TopicSpec `json:"new_topic,omitzero"`
	// Log gets warnings. Nil discards them.
	Log *zap.Logger `json:"-"`
	// Metrics gets the clients' metrics. Nil measures nothing.
	Metrics prometheus.Registerer `json:"-"`
}

// Validate returns all faults, each saying what to write instead.
func (c SubscriberConfig) Validate() error {
	errs := []error{c.Client.Validate()}
	if c.StartOffset != "" && c.StartOffset != StartAtStart && c.StartOffset != StartAtEnd {
		errs = append(errs, fmt.Errorf("start_offset: %q is unknown; write %s or %s", c.StartOffset, StartAtStart, StartAtEnd))
	}
	if c.MaxInFlight < 0 {
		errs = append(errs, fmt.Errorf("max_in_flight is %d; write a positive number, or leave it out for %d", c.MaxInFlight, defaultMaxInFlight))
	}
	if c.Instance != "" && c.Group == "" {
		errs = append(errs, errors.New("instance names a member of a group; set group, or remove it"))
	}
	for _, f := range []struct {
		name string
		d    time.Duration
	}{
		{"nack_delay", c.NackDelay},
		{"nack_delay_max", c.NackDelayMax},
		{"close_timeout", c.CloseTimeout},
		{"commit_interval", c.CommitInterval},
		{"heartbeat_interval", c.HeartbeatInterval},
		{"session_timeout", c.SessionTimeout},
	} {
		if f.d < 0 {
			errs = append(errs, fmt.Errorf("%s is %v; write a positive duration, or leave it out for the default", f.name, f.d))
		}
	}
	if d := c.withDefaults(); d.HeartbeatInterval >= d.SessionTimeout {
		errs = append(errs, fmt.Errorf("heartbeat_interval %v must be below session_timeout %v; a third of it is usual",
			d.HeartbeatInterval, d.SessionTimeout))
	}
	return errors.Join(errs...)
}

func (c SubscriberConfig) withDefaults() SubscriberConfig {
	setDefault(&c.StartOffset, StartAtStart)
	setDefault(&c.MaxInFlight, defaultMaxInFlight)
	setDefault(&c.NackDelay, defaultNackDelay)
	setDefault(&c.NackDelayMax, max(defaultNackDelayMax, c.NackDelay))
	setDefault(&c.CloseTimeout, defaultCloseTimeout)
	setDefault(&c.CommitInterval, defaultCommitInterval)
	setDefault(&c.HeartbeatInterval, defaultHeartbeat)
	setDefault(&c.SessionTimeout, defaultSession)
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Subscriber reads topics, delivering each message at least once. Its methods may be called concurrently.
//
// Many messages of a partition are un-acknowledged at once, and one that takes long holds up no other. They are first delivered
// in the partition's order; a message that is acknowledged with Nack comes again after NackDelay, while later ones pass it. It
// comes for ever: put watermill's PoisonQueue or a look at MetadataDelivery before it if it may never succeed.
//
// With a group, the offset that is committed is the lowest un-acknowledged one. After a crash, and in a rebalance for the
// partitions that move, all messages from there on are delivered again, those included that were acknowledged after it. When a
// partition moves away, the contexts of its messages end, and acknowledging them has no effect.
//
// Only records of committed transactions are delivered.
type Subscriber struct {
	cfg     SubscriberConfig
	closing chan struct{}
	running sync.WaitGroup

	mu     sync.Mutex // guards closed, and that running grows only before it is set
	closed bool
}

var (
	_ message.Subscriber           = (*Subscriber)(nil)
	_ message.SubscribeInitializer = (*Subscriber)(nil)
)

// NewSubscriber makes a Subscriber. It connects on Subscribe.
func NewSubscriber(cfg SubscriberConfig) (*Subscriber, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuring subscriber: %w", err)
	}
	return &Subscriber{cfg: cfg.withDefaults(), closing: make(chan struct{})}, nil
}

// SubscribeInitialize creates the topic from NewTopic if it is missing. Subscribe never does.
func (s *Subscriber) SubscribeInitialize(topic string) error {
	cl, err := s.cfg.Client.NewClient(s.cfg.Log, nil)
	if err != nil {
		return err
	}
	defer cl.Close()
	spec := s.cfg.NewTopic
	spec.Name = topic
	_, err = kafka.EnsureTopics(context.Background(), cl, []kafka.TopicSpec{spec})
	return err
}

// Subscribe delivers the messages of a topic until ctx ends or the Subscriber is closed; the channel is closed when all is
// released. A topic that does not exist yet is waited for. The end of ctx ends the contexts of its messages at once, whereas
// Close first gives them CloseTimeout.
//
// Subscribing to a topic twice in a group gives each subscription a share of the partitions.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	sub := newSubscription(s.cfg, topic)
	opts, err := s.position(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("subscribing to %s: %w", topic, err)
	}
	if s.cfg.Group != "" {
		opts = append(opts, sub.groupOptions()...)
	}
	cl, err := s.cfg.Client.NewClient(s.cfg.Log, s.cfg.Metrics, append(opts,
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxBytes(fetchMaxBytes), kgo.FetchMaxWait(fetchMaxWait))...)
	if err != nil {
		return nil, fmt.Errorf("subscribing to %s: %w", topic, err)
	}
	s.running.Go(func() { sub.run(ctx, cl, s.closing) })
	return sub.out, nil
}

// position returns the options that say what to read and from where.
func (s *Subscriber) position(ctx context.Context, topic string) ([]kgo.Opt, error) {
	if s.cfg.StartOffset == StartAtStart {
		return []kgo.Opt{kgo.ConsumeTopics(topic), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart())}, nil
	}
	if s.cfg.Group != "" {
		return []kgo.Opt{kgo.ConsumeTopics(topic), kgo.ConsumeStartOffset(kgo.NewOffset().AtEnd())}, nil
	}
	// franz-go would look for the ends some time after Subscribe has returned, and miss what is published until then.
	ends, err := s.ends(ctx, topic)
	if err != nil {
		return nil, err
	}
	return []kgo.Opt{kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: ends})}, nil
}

func (s *Subscriber) ends(ctx context.Context, topic string) (map[int32]kgo.Offset, error) {
	cl, err := s.cfg.Client.NewClient(s.cfg.Log, nil)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	// Committed: records of a transaction that is still open are not published yet.
	listed, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("listing end offsets: %w", err)
	}
	ends := make(map[int32]kgo.Offset)
	listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = kgo.NewOffset().At(o.Offset) })
	return ends, nil
}

// Close stops delivering, waits up to CloseTimeout for the acknowledgement of what was delivered, ends the contexts of the rest,
// commits, leaves the group and closes the channels. With a broker that does not answer it takes at most 15 seconds longer.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.closing)
	}
	s.mu.Unlock()
	s.running.Wait()
	return nil
}

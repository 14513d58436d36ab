package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/kafka"
)

// announceEvery is how often a worker tells what it has counted of a canary. A new
// stage and a roll-back are told at once.
const announceEvery = time.Second

// announcement is one worker's progress with a canary, as it stands on the state
// topic under the key canary/worker. The topic is compacted, so that a worker that
// starts reads how far the canary is, and what it counted itself before.
type announcement struct {
	Canary   string           `json:"canary"`
	Worker   string           `json:"worker"`
	Progress routing.Progress `json:"progress"`
}

// canaries are the progress of all workers, kept from the state topic. It
// implements [routing.Canaries].
type canaries struct {
	client *kgo.Client // consumes the topic from its start
	topic  string
	worker string
	log    *zap.Logger

	mu     sync.Mutex
	owner  bool
	before map[string]routing.Progress            // of this worker, by canary, before it started
	others map[string]map[string]routing.Progress // by canary and worker
	told   map[string]told
}

// told is what was announced last.
type told struct {
	at       time.Time
	progress routing.Progress
}

// canarySource returns what canaries share, up to date with the topic; nil where no
// route has a canary.
func (a *App) canarySource(ctx context.Context, g *group) (*canaries, error) {
	uses := func(r routing.RouteConfig) bool {
		return r.Strategy == canaryKind || slices.ContainsFunc(r.Steps, func(s routing.StepConfig) bool { return s.Strategy == canaryKind })
	}
	if !slices.ContainsFunc(a.cfg.Routes, uses) {
		return nil, nil
	}
	c := newCanaries(a.cfg.Topic(TopicCanaries), a.cfg.Instance, a.log)
	err := a.persist(ctx, "canaries", func(ctx context.Context) error {
		cl, err := a.client.NewClient(a.log, nil, kgo.ConsumeTopics(c.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			return permanent{err}
		}
		c.client = cl
		if err := c.load(ctx); err != nil {
			cl.Close()
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	g.onStop("canary client", func() error { c.client.Close(); return nil })
	return c, nil
}

const canaryKind = "canary"

func newCanaries(topic, worker string, log *zap.Logger) *canaries {
	return &canaries{
		topic: topic, worker: worker, log: log,
		before: make(map[string]routing.Progress), others: make(map[string]map[string]routing.Progress), told: make(map[string]told),
	}
}

// Exchange implements [routing.Canaries].
func (c *canaries) Exchange(canary string, mine routing.Progress) (routing.Progress, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	mine = c.before[canary].Join(mine)
	c.announce(canary, mine)
	all := mine
	for _, p := range c.others[canary] {
		all = all.Join(p)
	}
	return all, c.owner
}

// announce produces mine if that is news. What is lost is told again within a
// second, as long as there are requests. mu is held.
func (c *canaries) announce(canary string, mine routing.Progress) {
	last, now := c.told[canary], time.Now()
	changed := mine.Stage != last.progress.Stage || mine.RolledBack != last.progress.RolledBack
	if mine == last.progress || !changed && now.Sub(last.at) < announceEvery {
		return
	}
	c.told[canary] = told{now, mine}
	value, err := json.Marshal(announcement{canary, c.worker, mine})
	if err != nil {
		c.log.Warn("announcing a canary", zap.String("canary", canary), zap.Error(err))
		return
	}
	c.client.TryProduce(context.Background(), &kgo.Record{Topic: c.topic, Key: []byte(canary + "/" + c.worker), Value: value}, func(_ *kgo.Record, err error) {
		if err != nil && !errors.Is(err, kgo.ErrClientClosed) {
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.told, canary)
		}
	})
}

// load reads what the topic holds now.
func (c *canaries) load(ctx context.Context) error {
	ends, err := kadm.NewClient(c.client).ListEndOffsets(ctx, c.topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return fmt.Errorf("reading how far canaries are: %w", err)
	}
	left := make(map[int32]int64)
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	for len(left) > 0 {
		fetches := c.client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("reading how far canaries are: %w", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			c.hear(r, true)
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return nil
}

// hear takes over an announcement. This worker's own count only while it starts.
func (c *canaries) hear(r *kgo.Record, starting bool) {
	var a announcement
	if err := json.Unmarshal(r.Value, &a); err != nil || a.Canary == "" || a.Worker == "" {
		c.log.Warn("an announcement of a canary can't be read", zap.Int64("offset", r.Offset))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case a.Worker != c.worker:
		if c.others[a.Canary] == nil {
			c.others[a.Canary] = make(map[string]routing.Progress)
		}
		c.others[a.Canary][a.Worker] = a.Progress
	case starting:
		c.before[a.Canary] = a.Progress
	}
}

// hasFirst returns whether the engine has the first partition of a lane now.
func hasFirst(engine *kafka.Engine, lane string) func() bool {
	return func() bool {
		return slices.ContainsFunc(engine.Partitions(), func(p kafka.PartitionView) bool { return p.Lane == lane && p.Partition == 0 })
	}
}

// run follows the topic until ctx is done. The owner is whoever has the first
// partition of the first lane, so that there is one, and another when it is gone.
func (c *canaries) run(ctx context.Context, owns func() bool) error {
	for ctx.Err() == nil {
		poll, cancel := context.WithTimeout(ctx, sharesEvery)
		fetches := c.client.PollFetches(poll)
		cancel()
		fetches.EachRecord(func(r *kgo.Record) { c.hear(r, false) })
		owner := owns()
		c.mu.Lock()
		c.owner = owner
		c.mu.Unlock()
	}
	return nil
}

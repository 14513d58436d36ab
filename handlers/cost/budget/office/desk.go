package office

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/cost/budget"
)

// DeskConfig is what a [Desk] works with.
type DeskConfig struct {
	Topics Topics
	// NewClient makes a client of the Kafka cluster.
	NewClient func(opts ...kgo.Opt) (*kgo.Client, error)
	Log       *zap.Logger
	Metrics   prometheus.Registerer
}

// Desk hands commands in and hears the answers, which are in the state topic: a
// worker follows all of its partitions and picks what it asked for. It implements
// [budget.Desk].
type Desk struct {
	cfg    DeskConfig
	self   string // begins all tokens of this desk
	client *kgo.Client
	open   chan struct{} // closed once answers are heard
	took   prometheus.Histogram

	mu      sync.Mutex
	asked   uint64
	waiting map[string]chan budget.Change // by token
	known   map[string]budget.Standing
}

var _ budget.Desk = (*Desk)(nil)

// NewDesk returns a desk that hears answers while it runs.
func NewDesk(cfg DeskConfig) (*Desk, error) {
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	client, err := cfg.NewClient(kgo.ProducerLinger(0), kgo.RecordDeliveryTimeout(time.Minute), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(time.Second))
	if err != nil {
		return nil, err
	}
	return &Desk{
		cfg: cfg, self: uuid.NewString()[:13] + ".", client: client, open: make(chan struct{}),
		waiting: map[string]chan budget.Change{}, known: map[string]budget.Standing{},
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "sira_budget_ask_seconds", Help: "Time in which the owner of a budget answered a worker.", Buckets: prometheus.ExponentialBuckets(0.002, 2, 14),
		}),
	}, nil
}

// Run hears answers until ctx is done. It returns nil after a clean stop.
func (d *Desk) Run(ctx context.Context) error {
	defer d.client.Close()
	if d.cfg.Metrics != nil {
		if err := d.cfg.Metrics.Register(d.took); err != nil {
			return fmt.Errorf("registering metrics of budgets: %w", err)
		}
		defer d.cfg.Metrics.Unregister(d.took)
	}
	if err := d.begin(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	told := false
	for {
		fetches := d.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		for _, e := range fetches.Errors() {
			if !told {
				d.cfg.Log.Warn("hearing about budgets", zap.Error(e.Err))
			}
			told = true
		}
		for r := range fetches.RecordsAll() {
			told = false
			d.hear(r.Key, r.Value)
		}
	}
}

// begin goes to the end of the state: no answer to what this desk will ask is
// before it.
func (d *Desk) begin(ctx context.Context) error {
	admin := kadm.NewClient(d.client)
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		ends, err := admin.ListEndOffsets(limited, d.cfg.Topics.State)
		cancel()
		if err = errors.Join(err, ends.Error()); err == nil {
			d.client.AddConsumePartitions(ends.KOffsets())
			close(d.open)
			return nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("looking up topic %s: %w", d.cfg.Topics.State, err)
		}
	}
}

// hear takes in one record of the state. What others asked for is passed over
// without being read.
func (d *Desk) hear(key, value []byte) {
	id, call, isEntry := strings.Cut(string(key), " ")
	switch {
	case value == nil || strings.HasPrefix(id, "@"):
	case !isEntry:
		var s summary
		if json.Unmarshal(value, &s) == nil {
			d.mu.Lock()
			d.known[id] = budget.Standing{Window: s.Window, Spent: s.Spent, Reserved: s.Reserved}
			d.mu.Unlock()
		}
	case strings.Contains(string(value), d.self):
		var e entry
		if json.Unmarshal(value, &e) == nil {
			d.answer(e.Ask, budget.Change{Budget: id, ID: call, Decision: e.Decision, Amount: e.Amount, Window: e.Window, Until: e.Until, At: e.At})
		}
	}
}

func (d *Desk) answer(token string, c budget.Change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if heard := d.waiting[token]; heard != nil {
		delete(d.waiting, token)
		heard <- c
	}
}

// Ask implements [budget.Desk].
func (d *Desk) Ask(ctx context.Context, c budget.Command) (budget.Change, error) {
	select {
	case <-d.open:
	case <-ctx.Done():
		return budget.Change{}, ctx.Err()
	}
	began := time.Now()
	heard := make(chan budget.Change, 1)
	d.mu.Lock()
	d.asked++
	c.Ask = d.self + strconv.FormatUint(d.asked, 36)
	d.waiting[c.Ask] = heard
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.waiting, c.Ask)
		d.mu.Unlock()
	}()
	record, err := d.record(&c)
	if err != nil {
		return budget.Change{}, err
	}
	failed := make(chan error, 1)
	// Not ctx: a record that is given up may cost the producer its sequence, and the
	// command is harmless when it comes late.
	d.client.Produce(context.WithoutCancel(ctx), record, func(_ *kgo.Record, err error) {
		if err != nil {
			failed <- err
		}
	})
	select {
	case change := <-heard:
		d.took.Observe(time.Since(began).Seconds())
		return change, nil
	case err := <-failed:
		return budget.Change{}, fmt.Errorf("asking the owner of budget %s: %w", c.Budget, err)
	case <-ctx.Done():
		return budget.Change{}, ctx.Err()
	}
}

// Tell implements [budget.Desk].
func (d *Desk) Tell(c budget.Command) {
	record, err := d.record(&c)
	if err != nil {
		d.cfg.Log.Warn("budget was not told", zap.String("budget", c.Budget), zap.Error(err))
		return
	}
	d.client.TryProduce(context.Background(), record, func(_ *kgo.Record, err error) {
		if err != nil {
			d.cfg.Log.Warn("budget was not told", zap.String("budget", c.Budget), zap.Error(err))
		}
	})
}

// Known implements [budget.Desk].
func (d *Desk) Known(id string) (budget.Standing, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, ok := d.known[id]
	return s, ok
}

func (d *Desk) record(c *budget.Command) (*kgo.Record, error) {
	value, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("writing a command to budget %s: %w", c.Budget, err)
	}
	return &kgo.Record{Topic: d.cfg.Topics.Reserve, Key: []byte(c.Budget), Value: value}, nil
}

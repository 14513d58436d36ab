// Package office carries budgets over Kafka: commands from workers to the owner of
// each budget, and what it decided back.
//
// Four topics, of equally many partitions; a budget has one partition of each, by its
// id:
//
//	budgets.reserve   questions before calls, as they come
//	budgets.settle    what calls cost, in the transactions of their results
//	state.budgets     the state, compacted; every decision on a reservation is in it
//	events.budgets    every decision, for people and tables
//
// The two kinds of commands have topics of their own because a reader of committed
// records stops at the first open transaction: a worker that is killed within one would
// hold up the questions of all others until its transaction times out. A settling that comes
// late only leaves money set aside for longer.
//
// An owner has a transactional id for its partition. Whoever begins to own the
// partition is given a new epoch, which ends the transaction of the owner before and
// refuses all that it may still write; then it reads the state to the end, and only then
// does it decide. Each step of it is one transaction: the changes of the state, the
// events, and how far the commands were read. So an owner may be killed at any moment,
// and may live on without knowing that it was replaced.
package office

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/shopspring/decimal"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/cost/budget"
	"github.com/sira-ai/sira/schemas"
)

// Topics are the full names of the topics.
type Topics struct {
	Reserve, Settle, State, Events string
}

// Config is what an [Office] works with.
type Config struct {
	Budgets []budget.Config
	Topics  Topics
	Group   string // of the offices, who share the partitions
	// Instance is a stable name of this process, so that it gets its partitions back
	// after a restart; empty: the group notices every restart.
	Instance       string
	SessionTimeout time.Duration // after which a dead office's partitions are given away; 10s
	// NewClient makes a client of the Kafka cluster.
	NewClient func(opts ...kgo.Opt) (*kgo.Client, error)
	// Encode writes an event for its topic.
	Encode  func(*schemas.BudgetEvent) ([]byte, error)
	Log     *zap.Logger
	Metrics prometheus.Registerer
}

// Office owns its share of the partitions, and the budgets on them, while it runs.
type Office struct {
	cfg     Config
	metrics metrics

	mu     sync.Mutex
	owners map[int32]*tenure
}

// tenure is the time in which a partition is ours.
type tenure struct {
	stop context.CancelFunc
	done chan struct{}
}

// New returns an office that does not run yet, or what is wrong with the budgets.
func New(cfg Config) (*Office, error) {
	if err := budget.ValidateAll(cfg.Budgets); err != nil {
		return nil, err
	}
	if cfg.SessionTimeout <= 0 {
		cfg.SessionTimeout = 10 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Office{cfg: cfg, owners: map[int32]*tenure{}, metrics: newMetrics()}, nil
}

// Run owns partitions until ctx is done. It returns nil after a clean stop.
func (o *Office) Run(ctx context.Context) error {
	if err := o.metrics.register(o.cfg.Metrics); err != nil {
		return err
	}
	defer o.metrics.unregister(o.cfg.Metrics)
	opts := []kgo.Opt{
		kgo.ConsumerGroup(o.cfg.Group), kgo.ConsumeTopics(o.cfg.Topics.Reserve), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(o.cfg.SessionTimeout), kgo.HeartbeatInterval(min(time.Second, o.cfg.SessionTimeout/3)),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { o.begin(ctx, p[o.cfg.Topics.Reserve]) }),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { o.end(p[o.cfg.Topics.Reserve]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, p map[string][]int32) { o.end(p[o.cfg.Topics.Reserve]) }),
	}
	if o.cfg.Instance != "" {
		opts = append(opts, kgo.InstanceID(o.cfg.Instance))
	}
	member, err := o.cfg.NewClient(opts...)
	if err != nil {
		return err
	}
	// The group only says whose the partitions are; owners read them from where
	// their state says.
	member.PauseFetchTopics(o.cfg.Topics.Reserve)
	defer o.endAll()
	defer member.Close()
	for {
		fetches := member.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		for _, e := range fetches.Errors() {
			if errors.Is(e.Err, kerr.FencedInstanceID) {
				return fmt.Errorf("another process runs as %q: %w", o.cfg.Instance, e.Err)
			}
			o.cfg.Log.Warn("sharing budgets", zap.Error(e.Err))
		}
	}
}

// begin starts to own partitions.
func (o *Office) begin(ctx context.Context, partitions []int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range partitions {
		if o.owners[p] != nil {
			continue
		}
		tenured, stop := context.WithCancel(ctx)
		t := &tenure{stop: stop, done: make(chan struct{})}
		o.owners[p] = t
		go func() {
			defer close(t.done)
			o.own(tenured, p)
		}()
	}
}

// end waits until partitions are owned no more, so that the next owner need not
// cut a step short.
func (o *Office) end(partitions []int32) {
	var ending []*tenure
	o.mu.Lock()
	for _, p := range partitions {
		if t := o.owners[p]; t != nil {
			t.stop()
			delete(o.owners, p)
			ending = append(ending, t)
		}
	}
	o.mu.Unlock()
	for _, t := range ending {
		<-t.done
	}
}

func (o *Office) endAll() {
	o.mu.Lock()
	all := slices.Collect(maps.Keys(o.owners))
	o.mu.Unlock()
	o.end(all)
}

// own goes on owning a partition until ctx is done: after any error what an owner
// believes may not be what is kept, so the next one starts from the changelog.
func (o *Office) own(ctx context.Context, partition int32) {
	log := o.cfg.Log.With(zap.Int32("partition", partition))
	for wait := 200 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		began := time.Now()
		err := o.serve(ctx, partition, log)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Minute {
			wait = 200 * time.Millisecond
		}
		log.Warn("budgets wait for their owner, which starts again", zap.Error(err))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// metrics show the budgets that this process owns. Amounts are floats here and
// nowhere else.
type metrics struct {
	spent, reserved, limit *prometheus.GaugeVec
}

func newMetrics() metrics {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, []string{"budget", "currency"})
	}
	return metrics{
		gauge("sira_budget_spent", "What is settled in the window of a budget that this process owns."),
		gauge("sira_budget_reserved", "What is set aside in a budget that this process owns."),
		gauge("sira_budget_limit", "Limit of a budget that this process owns."),
	}
}

func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{m.spent, m.reserved, m.limit} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("registering metrics of budgets: %w", err)
		}
	}
	return nil
}

func (m *metrics) unregister(r prometheus.Registerer) {
	if r != nil {
		r.Unregister(m.spent)
		r.Unregister(m.reserved)
		r.Unregister(m.limit)
	}
}

func (m *metrics) set(c *budget.Config, spent, reserved decimal.Decimal) {
	m.spent.WithLabelValues(c.ID, c.Currency).Set(spent.InexactFloat64())
	m.reserved.WithLabelValues(c.ID, c.Currency).Set(reserved.InexactFloat64())
	m.limit.WithLabelValues(c.ID, c.Currency).Set(c.Limit.InexactFloat64())
}

// forget takes out a budget that another process owns from now on.
func (m *metrics) forget(c *budget.Config) {
	for _, v := range []*prometheus.GaugeVec{m.spent, m.reserved, m.limit} {
		v.DeleteLabelValues(c.ID, c.Currency)
	}
}

// transactionalID is the same for all who ever own a partition.
func (o *Office) transactionalID(partition int32) string {
	return o.cfg.Group + "." + strconv.Itoa(int(partition))
}

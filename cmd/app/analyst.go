package app

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/anomaly/fleet"
	"github.com/sira-ai/sira/handlers/anomaly/predict"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// analyst owns the fleets of some partitions of the topic of reports: it adds up
// what workers saw, computes the states of endpoints and publishes them. Who owns
// what is decided by the consumer group; who takes over goes on from the states
// that the owner before had published. Two that believe for a moment that they own
// the same fleet publish two opinions, of which the later counts: nothing but
// shares depends on it.
type analyst struct {
	config  fleet.Config
	layout  *fleet.Layout
	model   *predict.Model
	version string
	client  *kgo.Client // consumes reports and produces states
	reports *avro.Codec[schemas.EndpointStats]
	codec   *avro.Codec[schemas.EndpointState]
	topic   string // of states
	owner   string
	past    *states
	health  *healthWriter
	log     *zap.Logger

	mu     sync.Mutex
	fleets map[int32]map[string]*fleet.Fleet // by partition and name
	news   map[fleet.Name]schemas.EndpointState
}

// startAnalyst starts the owner of fleets. Without prediction there is nothing to
// own.
func (a *App) startAnalyst(g *group) error {
	c := &a.cfg
	if c.Prediction.Mode == fleet.ModeOff {
		return nil
	}
	model, version, err := c.predictionModel()
	if err != nil {
		return err
	}
	n := &analyst{
		config: c.Prediction, layout: c.layout(), model: model, version: version, reports: a.codecs.EndpointStats, codec: a.codecs.EndpointState,
		topic: c.Topic(TopicStates), owner: c.Instance, log: a.log,
		fleets: map[int32]map[string]*fleet.Fleet{}, news: map[fleet.Name]schemas.EndpointState{},
	}
	// Older reports are no news; a group that is new begins with what is.
	recent := kgo.NewOffset().AfterMilli(time.Now().Add(-c.Prediction.Silence).UnixMilli())
	n.client, err = a.client.NewClient(a.log, a.reg,
		kgo.ConsumerGroup(c.Kafka.Prefix+"analyst"), kgo.ConsumeTopics(c.Topic(TopicEndpoints)), kgo.ConsumeStartOffset(recent), kgo.ConsumeResetOffset(recent),
		kgo.FetchMaxWait(500*time.Millisecond), kgo.SessionTimeout(10*time.Second), kgo.HeartbeatInterval(time.Second),
		kgo.OnPartitionsRevoked(n.dropped), kgo.OnPartitionsLost(n.dropped), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return err
	}
	n.health = a.newHealthWriter(n.client, schemas.SourceAnalyst)
	if n.past, err = a.followStates(n.hear); err != nil {
		n.client.Close()
		return err
	}
	a.addCheck("analyst", n.ready)
	g.run("states of endpoints for the analyst", n.past.run)
	g.run("analyst", n.run)
	return nil
}

var errBehind = errors.New("the states of endpoints are not read yet")

// ready returns why fleets are not judged yet, or nil.
func (n *analyst) ready() error {
	select {
	case <-n.past.caught:
		return nil
	default:
		return errBehind
	}
}

// hear keeps the state that somebody published last, for when this process becomes
// the owner.
func (n *analyst) hear(s schemas.EndpointState, _ time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.news[fleet.Name{Provider: s.Provider, Endpoint: s.Endpoint}] = s
}

// dropped forgets the fleets of partitions that another owns now.
func (n *analyst) dropped(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, partitions := range lost {
		for _, p := range partitions {
			delete(n.fleets, p)
		}
	}
}

// run reads reports and looks at the fleets every tick, until ctx is done.
func (n *analyst) run(ctx context.Context) error {
	defer n.close()
	select {
	case <-n.past.caught:
	case <-ctx.Done():
		return nil
	}
	next := time.Now().Add(n.config.Tick)
	for {
		poll, cancel := context.WithDeadline(ctx, next)
		for r := range n.client.PollFetches(poll).RecordsAll() {
			n.take(ctx, r)
		}
		cancel()
		if ctx.Err() != nil {
			return nil
		}
		if now := time.Now(); !now.Before(next) {
			if err := n.tick(now); err != nil {
				return err
			}
			next = later(next.Add(n.config.Tick), now)
		}
	}
}

// close leaves the group once what was said is written.
func (n *analyst) close() {
	limit, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := n.client.Flush(limit); err != nil {
		n.log.Warn("publishing the last endpoint states", zap.Error(err))
	}
	n.client.Close()
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// take adds a worker's report to its fleet.
func (n *analyst) take(ctx context.Context, r *kgo.Record) {
	if time.Since(r.Timestamp) > n.config.Silence {
		return
	}
	var report schemas.EndpointStats
	if err := n.reports.Decode(ctx, r.Value, &report); err != nil {
		n.log.Warn("reading a report on endpoints", zap.Int32("partition", r.Partition), zap.Int64("offset", r.Offset), zap.Error(err))
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	owned := n.fleets[r.Partition]
	if owned == nil {
		owned = map[string]*fleet.Fleet{}
		n.fleets[r.Partition] = owned
	}
	f := owned[report.Fleet]
	if f == nil {
		f = fleet.New(report.Fleet, n.config, n.model, n.version, n.layout)
		owned[report.Fleet] = f
	}
	for i := range report.Endpoints {
		s := &report.Endpoints[i]
		name := fleet.Name{Provider: s.Provider, Endpoint: s.Endpoint}
		if past, ok := n.news[name]; ok && !f.Knows(name) {
			if err := f.Restore(&past); err != nil {
				n.log.Warn("an endpoint is learned anew", zap.Error(err))
			}
		}
		f.Add(name, s.Region, fleet.StatsOf(s))
	}
}

// tick publishes what follows from the reports: shifts first, so that none is lost
// with an owner that dies in between; its successor reports it again by the same id.
func (n *analyst) tick(now time.Time) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	for name, s := range n.news {
		if now.Sub(s.Time) > statesRetention { // it left: the topic forgets it too
			delete(n.news, name)
		}
	}
	var errs []error
	for _, owned := range n.fleets {
		for _, f := range owned {
			events := f.Tick(now, nil)
			for i := range events {
				n.health.write(&events[i])
			}
			all, err := f.States(now, n.owner)
			errs = append(errs, err)
			for i := range all {
				errs = append(errs, n.publish(&all[i]))
			}
		}
	}
	return errors.Join(errs...)
}

func (n *analyst) publish(s *schemas.EndpointState) error {
	b, err := n.codec.Append(nil, s)
	if err != nil {
		return err
	}
	n.client.TryProduce(context.Background(), &kgo.Record{Topic: n.topic, Key: []byte(s.Provider + "/" + s.Endpoint), Value: b}, func(_ *kgo.Record, err error) {
		if err != nil {
			n.log.Warn("publishing endpoint state", zap.String("endpoint", s.Endpoint), zap.Error(err))
		}
	})
	return nil
}

package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/balance/limit"
	"github.com/sira-ai/sira/handlers/invoke"
)

// limits builds what bounds the calls of this worker. Lanes of more weight go first
// among those that wait.
func (a *App) limits() (invoke.Limits, error) {
	l, err := limit.New(a.cfg.Limits)
	if err != nil {
		return invoke.Limits{}, fmt.Errorf("building limits: %w", err)
	}
	priority := make(map[string]int, len(a.cfg.Kafka.Lanes))
	for _, lane := range a.cfg.Kafka.Lanes {
		priority[lane.Name] = lane.Weight
	}
	eta := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "sira_limit_eta_seconds", Help: "Expected wait of requests that are over a limit, when they begin to wait.",
		Buckets: []float64{0.1, 0.5, 1, 5, 15, 60, 300, 1800},
	}, []string{"scope", "what"})
	position := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "sira_limit_position", Help: "Place in the queue of requests that are over a limit, when they begin to wait.",
		Buckets: prometheus.ExponentialBuckets(1, 4, 6),
	}, []string{"scope", "what"})
	a.reg.MustRegister(eta, position, &lines{l, prometheus.NewDesc("sira_limit_waiting", "Requests that wait for a limit now.", []string{"scope"}, nil)})
	return invoke.Limits{Limiter: l, Priority: priority, Queued: func(p limit.Place) {
		eta.WithLabelValues(string(p.Scope), p.What).Observe(p.ETA.Seconds())
		position.WithLabelValues(string(p.Scope), p.What).Observe(float64(p.Position))
	}}, nil
}

// lines counts who waits. Names are left to the sampler: there may be as many as
// there are tenants.
type lines struct {
	limiter *limit.Limiter
	desc    *prometheus.Desc
}

// Describe implements prometheus.Collector.
func (c *lines) Describe(out chan<- *prometheus.Desc) { out <- c.desc }

// Collect implements prometheus.Collector.
func (c *lines) Collect(out chan<- prometheus.Metric) {
	waiting := map[limit.Scope]int{}
	for _, line := range c.limiter.Lines() {
		waiting[line.Scope] += line.Waiting
	}
	for scope, n := range waiting {
		out <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(n), string(scope))
	}
}

// sharesEvery is how often a worker looks how many share the limits. It is half of
// the default of limits.settle, which has to be longer than the news takes.
const sharesEvery = 500 * time.Millisecond

// shares gives the limiter its part of every limit: one of as many as the consumer
// group of the first lane has members. The group's coordinator is the one place
// that all workers agree on already, so there is nothing else to announce. A worker
// that has not joined yet holds nothing; what can't be asked stays as it was.
type shares struct {
	limiter *limit.Limiter
	gauge   prometheus.Gauge
	group   string
	joined  func() error // nil while this worker is a member
	admin   *kadm.Client
	log     *zap.Logger
}

// run keeps the share up to date until ctx is done.
func (s *shares) run(ctx context.Context) error {
	tick := time.NewTicker(sharesEvery)
	defer tick.Stop()
	known, lost := 0, false
	for {
		n, err := known, error(nil)
		if s.joined() == nil { // else it is joining, again maybe, or about to stop
			n, err = s.members(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !lost:
			lost = true
			s.log.Warn("limits keep their share", zap.Int("workers", known), zap.Error(err))
		case err == nil && n != known:
			if err := s.limiter.SetShare(1, n); err != nil {
				return err
			}
			known = n
			s.gauge.Set(1 / float64(n))
		}
		lost = lost && err != nil
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// newShares returns the sharing of limits by the group. Until it runs the limiter
// holds nothing.
func (a *App) newShares(l *limit.Limiter, admin *kadm.Client, joined func() error) (*shares, error) {
	s := &shares{
		limiter: l, group: a.cfg.Kafka.Prefix + "worker." + a.cfg.lanes()[0].Name, joined: joined, admin: admin, log: a.log,
		gauge: prometheus.NewGauge(prometheus.GaugeOpts{Name: "sira_limit_share", Help: "Part of every limit that this worker holds or is about to."}),
	}
	a.reg.MustRegister(s.gauge)
	return s, l.SetShare(0, 1)
}

// members returns how many workers there are, itself included.
func (s *shares) members(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	groups, err := s.admin.DescribeGroups(ctx, s.group)
	if err != nil {
		return 0, fmt.Errorf("asking who shares the limits: %w", err)
	}
	g, ok := groups[s.group]
	if !ok || g.Err != nil {
		return 0, fmt.Errorf("asking who shares the limits: %w", errors.Join(errNoGroup, g.Err))
	}
	return max(len(g.Members), 1), nil
}

var errNoGroup = errors.New("the group is not described")

package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/anomaly/endpoint"
	"github.com/sira-ai/sira/handlers/anomaly/fleet"
	"github.com/sira-ai/sira/handlers/anomaly/predict"
	"github.com/sira-ai/sira/handlers/invoke"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// predictionModel reads the configured model, or the built-in one, and names it.
func (c *Config) predictionModel() (*predict.Model, string, error) {
	m, err := predict.Default()
	if path := c.Prediction.Model; path != "" {
		var text []byte
		if text, err = os.ReadFile(path); err == nil {
			m, err = predict.Read(text)
		}
	}
	if err != nil {
		return nil, "", fmt.Errorf("reading prediction.model: %w", err)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return nil, "", fmt.Errorf("naming prediction.model: %w", err)
	}
	sum := sha256.Sum256(text)
	return m, hex.EncodeToString(sum[:6]), nil
}

// layout returns which providers are judged together.
func (c *Config) layout() *fleet.Layout {
	var models [][]string
	for _, m := range c.RoutingModels() {
		var of []string
		for _, t := range m.Targets {
			of = append(of, t.Provider)
		}
		models = append(models, of)
	}
	for _, r := range c.Routes {
		var of []string
		for _, t := range r.Targets {
			of = append(of, t.Provider)
		}
		models = append(models, of)
	}
	return fleet.NewLayout(slices.DeleteFunc(models, func(of []string) bool { return len(of) == 0 }))
}

// predictor is a worker's part in prediction: it reports what it saw, follows what
// the analyst makes of the reports of all workers, and judges for itself when the
// analyst is silent. Nothing of it is on the way of a request but watch.
type predictor struct {
	config fleet.Config
	watch  *fleet.Watch
	guide  *fleet.Guide // nil: mode off
	layout *fleet.Layout
	pools  map[string]*invoke.Pool
	client *kgo.Client
	codec  *avro.Codec[schemas.EndpointStats]
	topic  string
	worker string
	health *healthWriter
	log    *zap.Logger

	seen   map[fleet.Name]endpoint.Stats // since the last tick
	latest atomic.Pointer[[]outlook]
	alone  bool // the analyst is silent, and that was said
}

// outlook is what is predicted of an endpoint.
type outlook struct {
	Provider    string   `json:"provider"`
	Endpoint    string   `json:"endpoint"`
	Share       int      `json:"share"`       // percent of its calls that it should get
	Probability float64  `json:"probability"` // of failing within the next five minutes
	Reasons     []string `json:"reasons,omitempty"`
	Source      string   `json:"source"` // analyst, or worker while that is silent
}

// startPredictor starts what follows the analyst. Without prediction it only watches.
func (a *App) startPredictor(g *group, pools map[string]*invoke.Pool, client *kgo.Client) (*predictor, error) {
	c := &a.cfg
	p := &predictor{
		config: c.Prediction, watch: new(fleet.Watch), layout: c.layout(), pools: pools, client: client, codec: a.codecs.EndpointStats,
		topic: c.Topic(TopicEndpoints), worker: c.Instance, health: a.health, log: a.log, seen: map[fleet.Name]endpoint.Stats{},
	}
	if c.Prediction.Mode == fleet.ModeOff {
		return p, nil
	}
	model, version, err := c.predictionModel()
	if err != nil {
		return nil, err
	}
	p.guide = fleet.NewGuide(c.Prediction, model, version, p.layout)
	f, err := a.followStates(p.guide.Hear)
	if err != nil {
		return nil, err
	}
	a.reg.MustRegister(newOutlooks(p))
	g.run("states of endpoints", f.run)
	g.run("prediction", p.run)
	return p, nil
}

// views returns what was predicted last, by provider and endpoint.
func (p *predictor) views() []outlook {
	if all := p.latest.Load(); all != nil {
		return *all
	}
	return []outlook{}
}

func (p *predictor) run(ctx context.Context) error {
	// The first look is soon: an incident may be older than this process.
	report, tick, first := time.NewTicker(p.config.Publish), time.NewTicker(p.config.Publish), true
	defer report.Stop()
	defer tick.Stop()
	for {
		select {
		case now := <-report.C:
			p.report(ctx, now, false)
		case now := <-tick.C:
			p.report(ctx, now, true)
			p.follow(now)
			if first {
				first = false
				tick.Reset(p.config.Tick)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// regions returns the endpoints that can be called, with where they are.
func (p *predictor) regions() map[fleet.Name]string {
	all := map[fleet.Name]string{}
	for provider, pool := range p.pools {
		for _, e := range pool.InRegion("") {
			all[fleet.Name{Provider: provider, Endpoint: e.ID}] = e.Region
		}
	}
	return all
}

// report publishes what was seen since the last report; with everything, also that
// nothing was seen of the others, so that it is known that they are there.
func (p *predictor) report(ctx context.Context, now time.Time, everything bool) {
	regions := p.regions()
	keep := make(map[fleet.Name]bool, len(regions))
	for n := range regions {
		keep[n] = true
	}
	taken := p.watch.Take(keep)
	reports := map[string]*schemas.EndpointStats{}
	for n, region := range regions {
		s, called := taken[n]
		if !called && !everything {
			continue
		}
		sum := p.seen[n]
		sum.Add(s)
		p.seen[n] = sum
		name := p.layout.Fleet(n.Provider)
		if reports[name] == nil {
			reports[name] = &schemas.EndpointStats{Time: now, Fleet: name, Worker: p.worker}
		}
		reports[name].Endpoints = append(reports[name].Endpoints, fleet.Sums(n, region, s))
	}
	for name, r := range reports {
		b, err := p.codec.Append(nil, r)
		if err != nil {
			p.log.Warn("reporting on endpoints", zap.Error(err))
			return
		}
		// A report that is lost is not missed.
		p.client.TryProduce(ctx, &kgo.Record{Topic: p.topic, Key: []byte(name), Value: b}, nil)
	}
}

// follow lets shares and breakers follow what is predicted.
func (p *predictor) follow(now time.Time) {
	regions := p.regions()
	seen := make([]schemas.EndpointSums, 0, len(regions))
	for n, region := range regions {
		seen = append(seen, fleet.Sums(n, region, p.seen[n]))
	}
	clear(p.seen)
	advice, events := p.guide.Tick(now, seen)
	p.advise(advice)
	for i := range events {
		p.health.write(&events[i])
	}
}

// advise does what the advice says and shows it.
func (p *predictor) advise(advice []fleet.Advice) {
	views := make([]outlook, 0, len(advice))
	own := false
	for _, a := range advice {
		source := schemas.SourceAnalyst
		if a.Own {
			source, own = schemas.SourceWorker, true
		}
		views = append(views, outlook{a.Provider, a.Endpoint, a.Share, a.Probability, a.Reasons, source})
		if p.config.Mode == fleet.ModeAct {
			p.apply(a)
		}
	}
	slices.SortFunc(views, func(a, b outlook) int {
		return strings.Compare(a.Provider+"\x00"+a.Endpoint, b.Provider+"\x00"+b.Endpoint)
	})
	p.latest.Store(&views)
	if own != p.alone {
		p.alone = own
		p.log.Debug("following endpoint states", zap.Bool("analyst_silent", own))
	}
}

func (p *predictor) apply(a fleet.Advice) {
	pool := p.pools[a.Provider]
	if pool == nil {
		return
	}
	if e := pool.Endpoint(a.Endpoint); e != nil {
		e.SetShare(a.Share)
		e.Suspect(a.Probability)
	}
}

// outlooks tells Prometheus what is predicted.
type outlooks struct {
	predictor          *predictor
	share, probability *prometheus.Desc
}

func newOutlooks(p *predictor) *outlooks {
	labels := []string{"provider", "endpoint"}
	return &outlooks{
		p, prometheus.NewDesc("sira_endpoint_share_percent", "Percent of its calls that prediction gives an endpoint.", labels, nil),
		prometheus.NewDesc("sira_endpoint_failure_probability", "Probability that an endpoint fails within five minutes.", labels, nil),
	}
}

// Describe implements prometheus.Collector.
func (o *outlooks) Describe(out chan<- *prometheus.Desc) { out <- o.share; out <- o.probability }

// Collect implements prometheus.Collector.
func (o *outlooks) Collect(out chan<- prometheus.Metric) {
	for _, v := range o.predictor.views() {
		out <- prometheus.MustNewConstMetric(o.share, prometheus.GaugeValue, float64(v.Share), v.Provider, v.Endpoint)
		out <- prometheus.MustNewConstMetric(o.probability, prometheus.GaugeValue, v.Probability, v.Provider, v.Endpoint)
	}
}

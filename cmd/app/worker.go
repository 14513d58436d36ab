package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/audit"
	"github.com/sira-ai/sira/handlers/cost"
	"github.com/sira-ai/sira/handlers/invoke"
	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/fetch"
	"github.com/sira-ai/sira/handlers/provider/models"
	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/pipeline/kafka"
	"github.com/sira-ai/sira/pipeline/pubsub"
	"github.com/sira-ai/sira/pipeline/tracing"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
	"github.com/sira-ai/sira/sinks/blob"
	"github.com/sira-ai/sira/sinks/clickhouse"
	sinkkafka "github.com/sira-ai/sira/sinks/kafka"
	"github.com/sira-ai/sira/sinks/webhook"
)

// startWorker builds the itinerary and starts taking requests.
func (a *App) startWorker(ctx context.Context, g *group) error {
	c := &a.cfg
	w := &c.Worker
	env := catalog.Env{Log: a.log, HTTP: &http.Client{Transport: provider.NewTransport()}}
	if a.tracer != nil && c.Tracing.Providers {
		env.HTTP.Transport = tracing.Transport(env.HTTP.Transport)
	}
	chunks, err := a.client.NewClient(a.log, a.reg, kgo.ProducerLinger(0), kgo.MaxBufferedRecords(100_000))
	if err != nil {
		return err
	}
	g.onStop("chunk producer", func() error { chunks.Close(); return nil })
	a.health = a.newHealthWriter(chunks, schemas.SourceWorker)
	pools, err := a.pools(g, env)
	if err != nil {
		return err
	}
	limits, err := a.limits()
	if err != nil {
		return err
	}
	measured := new(routing.Measured)
	sources := routing.Sources{Health: measured}
	following, err := a.canarySource(ctx, g)
	if err != nil {
		return err
	}
	if following != nil {
		sources.Canaries = following
	}
	router, err := c.Router(env, sources)
	if err != nil {
		return err
	}
	guard, err := c.modelGuard()
	if err != nil {
		return err
	}
	asker, err := invoke.New(c.Invoke, pools, limits)
	if err != nil {
		return fmt.Errorf("building invoke: %w", err)
	}
	asker.Marks = c.BlobStore()
	if b := &c.Blobs; b.PublicURL != "" {
		asker.Publish = blob.NewPublic(b.PublicDir, b.PublicURL)
	}
	if !c.Fetch.Off {
		asker.Fetch = fetch.New(c.Fetch).Get
	}
	book, err := c.PriceBook()
	if err != nil {
		return err
	}
	predictor, err := a.startPredictor(g, pools, chunks)
	if err != nil {
		return err
	}
	deliverer := a.deliverer()
	settle := []pipeline.Step{
		{Name: "routing outcomes", Stage: router.Learn(measured)},
		{Name: "prediction", Stage: predictor.watch.Stage()},
		{Name: "cost", Stage: cost.New(cost.Config{Book: book, ConfigVersion: c.Version})},
		{Name: "audit", Stage: audit.New(audit.Config{Worker: c.Instance, ConfigVersion: c.Version})},
	}
	published := &sinkkafka.Chunks{Client: chunks, Codec: a.codecs.Chunk, Topic: c.Topic(TopicChunks)}
	ask := []pipeline.Step{
		{Name: "admit", Stage: pipeline.StageFunc(deliverer.Admit)},
		{Name: "chunks", Stage: published},
		{Name: "routing", Stage: router},
		{Name: "models", Stage: guard},
	}
	gate, err := a.startBudgets(g)
	if err != nil {
		return err
	}
	if gate != nil {
		ask = append(ask, pipeline.Step{Name: "budgets", Stage: pipeline.StageFunc(gate.Reserve)})
		settle = append(settle, pipeline.Step{Name: "budgets", Stage: pipeline.StageFunc(gate.Settle)})
	}
	gone := a.cancelBook()
	chain := &pipeline.Chain{
		Ask:    append(ask, pipeline.Step{Name: "invoke", Stage: asker}),
		Batch:  pipeline.Step{Name: "batch", Stage: pipeline.StageFunc(asker.Batch)},
		Settle: settle, Cancels: gone,
	}
	engine, err := a.engine(gone)
	if err != nil {
		return err
	}
	cancelled, err := a.followCancels(gone, engine.Hurry)
	if err != nil {
		return err
	}
	a.addCheck("worker", engine.Ready)
	runner := &pipeline.Runner{Source: engine, Chain: chain, Deliverer: deliverer, Concurrency: w.Concurrency, Drain: w.Drain, Log: a.log}
	if a.tracer != nil { // a nil pointer would be a Tracer of its own
		asker.Tracer, runner.Tracer = a.tracer, a.tracer
	}
	a.mu.Lock()
	a.watching = func() overview { return overview{endpointViews(pools), limits.Lines(), predictor.views()} }
	a.mu.Unlock()
	admin, err := a.client.NewClient(a.log, nil)
	if err != nil {
		return err
	}
	g.onStop("shares client", func() error { admin.Close(); return nil })
	sharing, err := a.newShares(limits.Limiter, kadm.NewClient(admin), engine.Ready)
	if err != nil {
		return err
	}
	g.run("shares of limits", sharing.run)
	if following != nil {
		g.run("canaries", func(ctx context.Context) error { return following.run(ctx, hasFirst(engine, c.lanes()[0].Name)) })
	}
	s := &sampler{engine: engine, pools: pools, predictor: predictor, limits: limits.Limiter, client: chunks, codec: a.codecs.Metric, topic: c.Topic(TopicMetrics), worker: c.Instance, log: a.log}
	g.run("metrics sampler", s.run)
	g.run("batch collector", a.collector().Run)
	g.run("cancellations", cancelled.run)
	g.run("worker", func(ctx context.Context) error {
		cancelled.wait(ctx)
		done := make(chan error, 1)
		go func() { done <- engine.Run(ctx) }()
		err := runner.Run(ctx)
		return errors.Join(err, <-done)
	})
	return nil
}

func (a *App) deliverer() *sinkkafka.Deliverer {
	c := &a.cfg
	d := &sinkkafka.Deliverer{
		Codecs: a.codecs, Topics: c.outputs(), ReplyTopics: c.Kafka.ReplyTopics, Tiers: c.tiers(), Blobs: c.BlobStore(),
		Worker: c.Instance, ConfigVersion: c.Version,
	}
	for _, l := range c.Kafka.Lanes {
		if l.Order == kafka.OrderKey {
			d.Ordered = append(d.Ordered, l.Name)
		}
	}
	return d
}

// collector makes batches of the requests that want to be part of one.
func (a *App) collector() *kafka.Collector {
	c := &a.cfg
	b := &c.Batch
	return kafka.NewCollector(kafka.CollectorConfig{
		Client: a.client, Group: c.Kafka.Prefix + "batch", Instance: c.Instance, Topic: c.Topic(TopicBatch), RetryTopic: c.waiting()[0].Topic,
		MaxRequests: b.MaxRequests, MaxBytes: b.MaxBytes, MaxWait: b.MaxWait, Put: c.BlobStore().Put,
		SessionTimeout: c.Worker.SessionTimeout, Static: c.Worker.Static == nil || *c.Worker.Static, Log: a.log,
	})
}

func (a *App) engine(cancels *pipeline.CancelBook) (*kafka.Engine, error) {
	c := &a.cfg
	w := &c.Worker
	waiting := c.waiting()
	store := c.BlobStore()
	outputs := slices.Clone(c.Kafka.ReplyTopics)
	for _, t := range c.Topics() {
		outputs = append(outputs, t.Name)
	}
	return kafka.NewEngine(kafka.EngineConfig{
		Client: a.client, Instance: c.Instance, Group: c.Kafka.Prefix + "worker", Lanes: c.lanes(),
		Concurrency: w.Concurrency, FixedConcurrency: w.FixedConcurrency, Journal: a.journalDir(), Window: w.Window, MaxBytes: w.MaxBytes, MaxRequestBytes: w.MaxRequestBytes, FlushInterval: w.FlushInterval,
		RevokeDrain: w.RevokeDrain, Drain: w.Drain, SessionTimeout: w.SessionTimeout, StaticMembership: w.Static == nil || *w.Static,
		Decode: func(ctx context.Context, value []byte, req *schemas.Request) error {
			err := a.codecs.Request.Decode(ctx, value, req)
			if errors.Is(err, avro.ErrRegistryUnavailable) {
				return fmt.Errorf("%w: %w", kafka.ErrNotNow, err)
			}
			return err
		},
		Fetch: func(ctx context.Context, ref string) ([]byte, error) {
			b, err := store.Get(ctx, ref)
			return b, payloadFault(err)
		},
		FetchSize: func(ctx context.Context, ref string) (int64, error) {
			n, err := store.Size(ctx, ref)
			return n, payloadFault(err)
		},
		Cancelled:    cancels.Cancelled,
		CollectTopic: c.Topic(TopicBatch),
		RetryTopic:   func(d time.Duration) string { return sinkkafka.TierTopic(waiting, d) },
		Outputs:      outputs,
		Log:          a.log, Metrics: a.reg,
	})
}

// payloadFault says what an error of the blob store means for the record.
func payloadFault(err error) error {
	switch {
	case err == nil, errors.Is(err, blob.ErrNotFound), errors.Is(err, blob.ErrBadReference):
		return err
	case errors.Is(err, blob.ErrTooLarge):
		return fmt.Errorf("%w: %w", kafka.ErrTooLarge, err)
	}
	return fmt.Errorf("%w: %w", kafka.ErrNotNow, err)
}

// BlobStore returns where payloads above 256 KiB are kept.
func (c *Config) BlobStore() *blob.Folder {
	dir := c.Blobs.Dir
	if dir == "" {
		dir = filepath.Join(c.DataDir, "blobs")
	}
	return blob.NewFolder(dir, schemas.MaxRequestBytes)
}

// modelGuard returns the stage that leaves out targets which can't do what is asked.
func (c *Config) modelGuard() (*models.Guard, error) {
	known, err := models.Default()
	if err != nil {
		return nil, fmt.Errorf("reading the catalogue of models: %w", err)
	}
	kinds := make(map[string]string, len(c.Providers))
	for _, p := range c.Providers {
		if !p.Unchecked {
			kinds[p.Name] = p.Kind
		}
	}
	return &models.Guard{Catalogue: known, Kinds: kinds}, nil
}

// PriceBook reads the configured price book, or the built-in one.
func (c *Config) PriceBook() (*cost.Book, error) {
	if c.Prices.File == "" {
		return cost.DefaultBook()
	}
	f, err := os.Open(c.Prices.File)
	if err != nil {
		return nil, fmt.Errorf("reading prices: %w", err)
	}
	defer f.Close()
	book, err := cost.Load(f)
	if err != nil {
		return nil, fmt.Errorf("reading prices %s: %w", c.Prices.File, err)
	}
	return book, nil
}

// startRecorder brings the tables up to date and starts filling them.
func (a *App) startRecorder(ctx context.Context, g *group) error {
	c := &a.cfg
	err := a.persist(ctx, "clickhouse", func(context.Context) error {
		_, err := clickhouse.Migrate(ctx, c.ClickHouseDSN()) // it has limits of its own: rollups of large tables take minutes
		if errors.Is(err, clickhouse.ErrChangedMigration) {
			return permanent{err}
		}
		return err
	})
	if err != nil {
		return err
	}
	conn, _, err := clickhouse.Open(c.ClickHouseDSN())
	if err != nil {
		return err
	}
	g.onStop("clickhouse connection", conn.Close)
	err = a.persist(ctx, "clickhouse", func(ctx context.Context) error {
		changed, err := clickhouse.Age(ctx, conn, c.ClickHouse.ages())
		if len(changed) > 0 {
			a.log.Info("how old rows become was changed", zap.Strings("tables", changed))
		}
		return err
	})
	if err != nil {
		return err
	}
	rc := clickhouse.RecorderConfig{
		Client: a.client, Group: c.Kafka.Prefix + "recorder", Instance: c.Instance, Conn: conn, Codecs: a.codecs, Topics: c.recorded(),
		Link: audit.Hash, MaxRows: c.ClickHouse.MaxRows, MaxWait: c.ClickHouse.MaxWait, Log: a.log, Metrics: a.reg,
	}
	if a.tracer != nil {
		rc.Tracer = a.tracer
	}
	r := clickhouse.NewRecorder(rc)
	a.addCheck("recorder", r.Ready)
	g.run("recorder", r.Run)
	return nil
}

// startNotifier starts the webhooks.
func (a *App) startNotifier(g *group) error {
	for i, w := range a.cfg.Webhooks {
		name := "webhook " + strconv.Itoa(i)
		sub, err := pubsub.NewSubscriber(pubsub.SubscriberConfig{
			Client: a.client, Group: a.cfg.Kafka.Prefix + "webhook." + strconv.Itoa(i), MaxInFlight: max(w.MaxInFlight, 16), Log: a.log,
		})
		if err != nil {
			return fmt.Errorf("building %s: %w", name, err)
		}
		g.onStop(name+" subscription", sub.Close)
		hook, err := webhook.New(a.cfg.webhook(w), webhook.Deps{
			Subscriber: sub, Codecs: a.codecs, Log: a.log, Metrics: prometheus.WrapRegistererWith(prometheus.Labels{"webhook": strconv.Itoa(i)}, a.reg),
		})
		if err != nil {
			return fmt.Errorf("building %s: %w", name, err)
		}
		g.run(name, hook.Run)
	}
	return nil
}

// webhook fills in the results topic where the document names none.
func (c *Config) webhook(w webhook.Config) webhook.Config {
	if len(w.Topics) == 0 {
		w.Topics = []string{c.Topic(TopicResults)}
	}
	return w
}

// journalDir is where this instance keeps outcomes that are not committed, "" for
// nowhere.
func (a *App) journalDir() string {
	if !a.cfg.Worker.Journal {
		return ""
	}
	return filepath.Join(a.cfg.DataDir, "journal", url.PathEscape(a.cfg.Instance))
}

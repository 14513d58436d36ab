package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/handlers/simulate"
	"github.com/sira-ai/sira/pipeline/kafka"
	"github.com/sira-ai/sira/sinks/clickhouse"
)

func (c *cli) demoCommand() *cobra.Command {
	n := 1200
	cmd := &cobra.Command{
		Use: "demo", Short: "See it all work, with a report at the end", Args: cobra.NoArgs,
		Long: `Starts everything in this process, enqueues requests of several tenants, lanes and
models (short, long, streamed, malformed, oversized, expired, unroutable,
unpriced), while the simulated providers throw faults and one endpoint dies
half-way. Ends with a report from ClickHouse and the line requests = results =
costs. The data folder stays: sira up continues from it.`,
		Example: "  sira demo\n  sira demo --requests 5000 --data /tmp/sira-demo",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if n < 100 {
				return usageError{errors.New("--requests: at least 100, so that every kind has its share")}
			}
			return c.demo(cmd, n)
		},
	}
	cmd.Flags().IntVarP(&n, "requests", "n", n, "how many requests to enqueue")
	return cmd
}

// demo is the straight line of the show.
func (c *cli) demo(cmd *cobra.Command, n int) error {
	log, err := c.logger()
	if err != nil {
		return err
	}
	if c.logLevel == "warn" { // the demo provokes what a gateway warns of
		c.logLevel = "error"
		if log, err = c.logger(); err != nil {
			return err
		}
	}
	cfg, err := demoConfig(c.dataDir)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(cmd.Context())
	defer stop()
	a := app.New(cfg, app.AllRoles(), log)
	up, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- a.Run(ctx, func() { close(up) }) }()
	out := cmd.ErrOrStderr()
	fmt.Fprintf(out, "starting Kafka, schema registry, ClickHouse, simulated providers and a worker in this process (%s) …\n", cfg.DataDir)
	select {
	case <-up:
	case err := <-ended:
		return err
	}
	show := &demoShow{cfg: a.Effective(), app: a, out: out}
	err = show.run(ctx, n)
	var conn driver.Conn
	if err == nil {
		conn, _, err = clickhouse.Open(show.cfg.ClickHouseDSN())
	}
	if err == nil {
		err = c.report(ctx, cmd.OutOrStdout(), conn, show)
		err = errors.Join(err, conn.Close())
	}
	stop()
	return errors.Join(err, <-ended)
}

// demoConfig is the embedded configuration on free ports, with two endpoints of
// one provider and one of another, and short retry topics.
func demoConfig(dataDir string) (app.Config, error) {
	cfg := app.Defaults()
	cfg.Version, cfg.Instance = "demo", "demo"
	if dataDir != "" {
		cfg.DataDir = dataDir
	}
	cfg.HTTP.Addr = "off"
	for _, addr := range []*string{&cfg.Kafka.Embedded.Addr, &cfg.Registry.Listen, &cfg.ClickHouse.Listen} {
		*addr = "127.0.0.1:0"
	}
	free, err := freePort()
	if err != nil {
		return cfg, err
	}
	cfg.Simulator = simulate.Config{Listen: free, Seed: 7, Instances: demoInstances()}
	cfg.Kafka.Retry = []time.Duration{time.Second, 2 * time.Second}
	cfg.Worker.MaxRequestBytes = 512 << 10
	cfg.Invoke.FirstTokenTimeout, cfg.Invoke.StallTimeout, cfg.Invoke.AttemptTimeout = 2*time.Second, time.Second, 5*time.Second
	cfg.Invoke.Backoff.Initial = 100 * time.Millisecond
	cfg.ClickHouse.MaxWait = 500 * time.Millisecond
	settings := func(instance, path string) map[string]any {
		return map[string]any{"base_url": "http://" + free + "/" + instance + path, "api_key": "demo"}
	}
	cfg.Providers = []app.ProviderConfig{
		{Name: "openai", Kind: "openai", Endpoints: []app.EndpointConfig{
			{ID: "openai-east", Region: "us-east", Settings: settings("openai-east", "/openai/v1")},
			{ID: "openai-west", Region: "us-west", Settings: settings("openai-west", "/openai/v1")},
		}},
		{Name: "anthropic", Kind: "anthropic", Settings: settings("claude", "/anthropic")},
	}
	target := func(provider, model string, priority int) routing.TargetConfig {
		return routing.TargetConfig{Provider: provider, Model: model, Priority: priority}
	}
	cfg.Models = []routing.ModelConfig{
		{Name: "gpt-4o-mini", Targets: []routing.TargetConfig{target("openai", "gpt-4o-mini", 0), target("anthropic", "claude-haiku-4-5", 1)}},
		{Name: "gpt-4o", Targets: []routing.TargetConfig{target("openai", "gpt-4o", 0), target("anthropic", "claude-sonnet-4-5", 1)}},
		{Name: "claude-haiku-4-5", Targets: []routing.TargetConfig{target("anthropic", "claude-haiku-4-5", 0), target("openai", "gpt-4o-mini", 1)}},
		{Name: "gpt-preview", Targets: []routing.TargetConfig{target("openai", "gpt-preview-2026", 0)}}, // in no price book
		{Name: "overloaded", Targets: []routing.TargetConfig{target("anthropic", "claude-haiku-4-5+fault=529", 0)}},
	}
	return cfg, nil
}

func demoInstances() map[string]simulate.Behaviour {
	latency := simulate.Latency{Kind: "lognormal", Median: simulate.Duration(60 * time.Millisecond), Sigma: 0.5, Max: simulate.Duration(800 * time.Millisecond)}
	faults := map[string]simulate.Fault{
		"429": {Share: 0.02}, "500": {Share: 0.02}, "503": {Share: 0.01}, "reset": {Share: 0.01},
		"cut": {Share: 0.02}, "malformed": {Share: 0.01}, "stall": {Share: 0.003}, "slow": {Share: 0.003},
	}
	b := simulate.Behaviour{Latency: latency, TokensPerSecond: 400, Faults: faults, CachedShare: 0.2}
	return map[string]simulate.Behaviour{"openai-east": b, "openai-west": b, "claude": b}
}

// demoShow drives the demo and keeps its figures.
type demoShow struct {
	cfg  app.Config
	app  *app.App
	out  io.Writer
	sent int64
	took time.Duration
}

// run enqueues the requests in two halves, lets an endpoint die in between, and
// waits until ClickHouse has a row for every result and cost.
func (d *demoShow) run(ctx context.Context, n int) error {
	began := time.Now()
	cl, err := d.app.Client().NewClient(nil, nil)
	if err != nil {
		return err
	}
	defer cl.Close()
	conn, _, err := clickhouse.Open(d.cfg.ClickHouseDSN())
	if err != nil {
		return err
	}
	defer conn.Close()
	records, err := demoRecords(ctx, d.cfg, n, uint64(time.Now().UnixNano()))
	if err != nil {
		return err
	}
	half := len(records) / 2
	if err := produce(ctx, cl, records[:half]); err != nil {
		return err
	}
	before, err := d.counts(ctx, cl, conn)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.out, "enqueued %d requests; providers answer with faults …\n", half)
	if err := d.wait(ctx, cl, conn, before.requests-int64(half)/2, nil); err != nil {
		return err
	}
	fmt.Fprintln(d.out, "endpoint openai-west dies …")
	if err := d.down(ctx, "openai-west"); err != nil {
		return err
	}
	if err := produce(ctx, cl, records[half:]); err != nil {
		return err
	}
	after, err := d.counts(ctx, cl, conn)
	if err != nil {
		return err
	}
	bar := newBar(d.out, len(records), "answered")
	first := after.requests - int64(len(records))
	err = d.wait(ctx, cl, conn, after.requests, func(done int64) { _ = bar.Set64(max(0, done-first)) })
	_ = bar.Close()
	d.sent, d.took = int64(len(records)), time.Since(began)
	return err
}

func produce(ctx context.Context, cl *kgo.Client, records []*kgo.Record) error {
	if err := cl.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("enqueueing: %w", err)
	}
	return nil
}

// counts is how many there are since the data folder began.
type counts struct{ requests, results, costs int64 }

// counts asks Kafka for the requests and ClickHouse for results and costs. The
// request topics hold no transactions, so offsets count records.
func (d *demoShow) counts(ctx context.Context, cl *kgo.Client, conn driver.Conn) (counts, error) {
	var c counts
	var topics []string
	for _, l := range d.cfg.Kafka.Lanes {
		topics = append(topics, d.cfg.RequestTopic(l.Name))
	}
	infos, err := kafka.ListTopics(ctx, cl, topics)
	if err != nil {
		return c, fmt.Errorf("counting requests: %w", err)
	}
	for _, t := range infos {
		c.requests += t.Records()
	}
	var results, costs uint64
	if err := conn.QueryRow(ctx, "SELECT (SELECT count() FROM requests), (SELECT count() FROM costs)").Scan(&results, &costs); err != nil {
		return c, fmt.Errorf("counting results and costs: %w", err)
	}
	c.results, c.costs = int64(results), int64(costs)
	return c, nil
}

// demoLimit bounds the wait for the last result.
const demoLimit = 90 * time.Second

func (d *demoShow) wait(ctx context.Context, cl *kgo.Client, conn driver.Conn, want int64, progress func(int64)) error {
	ctx, cancel := context.WithTimeout(ctx, demoLimit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var c counts
	for {
		now, err := d.counts(ctx, cl, conn)
		switch {
		case err == nil:
			c = now
		case ctx.Err() == nil:
			return err
		}
		done := min(c.results, c.costs)
		if progress != nil {
			progress(done)
		}
		if done >= want {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for results: %d results and %d costs of %d came within %s", c.results, c.costs, want, demoLimit)
		}
	}
}

// down tells the simulator that an instance refuses every call.
func (d *demoShow) down(ctx context.Context, instance string) error {
	b, err := json.Marshal(simulate.Behaviour{Down: true})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+d.cfg.Simulator.Listen+"/_sim/instances/"+instance, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("stopping %s: %w", instance, err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 500))
		return fmt.Errorf("stopping %s: %s: %s", instance, res.Status, strings.TrimSpace(string(text)))
	}
	return nil
}

// The report's questions. docs/data-dictionary.md describes the tables.
var reportQueries = []struct{ title, sql string }{
	{"Outcomes by model and provider", `SELECT model, provider, outcome, count() AS requests, round(quantile(0.5)(e2e_ms)) AS p50_ms, round(quantile(0.99)(e2e_ms)) AS p99_ms
FROM requests GROUP BY model, provider, outcome ORDER BY model, requests DESC`},
	{"Calls by endpoint: retries and fallbacks", `SELECT endpoint, count() AS calls, countIf(reason = 'retry') AS retries, countIf(reason = 'fallback') AS fallbacks,
countIf(round > 0) AS later_rounds, countIf(outcome != 'ok') AS failed, arrayStringConcat(topKIf(3)(outcome, outcome != 'ok'), ', ') AS mostly
FROM attempts GROUP BY endpoint ORDER BY endpoint`},
	{"Spend per tenant", `SELECT tenant, sum(n) AS requests, sum(amount) AS spend, max(currency) AS currency, sumIf(n, state = 'unpriced') AS unpriced, sum(input_tokens) AS input, sum(output_tokens) AS output
FROM costs_1h GROUP BY tenant ORDER BY spend DESC`},
	{"Dead letters", `SELECT reason, count() AS records, any(detail) AS example FROM dead_letters GROUP BY reason ORDER BY records DESC`},
}

// report prints the tables and the line that must hold.
func (c *cli) report(ctx context.Context, w io.Writer, conn driver.Conn, d *demoShow) error {
	for _, q := range reportQueries {
		fmt.Fprintf(w, "\n%s\n\n", q.title)
		if err := c.query(ctx, w, conn, q.sql); err != nil {
			return err
		}
	}
	cl, err := d.app.Client().NewClient(nil, nil)
	if err != nil {
		return err
	}
	defer cl.Close()
	total, err := d.counts(ctx, cl, conn)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%d requests in %s. The data is in %s: `sira up` continues from it.\n", d.sent, d.took.Round(100*time.Millisecond), d.cfg.DataDir)
	relation := "="
	if total.requests != total.results || total.results != total.costs {
		relation = "≠"
		err = errors.New("requests, results and costs differ")
	}
	fmt.Fprintf(w, "requests %s results %s costs: %d %s %d %s %d\n", relation, relation, total.requests, relation, total.results, relation, total.costs)
	return err
}

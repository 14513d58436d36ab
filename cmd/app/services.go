package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sira-ai/sira/handlers/simulate"
	"github.com/sira-ai/sira/pipeline/kafka"
	"github.com/sira-ai/sira/schemas/avro"
	"github.com/sira-ai/sira/sinks/clickhouse/embedded"
)

// The embedded services: each a stand-in for a real one on this machine.

func (a *App) startKafka(g *group) error {
	cfg := a.cfg.Kafka.Embedded
	if cfg.Dir == "" {
		cfg.Dir = filepath.Join(a.cfg.DataDir, "kafka")
	}
	cfg.Log = a.log
	b, err := kafka.StartEmbedded(cfg)
	if err != nil {
		return err
	}
	a.cfg.Kafka.Embedded.Addr = b.Addr()
	g.onStop("embedded kafka", func() error { b.Close(); return nil })
	a.addCheck("embedded kafka", b.Ready)
	return a.reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sira_embedded_kafka_disk_free_bytes", Help: "Room on the disk of the embedded broker; below 64 MiB it refuses records.",
	}, func() float64 { return float64(b.FreeBytes()) }))
}

// startRegistry connects to the registry, or opens the embedded one. In a process
// without the role registry, "embedded" means the one at the listen address.
func (a *App) startRegistry(ctx context.Context, g *group) error {
	c := a.cfg.Registry
	if a.has(RoleRegistry) {
		r, err := avro.OpenEmbedded(avro.EmbeddedConfig{Dir: filepath.Join(a.cfg.DataDir, "registry"), Listen: c.Listen})
		if err != nil {
			return err
		}
		g.onStop("embedded schema registry", r.Close)
		l, err := r.Listen(ctx)
		if err != nil {
			return err
		}
		a.cfg.Registry.Listen = l.Addr().String()
		g.run("embedded schema registry", func(ctx context.Context) error { return r.Serve(ctx, l, a.log) })
		a.useRegistry(r)
		return nil
	}
	r, err := a.cfg.OpenRegistry()
	if err != nil {
		return err
	}
	a.useRegistry(r)
	return nil
}

func (a *App) useRegistry(r registry) { a.registry, a.codecs = r, avro.NewCodecs(r) }

// OpenRegistry returns a client of the configured registry; "embedded" is the one
// that another process serves at the listen address.
func (c *Config) OpenRegistry() (*avro.Registry, error) {
	r := c.Registry
	url := r.URL
	if url == Embedded {
		url = "http://" + r.Listen
	}
	return avro.NewRegistry(avro.RegistryConfig{
		URLs: strings.Split(url, ","), Username: r.Username, Password: r.Password, Token: r.Token, TLS: r.TLS,
		CacheDir: filepath.Join(c.DataDir, "schemas"),
	})
}

func (a *App) startClickHouse(ctx context.Context, g *group) error {
	engine, err := embedded.Open(ctx, embedded.Config{Dir: filepath.Join(a.cfg.DataDir, "clickhouse"), Log: a.log})
	if err != nil {
		return err
	}
	g.onStop("embedded clickhouse", engine.Close)
	s, err := embedded.Serve(context.WithoutCancel(ctx), embedded.ServerConfig{Addr: a.cfg.ClickHouse.Listen, Password: a.cfg.ClickHouse.Password, Log: a.log}, engine)
	if err != nil {
		return err
	}
	g.onStop("clickhouse interface", s.Close)
	a.cfg.ClickHouse.Listen = s.Addr()
	a.addCheck("embedded clickhouse", engine.Ready)
	return a.reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sira_embedded_clickhouse_disk_free_bytes", Help: "Room on the disk of the embedded ClickHouse; below 128 MiB it refuses inserts.",
	}, func() float64 { return float64(engine.FreeBytes()) }))
}

func (a *App) startSimulator(ctx context.Context, g *group) error {
	cfg := a.cfg.Simulator
	if host, _, err := net.SplitHostPort(cfg.Listen); err == nil && host == "" {
		return errors.New("simulator.listen: name a host, such as 127.0.0.1")
	}
	s := simulate.NewServer(cfg, a.log)
	if err := s.Listen(ctx); err != nil {
		return fmt.Errorf("starting simulator: %w", err)
	}
	g.run("simulator", s.Serve)
	a.cfg.Simulator.Listen = strings.TrimPrefix(s.URL(), "http://")
	a.simulated(s.URL())
	return nil
}

// simulated points the providers that name no address of their own at the
// simulator of this process.
func (a *App) simulated(url string) {
	if len(a.cfg.Providers) > 0 {
		return
	}
	a.cfg.UseSimulator(url)
}

// UseSimulator gives the configuration the simulated providers, models and prices
// that a newcomer starts with.
func (c *Config) UseSimulator(url string) {
	provider := func(name, kind, path string) ProviderConfig {
		return ProviderConfig{Name: name, Kind: kind, Settings: map[string]any{"base_url": url + path, "api_key": catalogKey}}
	}
	c.Providers = []ProviderConfig{
		provider("openai", "openai", "/openai/v1"),
		provider("anthropic", "anthropic", "/anthropic"),
	}
	if len(c.Models) == 0 {
		c.Models = simulatedModels()
	}
}

const catalogKey = "simulated"

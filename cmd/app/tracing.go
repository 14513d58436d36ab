package app

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline/tracing"
)

// startTracing begins to record spans. It is stopped behind all roles, and so has what
// they finish on the way out.
func (a *App) startTracing(g *group) error {
	var err error
	if a.tracer, err = a.cfg.Tracer(a.log, a.reg); err != nil {
		return fmt.Errorf("building tracing: %w", err)
	}
	if a.tracer != nil {
		g.onStop("tracing", a.tracer.Close)
	}
	return nil
}

// Tracer returns what records the spans of a process, or nil where the configuration
// has none. Whoever asks for it closes it.
func (c *Config) Tracer(log *zap.Logger, metrics prometheus.Registerer) (*tracing.Tracer, error) {
	if !c.Tracing.Enabled {
		return nil, nil
	}
	return tracing.New(c.Tracing, tracing.Deps{Instance: c.Instance, Log: log, Metrics: metrics})
}

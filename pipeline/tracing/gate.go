package tracing

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/zap"
)

// gate stands before the SDK's queue, and with exporter behind it. The queue drops
// quietly what it has no room for; the gate lets in no more than fits, so that every
// span that is lost is counted.
type gate struct {
	queue sdktrace.SpanProcessor
	to    sdktrace.SpanExporter
	line  *line
	log   *zap.Logger
	room  int64

	held    atomic.Int64 // spans that were let in and are not exported
	lost    atomic.Int64 // spans that were dropped because the process ended
	failing atomic.Bool  // the last export failed
	spans   *prometheus.CounterVec
	reg     prometheus.Registerer // of the metrics, or nil
	waiting prometheus.GaugeFunc

	mu   sync.Mutex
	shut bool               // no export begins any more
	stop context.CancelFunc // of the export under way, or nil
}

// What became of a span.
const (
	exported = "exported"
	dropped  = "dropped" // for want of room, or at the end of the process
	refused  = "refused" // the collector did not take it, or could not be reached
)

func newGate(room int, to sdktrace.SpanExporter, l *line, log *zap.Logger) *gate {
	g := &gate{to: to, line: l, log: log, room: int64(room)}
	g.spans = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sira_tracing_spans_total", Help: "Spans by what became of them: exported, dropped for want of room, refused by the collector."}, []string{"outcome"})
	for _, o := range []string{exported, dropped, refused} {
		g.spans.WithLabelValues(o)
	}
	g.waiting = prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sira_tracing_spans_held", Help: "Spans that wait for the collector."}, func() float64 { return float64(g.held.Load()) })
	return g
}

func (g *gate) register(reg prometheus.Registerer) error {
	if err := reg.Register(g.spans); err != nil {
		return err
	}
	if err := reg.Register(g.waiting); err != nil {
		reg.Unregister(g.spans)
		return err
	}
	g.reg = reg
	return nil
}

// OnStart implements sdktrace.SpanProcessor.
func (g *gate) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements sdktrace.SpanProcessor.
func (g *gate) OnEnd(s sdktrace.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	if g.held.Add(1) > g.room {
		g.held.Add(-1)
		g.count(dropped, 1)
		return
	}
	g.queue.OnEnd(s)
}

// Shutdown implements sdktrace.SpanProcessor.
func (g *gate) Shutdown(ctx context.Context) error { return g.queue.Shutdown(ctx) }

// ForceFlush implements sdktrace.SpanProcessor.
func (g *gate) ForceFlush(ctx context.Context) error { return g.queue.ForceFlush(ctx) }

func (g *gate) count(outcome string, n int64) { g.spans.WithLabelValues(outcome).Add(float64(n)) }

// begin returns the context of an export, or false when none begins any more.
func (g *gate) begin(ctx context.Context) (context.Context, context.CancelFunc, bool) {
	ctx, cancel := context.WithCancel(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		cancel()
		return ctx, cancel, false
	}
	g.stop = cancel
	return ctx, cancel, true
}

// cut ends the export under way and has those that follow give up at once.
func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	if g.stop != nil {
		g.stop()
	}
}

// close counts what came too late and takes the metrics back. The queue has ended.
func (g *gate) close() {
	g.cut()
	g.count(dropped, g.held.Swap(0))
	if n := g.lost.Load(); n > 0 {
		g.log.Warn("the process ends before all of its traces were sent", zap.Int64("spans", n))
	}
	g.line.transport.CloseIdleConnections()
	if g.reg != nil {
		g.reg.Unregister(g.spans)
		g.reg.Unregister(g.waiting)
	}
}

// exporter is the gate's far side.
type exporter struct{ *gate }

// ExportSpans implements sdktrace.SpanExporter. It returns nil whatever happens: the
// SDK would write its error to a log of its own.
func (e exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	n := int64(len(spans))
	defer e.held.Add(-n)
	ctx, cancel, ok := e.begin(ctx)
	defer cancel()
	if !ok {
		e.lost.Add(n)
		e.count(dropped, n)
		return nil
	}
	e.line.status.Store(0)
	err := e.to.ExportSpans(ctx, spans)
	if err == nil {
		e.failing.Store(false)
		e.count(exported, n)
		return nil
	}
	e.count(refused, n)
	if !e.failing.Swap(true) {
		e.log.Warn("the collector does not take traces; spans are lost until it does", zap.String("why", e.line.reason(err)))
	}
	return nil
}

// Shutdown implements sdktrace.SpanExporter.
func (e exporter) Shutdown(ctx context.Context) error { return e.to.Shutdown(ctx) }

// line is the connection to the collector. It remembers the last status, since errors
// of the exporter tell it only in text, beside what the collector wrote.
type line struct {
	transport *http.Transport
	status    atomic.Int64
}

func newLine(c Config) (*line, error) {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 2, TLSHandshakeTimeout: c.Timeout}
	if c.TLS != (TLS{}) {
		var err error
		if t.TLSClientConfig, err = c.TLS.build(); err != nil {
			return nil, err
		}
	}
	return &line{transport: t}, nil
}

// client returns a client that follows no redirects: they would carry the headers
// elsewhere.
func (l *line) client() *http.Client {
	return &http.Client{Transport: l, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// RoundTrip implements http.RoundTripper.
func (l *line) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := l.transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	l.status.Store(int64(res.StatusCode))
	return res, nil
}

// reason says why an export failed, without what the collector wrote.
func (l *line) reason(err error) string {
	var network *url.Error
	status := l.status.Load()
	switch {
	case status >= http.StatusMultipleChoices:
		return "it answers " + strconv.FormatInt(status, 10) + " " + http.StatusText(int(status))
	case status >= http.StatusOK:
		return "it took only a part"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.As(err, &network):
		return network.Err.Error()
	}
	return "the export was cut off"
}

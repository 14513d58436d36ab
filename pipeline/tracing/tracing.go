// Package tracing follows requests through the queue with OpenTelemetry: from the
// producer over the worker and each call to a provider to the recorder.
//
// The trace context travels in the headers of records, as W3C traceparent and
// tracestate. Names of attributes are those of the semantic conventions for
// messaging and for generative AI, version 1.41; what they have no name for begins
// with sira. No attribute holds a prompt, an answer, a credential or the text of an
// error.
//
// A process that records nothing has no Tracer at all: whoever would call one looks
// for nil.
package tracing

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
)

// Deps is what a Tracer is given. Log and Metrics may be nil.
type Deps struct {
	Instance string // stable name of this process
	Log      *zap.Logger
	Metrics  prometheus.Registerer
}

// Tracer records spans and sends them to a collector. It is safe for concurrent use.
// Recording never waits: a span that finds the queue full is dropped and counted.
type Tracer struct {
	tracer   trace.Tracer
	provider *sdktrace.TracerProvider
	gate     *gate
	drain    time.Duration
}

// scope names what records the spans.
const scope = "github.com/sira-ai/sira/pipeline/tracing"

// Sizes and times of the queue's way out.
const (
	maxBatch   = 512 // spans of an export
	batchWait  = time.Second
	retryFirst = 250 * time.Millisecond
	retryMost  = 2 * time.Second
)

// New returns a Tracer that waits for spans; Close ends it. It connects when there is
// something to send.
func New(c Config, d Deps) (*Tracer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if d.Log == nil {
		d.Log = zap.NewNop()
	}
	if c.clear() {
		d.Log.Warn("the headers of trace exports cross the network in clear text; write https in tracing.endpoint")
	}
	u, err := c.url()
	if err != nil {
		return nil, err
	}
	line, err := newLine(c)
	if err != nil {
		return nil, err
	}
	headers := make(map[string]string, len(c.Headers))
	for name, value := range c.Headers {
		headers[name] = value.Reveal()
	}
	// The context is for the exporter's start, which does no I/O over HTTP.
	to, err := otlptracehttp.New(context.Background(),
		otlptracehttp.WithEndpointURL(u.String()), otlptracehttp.WithHTTPClient(line.client()), otlptracehttp.WithHeaders(headers),
		otlptracehttp.WithTimeout(c.Timeout), otlptracehttp.WithCompression(otlptracehttp.GzipCompression),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: retryFirst, MaxInterval: retryMost, MaxElapsedTime: c.Timeout}),
	)
	if err != nil {
		return nil, fmt.Errorf("setting up the export of traces: %w", err)
	}
	g := newGate(c.Queue, to, line, d.Log)
	if d.Metrics != nil {
		if err := g.register(d.Metrics); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	g.queue = sdktrace.NewBatchSpanProcessor(exporter{g},
		sdktrace.WithMaxQueueSize(c.Queue), sdktrace.WithMaxExportBatchSize(min(maxBatch, c.Queue)), sdktrace.WithBatchTimeout(batchWait), sdktrace.WithExportTimeout(c.Timeout))
	p := sdktrace.NewTracerProvider(
		sdktrace.WithSpanProcessor(g), sdktrace.WithSampler(sampler(c.Sample)),
		sdktrace.WithResource(resource.NewWithAttributes(semconv.SchemaURL, semconv.ServiceName(c.Service), semconv.ServiceInstanceID(d.Instance))),
	)
	return &Tracer{tracer: p.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL)), provider: p, gate: g, drain: c.Drain}, nil
}

// Close sends what waits, for as long as Config.Drain, counts what is left as
// dropped, and returns when no goroutine is left. Spans that end later are not
// recorded.
func (t *Tracer) Close() error {
	limit := time.AfterFunc(t.drain, t.gate.cut)
	defer limit.Stop()
	// Exports end soon after they are cut, so this has a limit without a deadline; with
	// one it would return before its goroutine.
	err := t.provider.Shutdown(context.Background())
	t.gate.close()
	if err != nil {
		return fmt.Errorf("ending the export of traces: %w", err)
	}
	return nil
}

// sampler records what is recorded elsewhere, and of what begins here a share. Work
// on a batch is recorded if any of what it is about is.
func sampler(share float64) sdktrace.Sampler {
	return sdktrace.ParentBased(ofLinks{sdktrace.TraceIDRatioBased(share)})
}

// ofLinks decides about a span without parent.
type ofLinks struct{ alone sdktrace.Sampler }

// ShouldSample implements sdktrace.Sampler.
func (s ofLinks) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	for i := range p.Links {
		if p.Links[i].SpanContext.IsSampled() {
			return sdktrace.SamplingResult{Decision: sdktrace.RecordAndSample}
		}
	}
	return s.alone.ShouldSample(p)
}

// Description implements sdktrace.Sampler.
func (s ofLinks) Description() string { return "Links{" + s.alone.Description() + "}" }

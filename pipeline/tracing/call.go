package tracing

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// Call begins to follow a call to a provider, as a child of the span of ctx. The
// context that it returns is for the call; ended is called once, after the attempt's
// times are known, with the answer or why there is none. Neither of both means that
// the call ended in a panic.
func (t *Tracer) Call(ctx context.Context, job *pipeline.Job, a *schemas.Attempt) (_ context.Context, ended func(*schemas.Response, *schemas.Failure)) {
	if !trace.SpanFromContext(ctx).IsRecording() { // neither is a part of what it is a part of
		return ctx, unheard
	}
	ctx, span := t.start(ctx, job, a)
	return ctx, func(res *schemas.Response, f *schemas.Failure) {
		told := *a // what became of it is written later
		switch {
		case f != nil:
			told.Outcome, told.HTTPStatus = f.Code, f.HTTPStatus
			if f.Usage != nil {
				told.Usage = *f.Usage
			}
		case res == nil:
			told.Outcome = "panic"
		default:
			told.Outcome, told.Usage = schemas.OK, res.Usage
		}
		describe(span, job, &told, res)
		span.End()
	}
}

func unheard(*schemas.Response, *schemas.Failure) {}

// call records a call that is over.
func (t *Tracer) call(ctx context.Context, job *pipeline.Job, a *schemas.Attempt, res *schemas.Response) {
	_, span := t.start(ctx, job, a)
	if a.Outcome != schemas.OK {
		res = nil
	}
	describe(span, job, a, res)
	span.End(trace.WithTimestamp(a.StartedAt.Add(time.Duration(a.LatencyMS) * time.Millisecond)))
}

func (t *Tracer) start(ctx context.Context, job *pipeline.Job, a *schemas.Attempt) (context.Context, trace.Span) {
	return t.tracer.Start(ctx, operationName(job.Request.Operation())+" "+text(a.Target.Model), trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(a.StartedAt))
}

// describe says of a call what conventions for generative AI ask for.
func describe(span trace.Span, job *pipeline.Job, a *schemas.Attempt, res *schemas.Response) {
	if !span.IsRecording() {
		return
	}
	to := &a.Target
	span.SetAttributes(
		operation(job.Request.Operation()), semconv.GenAIProviderNameKey.String(providerName(to.Kind)), semconv.GenAIRequestModel(text(to.Model)), semconv.GenAIRequestStream(job.Request.Stream),
		attribute.String("sira.provider", text(to.Provider)), attribute.String("sira.endpoint", text(to.Endpoint)), attribute.String("sira.region", text(to.Region)),
		attribute.Int("sira.attempt", a.Number), attribute.String("sira.reason", a.Reason),
	)
	if u := &a.Usage; u.InputTokens > 0 || u.OutputTokens > 0 {
		span.SetAttributes(semconv.GenAIUsageInputTokens(int(u.InputTokens)), semconv.GenAIUsageOutputTokens(int(u.OutputTokens)))
		if u.CacheReadTokens > 0 {
			span.SetAttributes(semconv.GenAIUsageCacheReadInputTokens(int(u.CacheReadTokens)))
		}
		if u.CacheWriteTokens > 0 {
			span.SetAttributes(semconv.GenAIUsageCacheCreationInputTokens(int(u.CacheWriteTokens)))
		}
		if u.ReasoningTokens > 0 {
			span.SetAttributes(semconv.GenAIUsageReasoningOutputTokens(int(u.ReasoningTokens)))
		}
	}
	if a.FirstTokenMS > 0 {
		span.SetAttributes(semconv.GenAIResponseTimeToFirstChunk(float64(a.FirstTokenMS) / 1000))
	}
	if res != nil {
		answered(span, res)
	}
	if a.Outcome != schemas.OK {
		if a.HTTPStatus > 0 {
			span.SetAttributes(semconv.HTTPResponseStatusCode(a.HTTPStatus))
		}
		fail(span, a.Outcome)
	}
}

// answered says of an answer what is not its content.
func answered(span trace.Span, res *schemas.Response) {
	if res.Pending() {
		span.SetAttributes(outcome("waits"))
		return
	}
	span.SetAttributes(outcome(schemas.OK), semconv.GenAIResponseModel(text(res.Model)))
	if res.UpstreamID != "" {
		span.SetAttributes(semconv.GenAIResponseID(text(res.UpstreamID)))
	}
	if n := min(len(res.Choices), maxLinks); n > 0 {
		why := make([]string, n)
		for i := range why {
			why[i] = text(string(res.Choices[i].Finish.Reason))
		}
		span.SetAttributes(semconv.GenAIResponseFinishReasons(why...))
	}
}

func operation(op schemas.Operation) attribute.KeyValue {
	return semconv.GenAIOperationNameKey.String(operationName(op))
}

// operationName is the conventions' word for an operation; those that they don't know
// keep ours.
func operationName(op schemas.Operation) string {
	switch op {
	case schemas.OpComplete:
		return "text_completion"
	case schemas.OpEmbed:
		return "embeddings"
	}
	return text(string(op))
}

// providerName is the conventions' word for a kind of provider; those that they
// don't know keep ours.
func providerName(kind string) string {
	switch kind {
	case "azure":
		return "azure.ai.openai"
	case "gemini":
		return "gcp.gemini"
	}
	return text(kind)
}

// Transport returns base with the trace context of each request's call in the header
// traceparent. What else the producer's tracestate may say stays here.
func Transport(base http.RoundTripper) http.RoundTripper { return transport{base} }

type transport struct{ base http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !trace.SpanContextFromContext(req.Context()).IsValid() {
		return t.base.RoundTrip(req)
	}
	carrier := propagation.HeaderCarrier{}
	propagation.TraceContext{}.Inject(req.Context(), carrier)
	own := req.Clone(req.Context()) // a transport may not change what it is given
	own.Header.Set(schemas.HeaderTraceparent, carrier.Get(schemas.HeaderTraceparent))
	return t.base.RoundTrip(own)
}

// CloseIdleConnections closes those of base, as http.Client asks for it.
func (t transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

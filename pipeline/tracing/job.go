package tracing

import (
	"context"
	"errors"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// maxLinks bounds what a span is linked to; the SDK keeps as many.
const maxLinks = 128

// Begin implements pipeline.Tracer. The span is a child of what the request record
// tells, and linked to it too, since conventions for messaging ask for that. A job
// that stands for a batch is linked to the requests of it.
func (t *Tracer) Begin(ctx context.Context, job *pipeline.Job) (context.Context, func(error)) {
	from := read(job.Origin.Record.Headers)
	options := []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(job.Started)}
	var links []trace.Link
	if from.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, from)
		links = append(links, trace.Link{SpanContext: from})
	}
	for _, m := range job.Members {
		if sc := adopt(m); sc.IsSampled() && len(links) < maxLinks {
			links = append(links, trace.Link{SpanContext: sc})
		}
	}
	ctx, span := t.tracer.Start(ctx, "process "+job.Origin.Topic, append(options, trace.WithLinks(links...))...)
	job.Trace = write(ctx)
	if !span.IsRecording() && len(job.Members) == 0 {
		return ctx, nothing
	}
	return ctx, func(err error) {
		t.past(ctx, job)
		finish(span, job, err)
	}
}

func nothing(error) {}

// adopt has the records about a request of a batch carry the trace context that the
// request came with, and returns it.
func adopt(m *pipeline.Job) trace.SpanContext {
	if m == nil {
		return trace.SpanContext{}
	}
	sc := read(m.Origin.Record.Headers)
	if sc.IsValid() {
		m.Trace = write(trace.ContextWithRemoteSpanContext(context.Background(), sc))
	}
	return sc
}

// finish says what became of a job and ends its span.
func finish(span trace.Span, job *pipeline.Job, err error) {
	defer span.End()
	if !span.IsRecording() {
		return
	}
	req, from := job.Request, &job.Origin
	span.SetAttributes(
		semconv.MessagingSystemKafka, semconv.MessagingOperationTypeProcess, semconv.MessagingOperationName("process"),
		semconv.MessagingDestinationName(from.Topic), semconv.MessagingDestinationPartitionID(strconv.Itoa(int(from.Partition))), semconv.MessagingKafkaOffset(int(from.Offset)),
		semconv.MessagingMessageID(text(req.ID)),
		attribute.String("sira.tenant", text(req.Tenant)), attribute.String("sira.lane", text(from.Lane)), attribute.Int("sira.round", from.Round),
		attribute.Float64("sira.waited", max(0, job.Started.Sub(job.Created).Seconds())),
	)
	if n := len(job.Members); n > 0 {
		span.SetAttributes(semconv.MessagingBatchMessageCount(n))
	} else {
		span.SetAttributes(operation(req.Operation()), semconv.GenAIRequestModel(text(req.Model)), attribute.String("sira.route", text(job.Route)), attribute.Int("sira.attempts", len(job.Attempts)))
	}
	broke := (*pipeline.PanicError)(nil)
	switch {
	case errors.As(err, &broke):
		fail(span, "panic")
	case err != nil: // its text may tell anything
		fail(span, "given_back")
	case job.Parked > 0 || job.Collect != "":
		span.SetAttributes(outcome("waits"))
	case job.Failure != nil:
		fail(span, job.Failure.Code)
	case len(job.Members) == 0:
		span.SetAttributes(outcome(schemas.OK))
	}
}

func outcome(c schemas.Code) attribute.KeyValue { return attribute.String("sira.outcome", string(c)) }

// fail marks a span as failed. The code is all that is said of why.
func fail(span trace.Span, c schemas.Code) {
	span.SetAttributes(outcome(c), semconv.ErrorTypeKey.String(string(c)))
	span.SetStatus(codes.Error, string(c))
}

// past records the calls of a job that an earlier round began, and those of the
// requests of a batch: nobody followed them live.
func (t *Tracer) past(ctx context.Context, job *pipeline.Job) {
	for i := range job.Attempts {
		if a := &job.Attempts[i]; a.Round == job.Origin.Round && a.StartedAt.Before(job.Started) {
			t.call(ctx, job, a, job.Response)
		}
	}
	for _, m := range job.Members {
		if m == nil || m.Trace == nil || !m.Trace.Sampled {
			continue
		}
		theirs := trace.ContextWithRemoteSpanContext(context.WithoutCancel(ctx), read(m.Origin.Record.Headers))
		for i := range m.Attempts {
			if a := &m.Attempts[i]; a.Round == m.Origin.Round {
				t.call(theirs, m, a, m.Response)
			}
		}
	}
}

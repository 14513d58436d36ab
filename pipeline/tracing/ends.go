package tracing

import (
	"context"
	"strconv"

	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/sira-ai/sira/pipeline"
)

// Send begins the trace of a request that a producer puts on a topic. It returns the
// headers for the record; sent is called once, when Kafka has it or not.
func (t *Tracer) Send(ctx context.Context, topic, id string) (_ []pipeline.Header, sent func(error)) {
	ctx, span := t.tracer.Start(ctx, "send "+topic, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(
		semconv.MessagingSystemKafka, semconv.MessagingOperationTypeSend, semconv.MessagingOperationName("send"),
		semconv.MessagingDestinationName(topic), semconv.MessagingMessageID(text(id)),
	))
	return write(ctx).Headers, func(err error) { end(span, err) }
}

// Sampled reports whether a traceparent is of a trace that is recorded.
func (t *Tracer) Sampled(traceparent []byte) bool {
	return len(traceparent) <= maxHeader && parse(string(traceparent)).IsSampled()
}

// Insert follows the insert of rows of a table, with the traceparents of records
// among them. Without any nothing is recorded. Rows of one trace have the insert as a
// part of it; else it is a trace of its own with links. ended is called once.
func (t *Tracer) Insert(ctx context.Context, table, topic string, partition int32, rows int, traceparents []string) (_ context.Context, ended func(error)) {
	var links []trace.Link
	single := true
	for _, tp := range traceparents {
		sc := parse(tp)
		if !sc.IsSampled() || len(links) == maxLinks {
			continue
		}
		links = append(links, trace.Link{SpanContext: sc})
		single = single && sc.TraceID() == links[0].SpanContext.TraceID()
	}
	if len(links) == 0 {
		return ctx, nothing
	}
	if single {
		ctx = trace.ContextWithRemoteSpanContext(ctx, links[0].SpanContext)
	}
	ctx, span := t.tracer.Start(ctx, "process "+topic, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(links...), trace.WithAttributes(
		semconv.MessagingSystemKafka, semconv.MessagingOperationTypeProcess, semconv.MessagingOperationName("process"),
		semconv.MessagingDestinationName(topic), semconv.MessagingDestinationPartitionID(strconv.Itoa(int(partition))), semconv.MessagingBatchMessageCount(rows),
		semconv.DBSystemNameClickHouse, semconv.DBOperationName("INSERT"), semconv.DBCollectionName(table),
	))
	return ctx, func(err error) { end(span, err) }
}

func end(span trace.Span, err error) {
	if err != nil && span.IsRecording() {
		fail(span, "given_up")
	}
	span.End()
}

package tracing

import (
	"context"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// headers carries a trace context in the headers of a record. Of headers with the
// same name the first one counts, as for all of Sira's.
type headers []pipeline.Header

var _ propagation.TextMapCarrier = (*headers)(nil)

// maxHeader is above what W3C trace context asks of a tracestate, bytes. A header
// that is larger is none.
const maxHeader = 1 << 10

// Get implements propagation.TextMapCarrier.
func (h *headers) Get(key string) string {
	for i := range *h {
		if e := &(*h)[i]; e.Key == key {
			if len(e.Value) > maxHeader {
				return ""
			}
			return string(e.Value)
		}
	}
	return ""
}

// Set implements propagation.TextMapCarrier. The gateway writes lists of its own, in
// which no name comes twice.
func (h *headers) Set(key, value string) {
	*h = append(*h, pipeline.Header{Key: key, Value: []byte(value)})
}

// Keys implements propagation.TextMapCarrier.
func (h *headers) Keys() []string {
	keys := make([]string, len(*h))
	for i := range *h {
		keys[i] = (*h)[i].Key
	}
	return keys
}

// read returns the trace context of a record, which is not valid if there is none or
// if it can't be read.
func read(h []pipeline.Header) trace.SpanContext {
	ctx := propagation.TraceContext{}.Extract(context.Background(), (*headers)(&h))
	return trace.SpanContextFromContext(ctx)
}

// parse is read for a traceparent alone.
func parse(traceparent string) trace.SpanContext {
	return read([]pipeline.Header{{Key: schemas.HeaderTraceparent, Value: []byte(traceparent)}})
}

// ID returns the trace id that the headers of a record tell, 32 hex digits, or "".
func ID(h []pipeline.Header) string {
	sc := read(h)
	if !sc.IsValid() {
		return ""
	}
	return sc.TraceID().String()
}

// write returns the headers for records about the span of ctx.
func write(ctx context.Context) *pipeline.Trace {
	var h headers
	propagation.TraceContext{}.Inject(ctx, &h)
	return &pipeline.Trace{Headers: slices.Clip(h), Sampled: trace.SpanContextFromContext(ctx).IsSampled()}
}

// maxText bounds what foreigners chose, bytes.
const maxText = schemas.MaxIDLength

// text makes an attribute of what foreigners chose. Protobuf refuses strings that
// are no UTF-8, and all spans of the export with them.
func text(s string) string { return strings.ToValidUTF8(schemas.Clip(s, maxText), "�") }

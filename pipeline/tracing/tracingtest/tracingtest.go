// Package tracingtest is a collector for tests: it takes OTLP over HTTP as a real one
// does and keeps what it is told.
package tracingtest

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// Span is a span as the collector was told of it. IDs are in hex.
type Span struct {
	Trace, ID, Parent string // Parent is empty for a root
	Name              string
	Kind              string // producer, consumer, client or internal
	Service, Instance string
	Attributes        map[string]string
	Links             []string // trace/span
	Failed            bool
	Start, End        time.Time
}

// Collector keeps spans. It is safe for concurrent use.
type Collector struct {
	URL string // of the endpoint, without a path

	mu      sync.Mutex
	spans   []Span
	bodies  [][]byte // of exports, unpacked
	headers []http.Header
	came    chan struct{} // closed when more comes
}

// Start returns a collector that ends with the test.
func Start(tb testing.TB) *Collector {
	tb.Helper()
	c := &Collector{came: make(chan struct{})}
	s := httptest.NewServer(c)
	tb.Cleanup(s.Close)
	c.URL = s.URL
	return c
}

// ServeHTTP takes one export.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := unpack(r)
	var told collector.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &told)
	}
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bodies, c.headers = append(c.bodies, body), append(c.headers, r.Header.Clone())
	for _, rs := range told.GetResourceSpans() {
		of := attributes(rs.GetResource().GetAttributes())
		for _, ss := range rs.GetScopeSpans() {
			for _, s := range ss.GetSpans() {
				span := read(s)
				span.Service, span.Instance = of["service.name"], of["service.instance.id"]
				c.spans = append(c.spans, span)
			}
		}
	}
	close(c.came)
	c.came = make(chan struct{})
}

func unpack(r *http.Request) ([]byte, error) {
	if r.Header.Get("Content-Encoding") != "gzip" {
		return io.ReadAll(r.Body)
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(z)
}

func read(s *otlp.Span) Span {
	out := Span{
		Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
		Name: s.GetName(), Attributes: attributes(s.GetAttributes()), Failed: s.GetStatus().GetCode() == otlp.Status_STATUS_CODE_ERROR,
		Start: time.Unix(0, int64(s.GetStartTimeUnixNano())), End: time.Unix(0, int64(s.GetEndTimeUnixNano())),
	}
	switch s.GetKind() {
	case otlp.Span_SPAN_KIND_PRODUCER:
		out.Kind = "producer"
	case otlp.Span_SPAN_KIND_CONSUMER:
		out.Kind = "consumer"
	case otlp.Span_SPAN_KIND_CLIENT:
		out.Kind = "client"
	case otlp.Span_SPAN_KIND_INTERNAL:
		out.Kind = "internal"
	}
	for _, l := range s.GetLinks() {
		out.Links = append(out.Links, hex.EncodeToString(l.GetTraceId())+"/"+hex.EncodeToString(l.GetSpanId()))
	}
	return out
}

func attributes(kvs []*common.KeyValue) map[string]string {
	out := make(map[string]string, len(kvs))
	for _, kv := range kvs {
		switch v := kv.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			out[kv.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			out[kv.GetKey()] = strconv.FormatInt(v.IntValue, 10)
		case *common.AnyValue_DoubleValue:
			out[kv.GetKey()] = strconv.FormatFloat(v.DoubleValue, 'g', -1, 64)
		case *common.AnyValue_BoolValue:
			out[kv.GetKey()] = strconv.FormatBool(v.BoolValue)
		default:
			out[kv.GetKey()] = kv.GetValue().String()
		}
	}
	return out
}

// Spans returns what came so far, in the order of starting.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := slices.Clone(c.spans)
	slices.SortStableFunc(out, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return out
}

// Bodies returns the exports as bytes, for what must not be in them.
func (c *Collector) Bodies() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.bodies)
}

// Headers returns those of the exports.
func (c *Collector) Headers() []http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.headers)
}

// Wait returns the spans once enough says that they are all there, and fails the test
// after the given time.
func (c *Collector) Wait(tb testing.TB, limit time.Duration, enough func([]Span) bool) []Span {
	tb.Helper()
	over := time.NewTimer(limit)
	defer over.Stop()
	for {
		c.mu.Lock()
		more := c.came
		c.mu.Unlock()
		spans := c.Spans()
		if enough(spans) {
			return spans
		}
		select {
		case <-more:
		case <-over.C:
			for _, s := range spans {
				tb.Logf("%s %s <- %s %s %s %v", s.Trace, s.ID, s.Parent, s.Kind, s.Name, s.Attributes)
			}
			tb.Fatalf("the collector waits in vain; it has %d spans", len(spans))
		}
	}
}

package tracing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/pipeline/tracing/tracingtest"
	"github.com/sira-ai/sira/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newTracer(tb testing.TB, cfg Config, log *zap.Logger) *Tracer {
	tb.Helper()
	tracer, err := New(cfg, Deps{Instance: "i1", Log: log, Metrics: prometheus.NewRegistry()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = tracer.Close() })
	return tracer
}

// to is a configuration that sends to a collector.
func to(url string) Config {
	c := Defaults()
	c.Enabled, c.Endpoint = true, url
	return c
}

// Contexts of a producer, as W3C writes them.
const (
	recorded   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	unrecorded = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
	producerID = "b7ad6b7169203331"
	traceID    = "0af7651916cd43dd8448eb211c80319c"
)

func jobWith(headers ...pipeline.Header) *pipeline.Job {
	req := &schemas.Request{ID: "r1", Tenant: "acme", Model: "small", Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "prompt-0")}}
	now := time.Now()
	return &pipeline.Job{
		Request: req, Outgoing: req, Created: now.Add(-time.Second), Started: now, Deadline: now.Add(time.Minute),
		Origin: pipeline.Origin{Topic: "requests", Partition: 3, Offset: 7, Lane: "standard", Record: pipeline.Record{Headers: headers}},
	}
}

func header(key, value string) pipeline.Header {
	return pipeline.Header{Key: key, Value: []byte(value)}
}

func calling(number int) *schemas.Attempt {
	return &schemas.Attempt{Number: number, Target: schemas.Target{Provider: "g", Kind: "gemini", Model: "flash", Endpoint: "g-1"}, Reason: "first", Outcome: schemas.OK, StartedAt: time.Now()}
}

// follow takes a job through the tracer as the worker does, with a call that fails and
// one that answers.
func follow(t *Tracer, job *pipeline.Job) {
	ctx, ended := t.Begin(context.Background(), job)
	_, first := t.Call(ctx, job, calling(1))
	first(nil, &schemas.Failure{Code: schemas.Overloaded, HTTPStatus: 529, Message: "echo of prompt-0", VendorCode: "prompt-0"})
	_, second := t.Call(ctx, job, calling(2))
	job.Response = &schemas.Response{
		UpstreamID: "up-1", Model: "flash-001", Usage: schemas.Usage{InputTokens: 40, OutputTokens: 9, CacheReadTokens: 8},
		Choices: []schemas.Choice{{Message: schemas.TextMessage(schemas.RoleAssistant, "answer-0"), Finish: schemas.Finish{Reason: schemas.FinishStop}}},
	}
	second(job.Response, nil)
	ended(nil)
}

func closed(t *testing.T, tracer *Tracer) {
	t.Helper()
	if err := tracer.Close(); err != nil {
		t.Error(err)
	}
}

func TestWorkerGoesOnWithTheProducersTrace(t *testing.T) {
	t.Parallel()
	c := tracingtest.Start(t)
	tracer := newTracer(t, to(c.URL), nil)
	job := jobWith(header(schemas.HeaderTraceparent, recorded), header(schemas.HeaderTracestate, "vendor=1"))
	follow(tracer, job)
	closed(t, tracer)
	spans := c.Spans()
	if len(spans) != 3 {
		t.Fatalf("%d spans, want those of the job and of two calls", len(spans))
	}
	process, failed, answered := spans[0], spans[1], spans[2]
	for _, s := range spans {
		if s.Trace != traceID || s.Service != "sira" || s.Instance != "i1" {
			t.Errorf("%s is of trace %s, service %s, instance %s", s.Name, s.Trace, s.Service, s.Instance)
		}
	}
	if process.Kind != "consumer" || process.Name != "process requests" || process.Parent != producerID || failed.Parent != process.ID || answered.Parent != process.ID {
		t.Errorf("parents: %+v", spans)
	}
	if diff := cmp.Diff([]string{traceID + "/" + producerID}, process.Links); diff != "" {
		t.Error(diff)
	}
	want := []string{"00-" + traceID + "-" + process.ID + "-01", "vendor=1"}
	got := map[string]string{}
	for _, h := range job.Trace.Headers {
		got[h.Key] = string(h.Value)
	}
	if got[schemas.HeaderTraceparent] != want[0] || got[schemas.HeaderTracestate] != want[1] || !job.Trace.Sampled {
		t.Errorf("the result carries %v, want %v", got, want)
	}
	for name, c := range map[string]struct {
		span tracingtest.Span
		want map[string]string
	}{
		"job": {process, map[string]string{
			"messaging.system": "kafka", "messaging.destination.name": "requests", "messaging.destination.partition.id": "3", "messaging.kafka.offset": "7",
			"messaging.operation.type": "process", "messaging.message.id": "r1", "sira.tenant": "acme", "sira.outcome": "ok", "gen_ai.request.model": "small",
		}},
		"answer": {answered, map[string]string{
			"gen_ai.operation.name": "chat", "gen_ai.provider.name": "gcp.gemini", "gen_ai.request.model": "flash", "gen_ai.response.model": "flash-001", "gen_ai.response.id": "up-1",
			"gen_ai.usage.input_tokens": "40", "gen_ai.usage.output_tokens": "9", "gen_ai.usage.cache_read.input_tokens": "8", "sira.attempt": "2", "sira.endpoint": "g-1", "error.type": "",
		}},
		"failure": {failed, map[string]string{"error.type": "overloaded", "http.response.status_code": "529", "gen_ai.response.model": ""}},
	} {
		for key, value := range c.want {
			if c.span.Attributes[key] != value {
				t.Errorf("%s: %s is %q, want %q", name, key, c.span.Attributes[key], value)
			}
		}
	}
	if answered.Name != "chat flash" || answered.Kind != "client" || answered.Failed || !failed.Failed || process.Failed {
		t.Errorf("spans %+v", spans)
	}
	for _, b := range c.Bodies() {
		if bytes.Contains(b, []byte("prompt-0")) || bytes.Contains(b, []byte("answer-0")) {
			t.Error("an export holds a prompt or an answer")
		}
	}
}

func TestUnsampledStaysUnsampled(t *testing.T) {
	t.Parallel()
	c := tracingtest.Start(t)
	tracer := newTracer(t, to(c.URL), nil)
	job := jobWith(header(schemas.HeaderTraceparent, unrecorded))
	follow(tracer, job)
	if ID(job.Trace.Headers) != traceID || job.Trace.Sampled || tracer.Sampled(job.Trace.Headers[0].Value) {
		t.Errorf("the result carries %s", job.Trace.Headers)
	}
	if _, ended := tracer.Insert(t.Context(), "requests", "results", 0, 1, []string{unrecorded}); ended != nil {
		ended(nil)
	}
	closed(t, tracer)
	if n := len(c.Spans()); n != 0 {
		t.Errorf("%d spans of a trace that is not recorded", n)
	}
}

// What begins here is recorded by share, and everything behind it follows.
func TestShareOfNothingRecordsNothing(t *testing.T) {
	t.Parallel()
	c := tracingtest.Start(t)
	cfg := to(c.URL)
	cfg.Sample = 0
	tracer := newTracer(t, cfg, nil)
	headers, sent := tracer.Send(t.Context(), "requests", "r1")
	sent(nil)
	follow(tracer, jobWith(headers...))
	follow(tracer, jobWith(header(schemas.HeaderTraceparent, recorded)))
	closed(t, tracer)
	for _, s := range c.Spans() {
		if s.Trace != traceID {
			t.Errorf("%s of trace %s is recorded", s.Name, s.Trace)
		}
	}
	if n := len(c.Spans()); n != 3 {
		t.Errorf("%d spans, want the 3 of the trace that began elsewhere", n)
	}
}

func TestMalformedContextBeginsATraceOfItsOwn(t *testing.T) {
	t.Parallel()
	c := tracingtest.Start(t)
	tracer := newTracer(t, to(c.URL), nil)
	bad := []string{
		"", "x", recorded[:54], recorded + "-x", strings.ToUpper(recorded), "ff" + recorded[2:], "00-00000000000000000000000000000000-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", strings.Repeat("0", 900_000), "\xff\x00", recorded + strings.Repeat("0", maxHeader),
	}
	for _, b := range bad {
		job := jobWith(header(schemas.HeaderTraceparent, b))
		follow(tracer, job)
		if id := ID(job.Trace.Headers); len(id) != 32 || id == traceID {
			t.Errorf("%.60q: the job is of trace %q", b, id)
		}
	}
	closed(t, tracer)
	if n := len(c.Spans()); n != 3*len(bad) {
		t.Errorf("%d spans, want %d", n, 3*len(bad))
	}
}

// Protobuf refuses text that is no UTF-8, and would all spans of the export.
func TestNamesThatAreNoUTF8SpoilNoExport(t *testing.T) {
	t.Parallel()
	c := tracingtest.Start(t)
	tracer := newTracer(t, to(c.URL), nil)
	job := jobWith()
	job.Request.ID, job.Request.Tenant, job.Request.Model, job.Request.Op = "r\xff", strings.Repeat("t\xff", 500), "m\xff", "op\xff"
	ctx, ended := tracer.Begin(t.Context(), job)
	a := calling(1)
	a.Target = schemas.Target{Provider: "p\xff", Kind: "k\xff", Model: "m\xff", Endpoint: "e\xff", Region: "r\xff"}
	_, answered := tracer.Call(ctx, job, a)
	answered(&schemas.Response{UpstreamID: "u\xff", Model: "m\xff", Choices: []schemas.Choice{{Finish: schemas.Finish{Reason: "f\xff"}}}}, nil)
	ended(nil)
	closed(t, tracer)
	if n := len(c.Spans()); n != 2 {
		t.Errorf("%d spans, want 2", n)
	}
}

func TestJobThatIsGivenBackSaysSoWithoutTheReason(t *testing.T) {
	t.Parallel()
	c := tracingtest.Start(t)
	tracer := newTracer(t, to(c.URL), nil)
	for _, err := range []error{errors.New("prompt-0"), fmt.Errorf("x: %w", &pipeline.PanicError{Step: "ask", Value: "prompt-0"})} {
		_, ended := tracer.Begin(t.Context(), jobWith())
		ended(err)
	}
	ctx, ended := tracer.Begin(t.Context(), jobWith())
	_, answered := tracer.Call(ctx, jobWith(), calling(1))
	answered(nil, nil) // as after a panic
	ended(nil)
	closed(t, tracer)
	var types []string
	for _, s := range c.Spans() {
		types = append(types, s.Attributes["error.type"])
	}
	if diff := cmp.Diff([]string{"given_back", "panic", "", "panic"}, types); diff != "" {
		t.Error(diff)
	}
	for _, b := range c.Bodies() {
		if bytes.Contains(b, []byte("prompt-0")) {
			t.Error("an export holds the text of an error")
		}
	}
}

// A batch has no trace to go on with, and its requests have one each.
func TestBatchIsLinkedToItsRequests(t *testing.T) {
	t.Parallel()
	c := tracingtest.Start(t)
	cfg := to(c.URL)
	cfg.Sample = 0
	tracer := newTracer(t, cfg, nil)
	batch := jobWith()
	batch.Request = &schemas.Request{ID: "batch x"}
	for i, h := range []string{recorded, unrecorded, ""} {
		m := jobWith(header(schemas.HeaderTraceparent, h))
		m.Origin.Round = 1
		a := calling(i + 1)
		a.Round, a.StartedAt, a.LatencyMS = 1, time.Now().Add(-time.Hour), 60_000
		m.Attempts, m.Response = []schemas.Attempt{*a}, &schemas.Response{Model: "flash-001"}
		batch.Members = append(batch.Members, m)
	}
	batch.Members = append(batch.Members, nil) // settled before
	_, ended := tracer.Begin(t.Context(), batch)
	ended(nil)
	closed(t, tracer)
	spans := c.Spans()
	if len(spans) != 2 {
		t.Fatalf("%d spans, want those of the batch and of one request's call", len(spans))
	}
	call, process := spans[0], spans[1]
	if process.Trace == traceID || process.Parent != "" || !cmp.Equal(process.Links, []string{traceID + "/" + producerID}) || process.Attributes["messaging.batch.message_count"] != "4" {
		t.Errorf("the batch: %+v", process)
	}
	if call.Trace != traceID || call.Parent != producerID || call.End.Sub(call.Start) != time.Minute || call.Attributes["gen_ai.response.model"] != "flash-001" {
		t.Errorf("the call: %+v", call)
	}
	if m := batch.Members; m[0].Trace == nil || !m[0].Trace.Sampled || m[1].Trace == nil || m[1].Trace.Sampled || m[2].Trace != nil {
		t.Error("records about the requests carry other contexts than their own")
	}
}

func TestInsertIsAPartOfOneTraceAndLinkedToMany(t *testing.T) {
	t.Parallel()
	c := tracingtest.Start(t)
	tracer := newTracer(t, to(c.URL), nil)
	other := strings.Replace(recorded, "0af7", "1bf7", 1)
	for _, traces := range [][]string{{}, {recorded, recorded}, {recorded, "x", other, unrecorded}} {
		_, ended := tracer.Insert(t.Context(), "requests", "results", 2, 9, traces)
		ended(errors.New("row-0"))
	}
	closed(t, tracer)
	spans := c.Spans()
	if len(spans) != 2 {
		t.Fatalf("%d spans, want 2", len(spans))
	}
	if one := spans[0]; one.Trace != traceID || one.Parent != producerID || len(one.Links) != 2 || one.Attributes["db.collection.name"] != "requests" || one.Attributes["error.type"] != "given_up" {
		t.Errorf("rows of one trace: %+v", one)
	}
	if many := spans[1]; many.Trace == traceID || many.Parent != "" || len(many.Links) != 2 {
		t.Errorf("rows of two traces: %+v", many)
	}
}

func TestProviderIsToldTheTraceAndNothingElse(t *testing.T) {
	t.Parallel()
	c := tracingtest.Start(t)
	tracer := newTracer(t, to(c.URL), nil)
	var told http.Header
	rt := Transport(roundTrip(func(r *http.Request) { told = r.Header }))
	ask := func(ctx context.Context) {
		req := httptest.NewRequestWithContext(ctx, http.MethodPost, "http://vendor/", nil)
		req.Header.Set("X-Own", "1")
		res, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if len(req.Header) != 1 {
			t.Errorf("the request itself was changed: %v", req.Header)
		}
	}
	ask(t.Context())
	if len(told) != 1 {
		t.Errorf("without a trace the vendor is told %v", told)
	}
	ctx, _ := tracer.Begin(t.Context(), jobWith(header(schemas.HeaderTraceparent, recorded), header(schemas.HeaderTracestate, "producer=secret")))
	ask(ctx)
	if tp := told.Get("traceparent"); !strings.HasPrefix(tp, "00-"+traceID) || len(told) != 2 {
		t.Errorf("the vendor is told %v", told)
	}
}

type roundTrip func(*http.Request)

// RoundTrip implements http.RoundTripper.
func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	f(r)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// became returns how many spans had which end.
func (t *Tracer) became(tb testing.TB) map[string]int {
	tb.Helper()
	reg := prometheus.NewRegistry()
	if err := reg.Register(t.gate.spans); err != nil {
		tb.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		tb.Fatal(err)
	}
	out := map[string]int{}
	for _, m := range families[0].GetMetric() {
		if n := int(m.GetCounter().GetValue()); n > 0 {
			out[m.GetLabel()[0].GetValue()] = n
		}
	}
	return out
}

// Whatever the collector does, nobody waits for it, each span is accounted for, and
// the end comes in time.
func TestSickCollectorHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	nobody := httptest.NewServer(nil)
	nobody.Close()
	deaf, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = deaf.Close() })
	serve := func(h http.HandlerFunc) string {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s.URL
	}
	for name, url := range map[string]string{
		"nobody listens": nobody.URL,
		"nobody accepts": "http://" + deaf.Addr().String(),
		"it never answers": serve(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // the server notices that a client left once the body was read
			<-r.Context().Done()
		}),
		"it refuses":       serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }),
		"it is overloaded": serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }),
		"it moved": serve(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+deaf.Addr().String(), http.StatusTemporaryRedirect)
		}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			core, logs := observer.New(zap.WarnLevel)
			cfg := to(url)
			cfg.Queue, cfg.Drain, cfg.Timeout = 100, 300*time.Millisecond, time.Minute
			tracer := newTracer(t, cfg, zap.New(core))
			began := time.Now()
			for range 500 {
				_, sent := tracer.Send(t.Context(), "requests", "r")
				sent(nil)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("500 spans took %s", took)
			}
			began = time.Now()
			closed(t, tracer)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the end took %s", took)
			}
			got := tracer.became(t)
			if got[exported] != 0 || got[dropped]+got[refused] != 500 || tracer.gate.held.Load() != 0 {
				t.Errorf("of 500 spans became %v", got)
			}
			if n := logs.Len(); n > 2 {
				t.Errorf("%d lines in the log: %v", n, logs.All())
			}
		})
	}
}

func TestCollectorThatComesBackIsUsedAgain(t *testing.T) {
	t.Parallel()
	c := tracingtest.Start(t)
	tries := make(chan struct{}, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case tries <- struct{}{}:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			c.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	tracer := newTracer(t, to(s.URL), nil)
	_, sent := tracer.Send(t.Context(), "requests", "r1")
	sent(nil)
	closed(t, tracer)
	if got := tracer.became(t); !cmp.Equal(got, map[string]int{exported: 1}) || len(c.Spans()) != 1 {
		t.Errorf("the span became %v", got)
	}
}

// FuzzHeaders reads what producers may write. What is taken is of W3C's form, and
// is written as it was read.
func FuzzHeaders(f *testing.F) {
	for _, tp := range []string{recorded, unrecorded, "", "ff" + recorded[2:], "01" + recorded[2:] + "-more"} {
		f.Add([]byte(tp), []byte("a=1,b=2"))
	}
	f.Fuzz(func(t *testing.T, traceparent, tracestate []byte) {
		h := []pipeline.Header{{Key: schemas.HeaderTraceparent, Value: traceparent}, {Key: schemas.HeaderTracestate, Value: tracestate}}
		sc := read(h)
		if !sc.IsValid() {
			if ID(h) != "" {
				t.Error("what can't be read has an id")
			}
			return
		}
		if !bytes.Contains(traceparent, []byte(sc.TraceID().String())) || !bytes.Contains(traceparent, []byte(sc.SpanID().String())) {
			t.Errorf("%q is read as %s %s", traceparent, sc.TraceID(), sc.SpanID())
		}
		if again := read([]pipeline.Header{h[0]}); again.TraceID() != sc.TraceID() || again.IsSampled() != sc.IsSampled() {
			t.Error("tracestate changes traceparent")
		}
	})
}

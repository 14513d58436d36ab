package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/audit"
	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/leastload"
	"github.com/sira-ai/sira/handlers/cost"
	"github.com/sira-ai/sira/handlers/invoke"
	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/openai"
	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
	sinkkafka "github.com/sira-ai/sira/sinks/kafka"
)

// What one request may allocate on its way, step by step. The figures are those
// that were measured when a line was last changed, on Go 1.26, plus a tenth for
// steps above 20. Allocations do not depend on the machine or its load, so this
// stands guard where a time could not.
//
// A step that needs more fails: look at what changed first
// (go test -run Allocations -memprofile mem.out ./integration, and go tool pprof
// -sample_index=alloc_objects). If it is worth it, raise the figure in the same
// commit and say why. After an improvement lower it: the test logs what it
// measures (-v).
const (
	allocsRoute        = 2
	allocsRouteOf1000  = 2
	allocsLease        = 2
	allocsDecodeJSON   = 22
	allocsDecodeAvro   = 7
	allocsEncodeResult = 0
	allocsCall         = 72 // invoke and the adapter of openai, with an HTTP client that answers at once
	allocsChain        = 80 // routing, the call, cost and audit
	allocsOutputs      = 15 // encoding result, cost, attempt and audit
)

func TestAllocationsDoNotGrow(t *testing.T) {
	f := newFlow(t)
	for _, c := range []struct {
		step string
		most float64
		run  func() error
	}{
		{"routing", allocsRoute, func() error { return f.router.Handle(t.Context(), f.fresh()) }},
		{"routing, a thousand routes", allocsRouteOf1000, func() error { return f.many.Handle(t.Context(), f.fresh()) }},
		{"balancing over eight endpoints", allocsLease, f.lease},
		{"decoding a request of JSON", allocsDecodeJSON, func() error { return readJSON(f.asJSON) }},
		{"decoding a request of Avro", allocsDecodeAvro, func() error { return f.codecs.Request.Decode(t.Context(), f.asAvro, new(schemas.Request)) }},
		{"encoding a result as Avro", allocsEncodeResult, f.encode},
		{"the call", allocsCall, f.call},
		{"the whole chain", allocsChain, func() error { return f.chain.Run(t.Context(), f.fresh()) }},
		{"the four records", allocsOutputs, f.outputs},
	} {
		if err := c.run(); err != nil {
			t.Fatalf("%s: %v", c.step, err)
		}
		got := testing.AllocsPerRun(500, func() {
			if err := c.run(); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("%-32s %3.0f allocations, %3.0f allowed", c.step, got, c.most)
		if got > c.most {
			t.Errorf("%s makes %.0f allocations, more than %.0f", c.step, got, c.most)
		}
	}
}

// Each step of a request, in time:
//
//	go test -run - -bench Step -benchmem -cpu 1 ./integration
func BenchmarkStep(b *testing.B) {
	f := newFlow(b)
	for _, c := range []struct {
		step string
		run  func() error
	}{
		{"decode_json", func() error { return readJSON(f.asJSON) }},
		{"decode_avro", func() error { return f.codecs.Request.Decode(b.Context(), f.asAvro, new(schemas.Request)) }},
		{"call", f.call},
		{"chain", func() error { return f.chain.Run(b.Context(), f.fresh()) }},
		{"outputs_avro", f.outputs},
		{"outputs_json", func() error {
			f.answered.Origin.JSON = true
			defer func() { f.answered.Origin.JSON = false }()
			return f.outputs()
		}},
	} {
		b.Run(c.step, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := c.run(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// flow is the way of one request without Kafka and network.
type flow struct {
	codecs         *avro.Codecs
	router, many   *routing.Router
	pool           *invoke.Pool
	asker          *invoke.Stage
	chain          *pipeline.Chain
	deliverer      *sinkkafka.Deliverer
	asJSON, asAvro []byte
	request        *schemas.Request
	job            pipeline.Job // reused: what is measured is the steps, not the test
	answered       *pipeline.Job
	result         schemas.Result
	buffer         []byte
}

func newFlow(t testing.TB) *flow {
	t.Helper()
	f := &flow{request: Request("r1")}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	cfg := app.Defaults()
	cfg.DataDir = t.TempDir()
	registry, err := avro.OpenEmbedded(avro.EmbeddedConfig{Dir: t.TempDir()})
	must(err)
	t.Cleanup(func() { _ = registry.Close() })
	f.codecs = avro.NewCodecs(registry)
	must(f.codecs.Register(t.Context(), registry, cfg.Subjects()))
	f.asJSON, err = json.Marshal(f.request)
	must(err)
	f.asAvro, err = f.codecs.Request.Append(nil, f.request)
	must(err)

	cfg.Providers = []app.ProviderConfig{{Name: "openai", Kind: "openai"}}
	cfg.Models = []routing.ModelConfig{{Name: "gpt-4o-mini", Targets: []routing.TargetConfig{{Provider: "openai", Model: "gpt-4o-mini"}}}}
	measured := new(routing.Measured)
	f.router, err = cfg.Router(catalog.Env{}, routing.Sources{Health: measured})
	must(err)
	for i := range 1000 {
		cfg.Routes = append(cfg.Routes, routing.RouteConfig{Name: fmt.Sprint("r", i), When: fmt.Sprintf("tenant == %q", fmt.Sprint("t", i))})
	}
	cfg.Routes = append(cfg.Routes, routing.RouteConfig{Name: "rest"})
	f.many, err = cfg.Router(catalog.Env{}, routing.Sources{Health: measured})
	must(err)

	env := catalog.Env{Log: zap.NewNop(), HTTP: &http.Client{Transport: atOnce(instantAnswer)}}
	caller, err := catalog.New[provider.Provider]("provider", openai.Entry).Build("openai", json.RawMessage(`{"api_key":"sk-0"}`), env)
	must(err)
	balancer, err := catalog.New[balance.Balancer]("balancer", leastload.Entry).Build("least_load", nil, env)
	must(err)
	var endpoints []balance.EndpointConfig
	for i := range 8 {
		endpoints = append(endpoints, balance.EndpointConfig{ID: fmt.Sprint("e", i), Weight: 1, Caller: caller})
	}
	f.pool, err = invoke.NewPool("openai", "openai", balance.Defaults(), balancer, endpoints, nil)
	must(err)
	f.asker, err = invoke.New(invoke.Defaults(), map[string]*invoke.Pool{"openai": f.pool}, invoke.Limits{})
	must(err)
	book, err := cost.DefaultBook()
	must(err)
	f.chain = &pipeline.Chain{
		Ask: []pipeline.Step{{Name: "routing", Stage: f.router}, {Name: "invoke", Stage: f.asker}},
		Settle: []pipeline.Step{
			{Name: "routing outcomes", Stage: f.router.Learn(measured)}, {Name: "cost", Stage: cost.New(cost.Config{Book: book})}, {Name: "audit", Stage: audit.New(audit.Config{Worker: "w"})},
		},
	}
	f.deliverer = &sinkkafka.Deliverer{Codecs: f.codecs, Worker: "w", Topics: sinkkafka.Topics{
		Results: cfg.Topic(app.TopicResults), Costs: cfg.Topic(app.TopicCosts), Attempts: cfg.Topic(app.TopicAttempts), Audit: cfg.Topic(app.TopicAudit), Dead: cfg.Topic(app.TopicDead),
	}}
	f.answer(t)
	return f
}

// answer takes a request through the chain, for the steps behind it.
func (f *flow) answer(t testing.TB) {
	t.Helper()
	f.answered = new(pipeline.Job)
	*f.answered = *f.fresh()
	if err := f.chain.Run(t.Context(), f.answered); err != nil || f.answered.Failure != nil {
		t.Fatalf("the chain answers with %v, error %v", f.answered.Failure, err)
	}
	if f.answered.Cost == nil || f.answered.Cost.State != schemas.CostPriced {
		t.Fatalf("the answer costs %+v", f.answered.Cost)
	}
	f.result = schemas.Result{
		RequestID: "r1", Tenant: "acme", Status: schemas.Succeeded, Response: f.answered.Response, Op: schemas.OpChat, Model: "gpt-4o-mini", Target: f.answered.Answered,
		Attempts: f.answered.Attempts, Origin: "sira.requests.standard/0/1", CreatedAt: f.answered.Created, CompletedAt: f.answered.Completed,
	}
}

// fresh returns the job as a source would have made it.
func (f *flow) fresh() *pipeline.Job {
	now := time.Now()
	f.job = pipeline.Job{
		Request: f.request, Outgoing: f.request, Created: now, Started: now, Deadline: now.Add(time.Hour), Emit: func(schemas.Chunk) {},
		Origin: pipeline.Origin{Topic: "sira.requests.standard", First: "sira.requests.standard/0/1", Lane: "standard"},
	}
	return &f.job
}

func (f *flow) lease() error {
	l, err := f.pool.Acquire(0, "", "gpt-4o-mini", time.Now())
	if err != nil {
		return err
	}
	l.Done(nil, time.Millisecond)
	return nil
}

func (f *flow) encode() (err error) {
	f.buffer, err = f.codecs.Result.Append(f.buffer[:0], &f.result)
	return err
}

func (f *flow) call() error {
	job := f.fresh()
	job.Targets = f.answered.Targets
	ctx, cancel := context.WithDeadline(context.Background(), job.Deadline) // as pipeline.Chain does
	defer cancel()
	return f.asker.Handle(ctx, job)
}

func (f *flow) outputs() error {
	_, err := f.deliverer.Outputs(context.Background(), f.answered)
	return err
}

// atOnce is a transport that answers every call with the same body.
type atOnce string

const instantAnswer = `{"id":"c-1","object":"chat.completion","created":1700000000,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":"It appends, and pays with merges."},"finish_reason":"stop"}],"usage":{"prompt_tokens":40,"completion_tokens":9,"total_tokens":49}}`

// RoundTrip implements http.RoundTripper.
func (a atOnce) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Request: req,
		Body: io.NopCloser(bytes.NewReader([]byte(a))), ContentLength: int64(len(a)),
	}, nil
}

func readJSON(b []byte) error {
	if !new(schemas.Request).ReadJSON(b) {
		return errors.New("the request was left to encoding/json")
	}
	return nil
}

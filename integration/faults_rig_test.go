package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/simulate"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// gateway is a worker with its broker and the simulator, in this process, so that
// its processor time can be measured. Each row of the fault table has a model,
// a primary and a fallback of its own, so that rows do not disturb each other.
type gateway struct {
	t      *testing.T
	app    *app.App
	cfg    app.Config
	client *kgo.Client
	codecs *avro.Codecs

	mu      sync.Mutex
	results map[string]schemas.Result
	chunks  map[string][]schemas.Chunk
	costs   map[string]schemas.CostEvent
	news    chan struct{} // closed and made anew when something arrives
}

// newGateway starts a gateway with the models of rows. edit may change the
// document; roles are played next to those of a worker.
func newGateway(t *testing.T, rows []string, edit func(Document), roles ...app.Role) *gateway {
	t.Helper()
	g := startGateway(t, rows, edit, roles...)
	g.listen()
	return g
}

// startGateway is newGateway for a test that reads the topics itself.
func startGateway(t *testing.T, rows []string, edit func(Document), roles ...app.Role) *gateway {
	t.Helper()
	sim, err := FreeAddr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var providers, models []Document
	for _, row := range rows {
		primary, fallback := row+"-primary", row+"-fallback"
		providers = append(providers,
			Document{"name": primary, "kind": "openai", "base_url": "http://" + sim + "/" + primary + "/openai/v1", "api_key": "any"},
			Document{"name": fallback, "kind": "anthropic", "base_url": "http://" + sim + "/" + fallback + "/anthropic", "api_key": "any"})
		models = append(models, Document{"name": row, "targets": []Document{
			{"provider": primary, "model": "gpt-4o-mini"}, {"provider": fallback, "model": "claude-haiku-4-5", "priority": 1},
		}})
	}
	doc := Document{
		"instance": "faults", "data_dir": t.TempDir(), "http": Document{"addr": "127.0.0.1:0"},
		"kafka": Document{
			"embedded": Document{"addr": "127.0.0.1:0"}, "partitions": 2, "retry": []string{},
			"lanes": []Document{{"name": "standard", "max_age": "2m"}},
		},
		"registry": Document{"listen": "127.0.0.1:0"}, "simulator": Document{"listen": sim, "seed": 1},
		"providers": providers, "models": models,
		"invoke": Document{
			"attempt_timeout": "3s", "first_token_timeout": "1s", "stall_timeout": "1s", "backoff": Document{"initial": "100ms", "max": "400ms"},
		},
	}
	if edit != nil {
		edit(doc)
	}
	text, err := yaml.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := app.Parse("faults.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{t: t, results: map[string]schemas.Result{}, chunks: map[string][]schemas.Chunk{}, costs: map[string]schemas.CostEvent{}, news: make(chan struct{})}
	g.start(cfg, append([]app.Role{app.RoleKafka, app.RoleRegistry, app.RoleSimulator, app.RoleWorker}, roles...))
	return g
}

func (g *gateway) start(cfg app.Config, roles []app.Role) {
	g.t.Helper()
	if cfg.Instance == "services" { // the test starts its workers itself
		roles = slices.DeleteFunc(roles, func(r app.Role) bool { return r == app.RoleWorker })
	}
	if !cfg.UsesEmbeddedKafka() {
		roles = slices.DeleteFunc(roles, func(r app.Role) bool { return r == app.RoleKafka })
	}
	g.app, _ = g.run(cfg, roles...)
	g.cfg, g.codecs = g.app.Effective(), g.app.Codecs()
}

// run starts a process of its own until stop, or the end of the test.
func (g *gateway) run(cfg app.Config, roles ...app.Role) (process *app.App, stop func()) {
	g.t.Helper()
	process = app.New(cfg, roles, zap.NewNop())
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- process.Run(ctx, func() { close(ready) }) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			g.t.Errorf("stopping: %v", err)
		}
	})
	g.t.Cleanup(stop)
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		g.t.Fatalf("starting: %v", err)
	case <-time.After(time.Minute):
		g.t.Fatal("the gateway does not start")
	}
	return process, stop
}

// worker starts a worker of its own against the gateway's broker.
func (g *gateway) worker(instance string) (stop func()) {
	g.t.Helper()
	cfg := g.cfg
	cfg.Instance, cfg.DataDir = instance, g.t.TempDir()
	if cfg.UsesEmbeddedKafka() {
		cfg.Kafka.Brokers = []string{g.cfg.Kafka.Embedded.Addr}
	}
	cfg.Registry.URL = "http://" + g.cfg.Registry.Listen
	_, stop = g.run(cfg, app.RoleWorker)
	return stop
}

// listen collects results and chunks.
func (g *gateway) listen() {
	g.t.Helper()
	var err error
	g.client, err = g.app.Client().NewClient(nil, nil, kgo.ConsumeTopics(g.cfg.Topic(app.TopicResults), g.cfg.Topic(app.TopicChunks), g.cfg.Topic(app.TopicCosts)),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ProducerLinger(0))
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for r := range g.client.PollFetches(ctx).RecordsAll() {
				g.take(ctx, r)
			}
		}
	}()
	g.t.Cleanup(func() { cancel(); g.client.Close(); <-done })
}

func (g *gateway) take(ctx context.Context, r *kgo.Record) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch r.Topic {
	case g.cfg.Topic(app.TopicResults):
		var res schemas.Result
		if err := decode(ctx, g.codecs.Result, r.Value, &res); err != nil {
			g.t.Errorf("decoding result: %v", err)
		}
		if _, twice := g.results[res.RequestID]; twice {
			g.t.Errorf("%s has two results", res.RequestID)
		}
		g.results[res.RequestID] = res
	case g.cfg.Topic(app.TopicCosts):
		var e schemas.CostEvent
		if err := decode(ctx, g.codecs.Cost, r.Value, &e); err != nil {
			g.t.Errorf("decoding cost: %v", err)
		}
		g.costs[e.RequestID] = e
	default:
		var c schemas.Chunk
		if err := decode(ctx, g.codecs.Chunk, r.Value, &c); err != nil {
			g.t.Errorf("decoding chunk: %v", err)
		}
		g.chunks[c.RequestID] = append(g.chunks[c.RequestID], c)
	}
	close(g.news)
	g.news = make(chan struct{})
}

func decode[T any](ctx context.Context, c *avro.Codec[T], value []byte, into *T) error {
	if len(value) > 0 && value[0] == 0 {
		return c.Decode(ctx, value, into)
	}
	return json.Unmarshal(value, into)
}

// simulate sets how an instance of the simulator behaves.
func (g *gateway) simulate(t *testing.T, instance string, b simulate.Behaviour) {
	t.Helper()
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	if err := call(t.Context(), http.MethodPut, "http://"+g.cfg.Simulator.Listen+"/_sim/instances/"+instance, text, nil); err != nil {
		t.Fatal(err)
	}
}

// send enqueues a request for a model.
func (g *gateway) send(t *testing.T, req *schemas.Request) {
	t.Helper()
	value, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	rec := &kgo.Record{Topic: g.cfg.RequestTopic("standard"), Key: []byte(req.ID), Value: value}
	if err := g.client.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func question(id, model string, stream bool) *schemas.Request {
	return &schemas.Request{
		ID: id, Tenant: "acme", Model: model, Stream: stream, CreatedAt: time.Now(),
		Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "Why is the sky blue?")},
	}
}

// answer waits for a result with its cost and, of a stream, for its end.
func (g *gateway) answer(t *testing.T, id string, stream bool, limit time.Duration) (schemas.Result, []schemas.Chunk) {
	t.Helper()
	late := time.NewTimer(limit)
	defer late.Stop()
	for {
		g.mu.Lock()
		res, ok := g.results[id]
		_, paid := g.costs[id]
		chunks := append([]schemas.Chunk(nil), g.chunks[id]...)
		news := g.news
		g.mu.Unlock()
		if ended := len(chunks) > 0 && chunks[len(chunks)-1].Type == schemas.ChunkEnd; ok && paid && (!stream || ended) {
			return res, chunks
		}
		select {
		case <-news:
		case <-late.C:
			t.Fatalf("%s: no result in %s (result %v, %d chunks)", id, limit, ok, len(chunks))
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

// whole reports what is wrong with an answer that claims success, or "".
func whole(res *schemas.Result, chunks []schemas.Chunk) string {
	switch {
	case res.Response == nil || len(res.Response.Choices) != 1:
		return "there is no answer"
	case res.Response.Choices[0].Finish.Reason == "":
		return "the answer does not say why it ended"
	case res.Response.Usage.Source != schemas.UsageReported || res.Response.Usage.OutputTokens == 0:
		return fmt.Sprintf("the usage is %+v", res.Response.Usage)
	case res.Target == nil:
		return "the result does not name who answered"
	}
	if len(chunks) == 0 {
		return ""
	}
	last := chunks[len(chunks)-1]
	var text strings.Builder
	open := map[int]bool{} // attempts that spoke and were not closed
	for i, c := range chunks {
		if c.Attempt == last.Attempt && c.Type == schemas.ChunkText {
			text.WriteString(c.Text)
		}
		open[c.Attempt] = c.Type != schemas.ChunkError && c.Type != schemas.ChunkEnd
		if c.Type == schemas.ChunkEnd && i != len(chunks)-1 {
			return "something follows the end of the stream"
		}
	}
	for n, still := range open {
		if still {
			return fmt.Sprintf("attempt %d is not closed in the stream", n)
		}
	}
	if text.String() != res.Response.Text() {
		return fmt.Sprintf("the stream says %q, the result %q", text.String(), res.Response.Text())
	}
	return ""
}

// story is the attempts of a result, in short.
func story(res *schemas.Result) string {
	var b bytes.Buffer
	for i, a := range res.Attempts {
		if i > 0 {
			b.WriteString(", ")
		}
		who := "primary"
		if strings.HasSuffix(a.Target.Provider, "-fallback") {
			who = "fallback"
		}
		fmt.Fprintf(&b, "%s %s %s", who, a.Reason, a.Outcome)
	}
	return b.String()
}

// cpu returns the processor time that this process has taken.
func cpu(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/shopspring/decimal"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/cost"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// llmRequests is how many requests the real model answers.
const llmRequests = 50

// llmTokens is the longest answer that is asked for.
const llmTokens = 24

// quickStart returns the documents of docs/offline-llm.md by the file that they
// are for.
func quickStart(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../docs/offline-llm.md")
	if err != nil {
		t.Fatal(err)
	}
	docs := map[string]string{}
	for part := range strings.SplitSeq(string(text), "```yaml\n") {
		body, _, ok := strings.Cut(part, "```")
		switch {
		case ok && strings.Contains(body, "\nproviders:"):
			docs["offline.yaml"] = body
		case ok && strings.HasPrefix(body, "prices:"):
			docs["prices.yaml"] = body
		}
	}
	if len(docs) != 2 {
		t.Fatalf("docs/offline-llm.md has %d of the two documents", len(docs))
	}
	return docs
}

func TestOfflineQuickStartIsValid(t *testing.T) {
	t.Parallel()
	docs := quickStart(t)
	cfg, err := app.Parse("offline.yaml", []byte(docs["offline.yaml"]))
	if err != nil {
		t.Error(err)
	}
	if len(cfg.Providers) != 1 || len(cfg.Models) != 1 || cfg.Prices.File != "prices.yaml" {
		t.Errorf("the document has %d providers, %d models and prices in %q", len(cfg.Providers), len(cfg.Models), cfg.Prices.File)
	}
	if _, err := cost.Load(strings.NewReader(docs["prices.yaml"])); err != nil {
		t.Error(err)
	}
}

// TestRealModelAnswersThroughKafka needs a model and a server for it.
func TestRealModelAnswersThroughKafka(t *testing.T) {
	if os.Getenv("SIRA_LLM") == "" {
		t.Skip("needs a model; run `make integration-llm`")
	}
	r := newRig(t)
	server := startModel(t, r)
	r.follow(quickStart(t), server)
	r.start("all", "kafka,registry,worker", nil)
	r.ready()
	began := time.Now()
	r.askModel()
	answered := r.answered()
	r.until("the results", 8*time.Minute, func() bool { return answered.Load() == llmRequests })
	t.Logf("%d answers in %s", llmRequests, time.Since(began).Round(time.Second))

	if failed := r.exactlyOnce(llmRequests); failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
	seen := r.readAnswers()
	if got := metric(t, server, "llamacpp:tokens_predicted_total"); got != seen.output {
		t.Errorf("results count %d tokens of output, the server %d", seen.output, got)
	}
	t.Logf("%d tokens of input, %d of output, %s EUR", seen.input, seen.output, seen.paid)
	if len(seen.streamed) != llmRequests/2 {
		t.Errorf("%d streamed answers, want %d", len(seen.streamed), llmRequests/2)
	}
	r.checkStreams(seen.streamed)
}

// startModel runs the model's server and returns its address once it answers.
func startModel(t *testing.T, r *rig) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "../.ci/fetch-llm").Output()
	if err != nil {
		t.Fatalf("looking for the model: %v", err)
	}
	dir := strings.TrimSpace(string(out))
	addr, err := FreeAddr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	p := NewProcess("llama-server", filepath.Join(r.Dir, "llama-server.log"),
		filepath.Join(dir, "llama-server"), "--model", filepath.Join(dir, "model.gguf"), "--alias", "gemma-3-270m",
		"--host", host, "--port", port, "--parallel", "2", "--ctx-size", "4096", "--predict", "64", "--metrics",
		"--jinja", "--chat-template", "{% for m in messages %}{{ m.content }}{% endfor %}") // as in docs/offline-llm.md
	if err := p.Launch(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("log of %s ends with:\n%s", p.Name, p.Tail())
		}
	})
	r.until("the model to be loaded", 2*time.Minute, func() bool {
		if p.Gone() {
			t.Fatal("the model's server has ended")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		return call(ctx, http.MethodGet, "http://"+addr+"/health", nil, nil) == nil
	})
	return addr
}

// follow makes the site as the quick start says, but for its ports.
func (r *rig) follow(docs map[string]string, server string) {
	r.t.Helper()
	var doc Document
	if err := yaml.Unmarshal([]byte(docs["offline.yaml"]), &doc); err != nil {
		r.t.Fatal(err)
	}
	doc["providers"].([]any)[0].(Document)["base_url"] = "http://" + server + "/v1"
	book := filepath.Join(r.Dir, "prices.yaml")
	if err := os.WriteFile(book, []byte(docs["prices.yaml"]), 0o600); err != nil {
		r.t.Fatal(err)
	}
	doc["prices"].(Document)["file"] = book
	maps.Copy(r.Shared, doc)
}

// beginnings are what a base model goes on with.
var beginnings = []string{
	"The sea is", "Once upon a time there was", "The capital of France is", "A log is a file that", "In the morning the birds",
}

// askModel puts the requests on the topic: every second streamed, and of those
// every second as JSON.
func (r *rig) askModel() {
	r.t.Helper()
	p, err := NewProducer(r.t.Context(), r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	defer p.Client.Close()
	limit, heat := int64(llmTokens), 0.0
	for i := range llmRequests {
		req := &schemas.Request{
			ID: fmt.Sprintf("r%d", i), Tenant: "acme", Model: "gemma", CreatedAt: time.Now(), Stream: i%2 == 1,
			MaxTokens: &limit, Sampling: &schemas.Sampling{Temperature: &heat},
			Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, beginnings[i%len(beginnings)])},
		}
		rec, err := p.Record(req, i%4 >= 2)
		if err != nil {
			r.t.Fatal(err)
		}
		if err := p.Client.ProduceSync(r.t.Context(), rec).FirstErr(); err != nil {
			r.t.Fatal(err)
		}
	}
}

// answers is what the results of a real model say.
type answers struct {
	input, output int64
	paid          decimal.Decimal
	streamed      map[string]string // text by request
}

// readAnswers checks each result by itself and adds them up.
func (r *rig) readAnswers() answers {
	r.t.Helper()
	codecs := r.codecs()
	seen := answers{streamed: map[string]string{}}
	r.each(app.TopicResults, func(rec *kgo.Record) error {
		var res schemas.Result
		if err := decodeResult(r.t.Context(), codecs, rec.Value, &res); err != nil {
			return err
		}
		if res.Response == nil {
			return nil // which was counted as failed
		}
		u := res.Response.Usage
		if u.Source != schemas.UsageReported || u.InputTokens <= 0 || u.OutputTokens <= 0 || u.OutputTokens > llmTokens {
			r.t.Errorf("usage of %s is %+v", res.RequestID, u)
		}
		if res.Cost.State != schemas.CostPriced || res.Cost.Money == nil || res.Cost.Money.Currency != "EUR" {
			r.t.Errorf("cost of %s is %+v", res.RequestID, res.Cost)
			return nil
		}
		// 0.02, 0.01 and 0.08 for a million.
		want := decimal.New(2*(u.InputTokens-u.CacheReadTokens)+u.CacheReadTokens+8*u.OutputTokens, -8)
		if !res.Cost.Money.Amount.Equal(want) {
			r.t.Errorf("cost of %s is %s, want %s", res.RequestID, res.Cost.Money.Amount, want)
		}
		if res.Response.Text() == "" {
			r.t.Errorf("the answer to %s is empty", res.RequestID)
		}
		seen.input, seen.output, seen.paid = seen.input+u.InputTokens, seen.output+u.OutputTokens, seen.paid.Add(res.Cost.Money.Amount)
		if res.Stream {
			seen.streamed[res.RequestID] = res.Response.Text()
		}
		return nil
	})
	booked := decimal.Zero
	r.each(app.TopicCosts, func(rec *kgo.Record) error {
		var e schemas.CostEvent
		if err := codecs.Cost.Decode(r.t.Context(), rec.Value, &e); err != nil {
			return fmt.Errorf("decoding cost: %w", err)
		}
		booked = booked.Add(e.Amount)
		return nil
	})
	if !booked.Equal(seen.paid) || !booked.IsPositive() {
		r.t.Errorf("cost events book %s, results %s", booked, seen.paid)
	}
	return seen
}

// checkStreams compares the text of chunks with that of results.
func (r *rig) checkStreams(want map[string]string) {
	r.t.Helper()
	codecs := r.codecs()
	got, pieces, ends := map[string]string{}, 0, 0
	r.each(app.TopicChunks, func(rec *kgo.Record) error {
		var c schemas.Chunk
		var err error
		if rec.Value[0] == 0 {
			err = codecs.Chunk.Decode(r.t.Context(), rec.Value, &c)
		} else {
			err = json.Unmarshal(rec.Value, &c)
		}
		if err != nil {
			return fmt.Errorf("decoding chunk: %w", err)
		}
		switch c.Type {
		case schemas.ChunkText:
			got[c.RequestID] += c.Text
			pieces++
		case schemas.ChunkEnd:
			ends++
		}
		return nil
	})
	for id, text := range want {
		if got[id] != text {
			r.t.Errorf("the chunks of %s say %q, its result %q", id, got[id], text)
		}
	}
	if len(got) != len(want) || ends != len(want) || pieces < 2*len(want) {
		r.t.Errorf("%d streams in %d pieces with %d ends, want %d in many", len(got), pieces, ends, len(want))
	}
}

func (r *rig) codecs() *avro.Codecs {
	r.t.Helper()
	registry, err := r.cfg.OpenRegistry()
	if err != nil {
		r.t.Fatal(err)
	}
	return newCodecs(registry)
}

func decodeResult(ctx context.Context, codecs *avro.Codecs, value []byte, res *schemas.Result) error {
	var err error
	if value[0] == 0 {
		err = codecs.Result.Decode(ctx, value, res)
	} else {
		err = json.Unmarshal(value, res)
	}
	if err != nil {
		return fmt.Errorf("decoding result: %w", err)
	}
	return nil
}

// metric reads a counter from the metrics page of a server.
func metric(t *testing.T, addr, name string) int64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatalf("%s is %q", name, value)
			}
			return int64(n)
		}
	}
	t.Fatalf("the server does not count %s", name)
	return 0
}

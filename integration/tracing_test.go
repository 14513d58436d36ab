package integration

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/handlers/simulate"
	"github.com/sira-ai/sira/pipeline/tracing/tracingtest"
	"github.com/sira-ai/sira/schemas"
)

const (
	producersTrace = "0af7651916cd43dd8448eb211c80319c"
	producersSpan  = "b7ad6b7169203331"
)

// tracedGateway is a gateway that sends its spans to url, and what its results carry.
func tracedGateway(t *testing.T, url string, rows ...string) *gateway {
	t.Helper()
	return newGateway(t, rows, func(doc Document) {
		doc["tracing"] = Document{"enabled": true, "endpoint": url, "drain": "1s", "timeout": "1s", "queue": 16}
		kafka, _ := doc["kafka"].(Document)
		kafka["retry"] = []string{"200ms"}
	})
}

// sendWith enqueues a request with headers.
func (g *gateway) sendWith(t *testing.T, id, model string, headers ...kgo.RecordHeader) {
	t.Helper()
	value := fmt.Appendf(nil, `{"id":%q,"tenant":"acme","model":%q,"messages":[{"role":"user","parts":[{"kind":"text","text":"prompt-0"}]}]}`, id, model)
	rec := &kgo.Record{Topic: g.cfg.RequestTopic("standard"), Key: []byte(id), Value: value, Headers: headers}
	if err := g.client.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

func traceparent(value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: schemas.HeaderTraceparent, Value: []byte(value)}
}

// A request that needs a further round, with a fallback in each, is one trace: the
// rounds and their calls are parts of what the producer began.
func TestRoundsOfARequestAreOneTrace(t *testing.T) {
	t.Parallel()
	c := tracingtest.Start(t)
	g := tracedGateway(t, c.URL, "down")
	for _, side := range []string{"down-primary", "down-fallback"} {
		g.simulate(t, side, simulate.Behaviour{Down: true})
	}
	g.sendWith(t, "r1", "down", traceparent("00-"+producersTrace+"-"+producersSpan+"-01"))
	res, _ := g.answer(t, "r1", false, 30*time.Second)
	if res.Failure == nil || len(res.Attempts) < 2 {
		t.Fatalf("%d attempts, failure %v; want two rounds without an answer", len(res.Attempts), res.Failure)
	}
	spans := c.Wait(t, 30*time.Second, func(spans []tracingtest.Span) bool { return len(spans) >= 2+len(res.Attempts) })
	rounds, calls := map[string]string{}, 0
	first := ""
	for _, s := range spans {
		if s.Trace != producersTrace {
			t.Errorf("%s is of trace %s", s.Name, s.Trace)
		}
		switch s.Kind {
		case "consumer":
			rounds[s.ID] = s.Attributes["sira.round"]
			want := producersSpan
			if first != "" {
				want = first
			}
			if first = s.ID; s.Parent != want {
				t.Errorf("round %s has parent %s, want %s", s.Attributes["sira.round"], s.Parent, want)
			}
		case "client":
			calls++
			if _, ok := rounds[s.Parent]; !ok || !s.Failed || s.Attributes["error.type"] == "" {
				t.Errorf("a call: %+v", s)
			}
		}
	}
	if len(rounds) != 2 || calls != len(res.Attempts) {
		t.Errorf("%d rounds and %d calls, want 2 and %d", len(rounds), calls, len(res.Attempts))
	}
	for _, b := range c.Bodies() {
		if strings.Contains(string(b), "prompt-0") {
			t.Error("an export holds a prompt")
		}
	}
}

// Whatever stands in the header, the request is answered once, and what is not to be
// recorded is not.
func TestForeignTraceContextsLoseNothing(t *testing.T) {
	t.Parallel()
	c := tracingtest.Start(t)
	g := tracedGateway(t, c.URL, "fine")
	bad := []string{"", "x", "00-" + producersTrace, strings.Repeat("0", 900_000), "00-" + strings.ToUpper(producersTrace) + "-" + producersSpan + "-01", "\x00\xff"}
	for i, b := range bad {
		g.sendWith(t, fmt.Sprint("bad", i), "fine", traceparent(b))
	}
	g.sendWith(t, "unrecorded", "fine", traceparent("00-"+producersTrace+"-"+producersSpan+"-00"))
	for i := range bad {
		if res, _ := g.answer(t, fmt.Sprint("bad", i), false, 30*time.Second); res.Status != schemas.Succeeded {
			t.Errorf("%.40q: %v", bad[i], res.Failure)
		}
	}
	if res, _ := g.answer(t, "unrecorded", false, 30*time.Second); res.Status != schemas.Succeeded {
		t.Errorf("unrecorded: %v", res.Failure)
	}
	for _, s := range c.Wait(t, 30*time.Second, func(spans []tracingtest.Span) bool { return len(spans) >= 2*len(bad) }) {
		if s.Trace == producersTrace {
			t.Errorf("%s of a trace that is not recorded is", s.Name)
		}
	}
}

// A collector that takes connections and never answers costs spans and nothing else,
// and the process ends in time.
func TestSickCollectorLosesNothingButSpans(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close)
	g := tracedGateway(t, s.URL, "fine")
	const n = 40 // two spans each: more than the queue holds
	for i := range n {
		g.sendWith(t, fmt.Sprint("r", i), "fine")
	}
	for i := range n {
		if res, _ := g.answer(t, fmt.Sprint("r", i), false, 30*time.Second); res.Status != schemas.Succeeded {
			t.Errorf("r%d: %v", i, res.Failure)
		}
	}
	lost := 0
	for line := range strings.SplitSeq(g.metrics(t), "\n") {
		if strings.HasPrefix(line, `sira_tracing_spans_total{outcome="dropped"}`) && !strings.HasSuffix(line, " 0") {
			lost++
		}
	}
	if lost == 0 {
		t.Error("the metrics do not tell of the spans that were dropped")
	}
}

// A provider learns of the trace only where the configuration says so.
func TestProvidersAreToldOfTheTraceOnlyIfConfigured(t *testing.T) {
	t.Parallel()
	for _, on := range []bool{false, true} {
		t.Run(fmt.Sprint(on), func(t *testing.T) {
			t.Parallel()
			told := make(chan string, 10)
			vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				if r.Method == http.MethodPost {
					told <- r.Header.Get("Traceparent") + r.Header.Get("Tracestate")
				}
				w.Header().Set("Content-Type", "application/json")
				_, _ = io.WriteString(w, instantAnswer)
			}))
			t.Cleanup(vendor.Close)
			c := tracingtest.Start(t)
			g := newGateway(t, nil, func(doc Document) {
				doc["tracing"] = Document{"enabled": true, "endpoint": c.URL, "providers": on}
				doc["providers"] = []Document{{"name": "vendor", "kind": "openai", "base_url": vendor.URL, "api_key": "any"}}
				doc["models"] = []Document{{"name": "fine", "targets": []Document{{"provider": "vendor", "model": "gpt-4o-mini"}}}}
			})
			g.sendWith(t, "r1", "fine", traceparent("00-"+producersTrace+"-"+producersSpan+"-01"), kgo.RecordHeader{Key: schemas.HeaderTracestate, Value: []byte("shop=1")})
			if res, _ := g.answer(t, "r1", false, 30*time.Second); res.Status != schemas.Succeeded {
				t.Fatal(res.Failure)
			}
			spans := c.Wait(t, 30*time.Second, func(spans []tracingtest.Span) bool { return len(spans) >= 2 })
			want := ""
			if on {
				want = "00-" + producersTrace + "-" + spans[1].ID + "-01"
			}
			if got := <-told; got != want || spans[1].Kind != "client" {
				t.Errorf("the provider is told %q, want %q", got, want)
			}
		})
	}
}

// metrics returns what the gateway tells Prometheus.
func (g *gateway) metrics(t *testing.T) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+g.app.HTTPAddr()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

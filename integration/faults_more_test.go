package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sira-ai/sira/handlers/simulate"
	"github.com/sira-ai/sira/schemas"
)

// unforgiving is a model that refuses a conversation that ends with the beginning of its
// answer, as newer ones do. Everything else goes to the simulator.
func unforgiving(t *testing.T, simulator func() string) (address string, refused *atomic.Int64) {
	t.Helper()
	refused = new(atomic.Int64)
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		to, _ := url.Parse("http://" + simulator() + "/strict/anthropic")
		r.SetURL(to)
	}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		var asked struct {
			Messages []struct {
				Role string `json:"role"`
			} `json:"messages"`
		}
		if json.Unmarshal(body, &asked) == nil && len(asked.Messages) > 0 && asked.Messages[len(asked.Messages)-1].Role == "assistant" {
			refused.Add(1)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"type":"error","error":{"type":"invalid_request_error","message":"This model does not support assistant message prefill. The conversation must end with a user message."}}`)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, refused
}

// A stream that breaks is begun anew elsewhere, not continued: a fallback that takes
// no prefilled answer is never asked to.
func TestAFallbackIsNeverAskedToContinueAnAnswer(t *testing.T) {
	var simulator atomic.Value
	address, refused := unforgiving(t, func() string { s, _ := simulator.Load().(string); return s })
	g := newGateway(t, []string{"prefill"}, func(doc Document) {
		providers, _ := doc["providers"].([]Document)
		providers[1]["base_url"] = address
	})
	simulator.Store(g.cfg.Simulator.Listen)
	after := 5
	g.simulate(t, "prefill-primary", simulate.Behaviour{Faults: map[string]simulate.Fault{"cut": {Share: 1, After: &after}}})
	for _, stream := range []bool{false, true} {
		id := fmt.Sprintf("prefill-%v", stream)
		g.send(t, question(id, "prefill", stream))
		res, chunks := g.answer(t, id, stream, 30*time.Second)
		g.outcome(t, &res, chunks, "")
		if res.Target == nil || res.Target.Provider != "prefill-fallback" || refused.Load() != 0 {
			t.Errorf("%s; refused %d times", story(&res), refused.Load())
		}
	}
}

// Hundreds of calls that get no answer cost no processor time while they wait.
func TestTheProcessorIdlesWhileProvidersAreSilent(t *testing.T) {
	heavy(t)
	g := newGateway(t, []string{"silence", "stall"}, func(doc Document) {
		doc["invoke"] = Document{"attempt_timeout": "12s", "first_token_timeout": "12s", "stall_timeout": "12s"}
	})
	for _, fault := range []string{"silence", "stall"} {
		g.simulate(t, fault+"-primary", simulate.Behaviour{Faults: map[string]simulate.Fault{fault: {Share: 1}}})
	}
	busy := func(d time.Duration) float64 {
		before := cpu(t)
		select {
		case <-time.After(d):
		case <-t.Context().Done():
		}
		return float64(cpu(t)-before) / float64(d)
	}
	idle := busy(3 * time.Second)
	const each = 150
	for i := range each {
		for _, fault := range []string{"silence", "stall"} {
			g.send(t, question(fmt.Sprintf("%s-%d", fault, i), fault, i%2 == 0))
		}
	}
	g.until(t, "all calls to be in flight", func() bool { return g.stats(t).Total.InFlight == 2*each })
	stalled := busy(5 * time.Second)
	t.Logf("processor while idle: %.1f %% of a core; with %d calls stalled: %.1f %%", 100*idle, 2*each, 100*stalled)
	if stalled > idle+0.05 {
		t.Errorf("%.1f %% of a core while stalled, %.1f %% while idle", 100*stalled, 100*idle)
	}
	for i := range each {
		for _, fault := range []string{"silence", "stall"} {
			res, chunks := g.answer(t, fmt.Sprintf("%s-%d", fault, i), i%2 == 0, time.Minute)
			g.outcome(t, &res, chunks, "")
		}
	}
}

// The primary fails for a quarter of a minute. Its breaker opens, the fallback
// answers everything, probes are few, and half a minute after its recovery the
// primary is back to stay.
func TestAFlappingPrimaryReturns(t *testing.T) {
	heavy(t)
	g := newGateway(t, []string{"flapping"}, nil)
	n := 0
	ask := func() schemas.Result {
		n++
		id := fmt.Sprintf("flapping-%d", n)
		g.send(t, question(id, "flapping", n%2 == 0))
		res, chunks := g.answer(t, id, n%2 == 0, 30*time.Second)
		g.outcome(t, &res, chunks, "")
		return res
	}
	for flap := range 2 {
		g.simulate(t, "flapping-primary", simulate.Behaviour{Down: true})
		calls, asked := 0, 0
		for end := time.Now().Add(15 * time.Second); time.Now().Before(end); asked++ {
			for _, a := range ask().Attempts {
				if a.Target.Provider == "flapping-primary" {
					calls++
				}
			}
			pauseFor(t, 50*time.Millisecond)
		}
		g.simulate(t, "flapping-primary", simulate.Behaviour{})
		recovered := time.Now()
		for ask().Target.Provider != "flapping-primary" {
			if time.Since(recovered) > 30*time.Second {
				t.Fatalf("the primary was not back 30 s after it recovered")
			}
			pauseFor(t, 100*time.Millisecond)
		}
		back := time.Since(recovered)
		for range 20 {
			if res := ask(); res.Target.Provider != "flapping-primary" {
				t.Errorf("fell over again: %s", story(&res))
			}
		}
		t.Logf("flap %d: %d requests, %d calls met the failing primary; back %s after its recovery", flap+1, asked, calls, back.Round(100*time.Millisecond))
		if calls > 12 {
			t.Errorf("%d calls met the failing primary", calls)
		}
	}
}

// With the defaults a slow first token falls over before 15 s have passed.
func TestASlowFirstTokenFallsOverBeforeFifteenSeconds(t *testing.T) {
	heavy(t)
	g := newGateway(t, []string{"default"}, func(doc Document) { delete(doc, "invoke") })
	g.simulate(t, "default-primary", simulate.Behaviour{Faults: map[string]simulate.Fault{"slow": {Share: 1, Latency: simulate.Duration(2 * time.Minute)}}})
	began := time.Now()
	g.send(t, question("default-1", "default", true))
	res, chunks := g.answer(t, "default-1", true, time.Minute)
	g.outcome(t, &res, chunks, "")
	if took := time.Since(began); took > 15*time.Second || story(&res) != "primary first timeout, fallback fallback ok" {
		t.Errorf("%s after %s", story(&res), took)
	}
}

// Several keys of one provider: what one of them is refused rests, and the others
// serve meanwhile.
func TestKeysRestOneByOne(t *testing.T) {
	g := newGateway(t, []string{"keys"}, func(doc Document) {
		providers, _ := doc["providers"].([]Document)
		providers[0]["balance"] = "round_robin"
		providers[0]["endpoints"] = []Document{{"id": "first", "api_key": "good-1"}, {"id": "second", "api_key": "spent"}, {"id": "third", "api_key": "good-2"}}
	})
	if err := call(t.Context(), http.MethodPut, "http://"+g.cfg.Simulator.Listen+"/_sim/instances/keys-primary", []byte(`{"keys":["good-1","good-2"]}`), nil); err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	for i := range 12 {
		id := fmt.Sprintf("keys-%d", i)
		g.send(t, question(id, "keys", i%2 == 0))
		res, chunks := g.answer(t, id, i%2 == 0, 30*time.Second)
		g.outcome(t, &res, chunks, "")
		for _, a := range res.Attempts {
			at[a.Target.Endpoint+" "+string(a.Outcome)]++
		}
	}
	if at["second auth"] != 1 || at["first ok"]+at["third ok"] != 12 || at["first ok"] < 4 || at["third ok"] < 4 {
		t.Errorf("attempts: %v", at)
	}
}

func pauseFor(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}

// until waits for a condition.
func (g *gateway) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); pauseFor(t, 50*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s: it did not happen", what)
		}
	}
}

func (g *gateway) stats(t *testing.T) simulate.Stats {
	t.Helper()
	s, err := SimulatorStats(t.Context(), g.cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A slow call gets a second one beside it; the faster counts, and the other is
// accounted for.
func TestASlowCallIsHedged(t *testing.T) {
	g := newGateway(t, []string{"hedge"}, func(doc Document) {
		doc["invoke"] = Document{"hedge": Document{"after": "200ms", "share": 0.5}}
	})
	for i := range 6 { // what is asked for first is what may be spent
		id := fmt.Sprintf("hedge-before-%d", i)
		g.send(t, question(id, "hedge", false))
		g.answer(t, id, false, 30*time.Second)
	}
	g.simulate(t, "hedge-primary", simulate.Behaviour{Faults: map[string]simulate.Fault{"slow": {Share: 1, Latency: simulate.Duration(time.Minute)}}})
	for _, stream := range []bool{false, true} {
		id := fmt.Sprintf("hedge-%v", stream)
		began := time.Now()
		g.send(t, question(id, "hedge", stream))
		res, chunks := g.answer(t, id, stream, 30*time.Second)
		g.outcome(t, &res, chunks, "")
		if took := time.Since(began); took > 3*time.Second || story(&res) != "primary first cancelled, fallback hedge ok" {
			t.Errorf("%s after %s", story(&res), took)
		}
		if u := res.Attempts[0].Usage; u.InputTokens == 0 || u.Source != schemas.UsageEstimated {
			t.Errorf("the loser's usage is %+v", u)
		}
	}
}

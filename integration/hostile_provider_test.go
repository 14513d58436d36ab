package integration

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// completion writes a chat completion with some members replaced.
func completion(w http.ResponseWriter, replaced map[string]any) {
	body := map[string]any{
		"id": "c1", "object": "chat.completion", "created": 1, "model": "m",
		"choices": []any{map[string]any{"index": 0, "finish_reason": "stop", "message": map[string]any{"role": "assistant", "content": "hello"}}},
		"usage":   map[string]any{"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
	}
	maps.Copy(body, replaced)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

func choice(members map[string]any) map[string]any {
	c := map[string]any{"index": 0, "finish_reason": "stop", "message": map[string]any{"role": "assistant", "content": "hello"}}
	maps.Copy(c, members)
	return map[string]any{"choices": []any{c}}
}

func raw(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(w, body)
	}
}

// endless writes a piece until the other side has had enough.
func endless(contentType, head, piece string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, err := io.WriteString(w, head)
		for block := strings.Repeat(piece, 1+(64<<10)/len(piece)); err == nil && r.Context().Err() == nil; {
			_, err = io.WriteString(w, block)
		}
	}
}

func events(pieces ...string) http.HandlerFunc {
	return raw("text/event-stream", "data: "+strings.Join(pieces, "\n\ndata: ")+"\n\ndata: [DONE]\n\n")
}

const jsonType = "application/json"

// evil are ways to answer a chat completion.
func evil(elsewhere string) map[string]http.HandlerFunc {
	replaced := func(members map[string]any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { completion(w, members) }
	}
	status := func(code int, headers map[string]string, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for k, v := range headers {
				w.Header().Set(k, v)
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body)
		}
	}
	long := strings.Repeat("x", 2<<20)
	return map[string]http.HandlerFunc{
		"tokens-huge":     replaced(map[string]any{"usage": map[string]any{"prompt_tokens": int64(9223372036854775807), "completion_tokens": int64(9223372036854775807)}}),
		"tokens-negative": replaced(map[string]any{"usage": map[string]any{"prompt_tokens": -5, "completion_tokens": -1 << 62}}),
		"tokens-float":    replaced(map[string]any{"usage": map[string]any{"prompt_tokens": 1e300, "completion_tokens": 0.5}}),
		"tokens-text":     replaced(map[string]any{"usage": map[string]any{"prompt_tokens": "many"}}),
		"id-long":         replaced(map[string]any{"id": long, "model": long, "system_fingerprint": long, "service_tier": long}),
		"finish-long":     replaced(choice(map[string]any{"finish_reason": long})),
		"index-huge":      replaced(choice(map[string]any{"index": 2_000_000_000})),
		"index-negative":  replaced(choice(map[string]any{"index": -1})),
		"text-binary":     replaced(choice(map[string]any{"message": map[string]any{"role": "assistant", "content": "\x00\x01\u2028\ufffe"}})),
		"text-20mb":       replaced(choice(map[string]any{"message": map[string]any{"role": "assistant", "content": strings.Repeat("lorem ", 20<<20/6)}})),
		"tools-broken":    replaced(choice(map[string]any{"message": map[string]any{"role": "assistant", "tool_calls": []any{map[string]any{"id": long, "type": "function", "function": map[string]any{"name": long, "arguments": "{{{"}}}}})),
		"choices-many":    raw(jsonType, `{"id":"c","model":"m","choices":[{}`+strings.Repeat(`,{}`, 300_000)+`]}`),
		"deep":            raw(jsonType, `{"choices":`+strings.Repeat(`[`, 2_000_000)),
		"deep-objects":    raw(jsonType, strings.Repeat(`{"choices":[{"message":`, 100_000)),
		"half":            raw(jsonType, `{"id":"c","choices":[{"index":0,"mess`),
		"nothing":         raw(jsonType, ``), "null": raw(jsonType, `null`), "html": raw("text/html", "<html>captive portal</html>"),
		"not-utf8":         raw(jsonType, "{\"id\":\"c\",\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"message\":{\"role\":\"assistant\",\"content\":\"\xff\xfe\xc3\x28\"}}]}"),
		"endless-spaces":   endless(jsonType, `{"id":"c",`, " "),
		"endless-text":     endless(jsonType, `{"id":"`, "x"),
		"endless-line":     endless("text/event-stream", "data: ", "x"),
		"endless-comments": endless("text/event-stream", "", ": still here\n\n"),
		"gzip-bomb": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", jsonType)
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			for block := bytes.Repeat([]byte(" "), 1<<20); ; {
				if _, err := z.Write(block); err != nil {
					return
				}
			}
		},
		"redirect":           status(http.StatusTemporaryRedirect, map[string]string{"Location": elsewhere}, ""),
		"retry-after-eons":   status(429, map[string]string{"Retry-After": "99999999999999999999"}, `{}`),
		"retry-after-nan":    status(503, map[string]string{"Retry-After": "NaN", "Retry-After-Ms": "-1e308"}, `{}`),
		"limits-nonsense":    status(429, map[string]string{"X-Ratelimit-Reset-Requests": "9999999h", "X-Ratelimit-Limit-Requests": "-1", "X-Ratelimit-Remaining-Tokens": "1e400"}, `{}`),
		"error-10mb":         status(400, nil, `{"error":{"message":"`+strings.Repeat("m", 10<<20)+`","type":"`+long+`","code":"`+long+`","param":"`+long+`"}}`),
		"headers-900kb":      status(200, map[string]string{"X-Request-Id": strings.Repeat("r", 900<<10)}, `{}`),
		"status-999":         status(999, nil, "what"),
		"stream-index":       events(`{"id":"c","choices":[{"index":2000000000,"delta":{"content":"x"}}]}`, `{"choices":[{"index":-7,"delta":{"content":"x"},"finish_reason":"stop"}]}`),
		"stream-tool-index":  events(`{"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":2000000000,"function":{"name":"f","arguments":"{"}}]}}]}`, `{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`),
		"stream-big-piece":   events(`{"id":"c","choices":[{"index":0,"delta":{"content":"`+strings.Repeat("y", 3<<20)+`"}}]}`, `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`),
		"stream-of-non-json": events(`<<<`, `null`, `[]`, `7`),
		"not-http": func(w http.ResponseWriter, _ *http.Request) {
			if c, _, err := w.(http.Hijacker).Hijack(); err == nil {
				_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.9\r\n"+strings.Repeat("z", 1<<20))
				_ = c.Close()
			}
		},
	}
}

// Whatever a provider answers, the request has one result and one cost, memory
// stays bounded, nobody else is called, and the next request is answered.
func TestHostileAnswersAreContained(t *testing.T) {
	var strayed atomic.Int64
	internal := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strayed.Add(1) }))
	t.Cleanup(internal.Close)
	ways := evil(internal.URL + "/latest/meta-data/")
	vendor := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ways[strings.Split(r.URL.Path, "/")[1]](w, r)
	}))
	t.Cleanup(vendor.Close)
	g := startGateway(t, []string{hostileModel}, func(doc Document) {
		for name := range ways {
			for _, kind := range []string{"openai", "anthropic"} {
				doc["providers"] = append(doc["providers"].([]Document), Document{"name": kind + "-" + name, "kind": kind, "base_url": vendor.URL + "/" + name, "api_key": "secret-key"})
				doc["models"] = append(doc["models"].([]Document), Document{"name": kind + "-" + name, "targets": []Document{{"provider": kind + "-" + name, "model": "m"}}})
			}
		}
	})
	g.listen()
	h := watchHeap()
	for name := range ways {
		for _, kind := range []string{"openai", "anthropic"} {
			for _, stream := range []bool{false, true} {
				req := question(fmt.Sprintf("%s-%s-%v", kind, name, stream), kind+"-"+name, stream)
				req.Deadline = time.Now().Add(25 * time.Second)
				g.send(t, req)
			}
		}
	}
	for name := range ways {
		for _, kind := range []string{"openai", "anthropic"} {
			for _, stream := range []bool{false, true} {
				id := fmt.Sprintf("%s-%s-%v", kind, name, stream)
				res := g.result(t, id, time.Minute)
				if f := res.Failure; f != nil && (f.Message == "" || len(f.Message)+len(f.VendorCode)+len(f.Param)+len(f.VendorType) > 16<<10 || strings.Contains(f.Message, "secret-key")) {
					t.Errorf("%s: failure %s with %d bytes of message", id, f.Code, len(f.Message))
				}
				if u := usageOf(res); u.InputTokens < 0 || u.OutputTokens < 0 {
					t.Errorf("%s: usage of %d and %d tokens", id, u.InputTokens, u.OutputTokens)
				}
			}
		}
	}
	if n := strayed.Load(); n > 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
	// Twenty bodies without end are read up to 64 MiB each, into buffers that double.
	if grown := h.growth(); grown > 20*2*64 {
		t.Errorf("memory grew by %.0f MiB", grown)
	} else {
		t.Logf("%d answers, memory %.0f MiB above the beginning", 4*len(ways), grown)
	}
	g.send(t, question("after", hostileModel, false))
	res, chunks := g.answer(t, "after", false, 10*time.Second)
	g.outcome(t, &res, chunks, "")
}

func usageOf(res *schemas.Result) schemas.Usage {
	if res.Response == nil {
		return schemas.Usage{}
	}
	return res.Response.Usage
}

// result waits for a result and its cost.
func (g *gateway) result(t *testing.T, id string, limit time.Duration) *schemas.Result {
	t.Helper()
	late := time.NewTimer(limit)
	defer late.Stop()
	for {
		g.mu.Lock()
		res, ok := g.results[id]
		_, paid := g.costs[id]
		news := g.news
		g.mu.Unlock()
		if ok && paid {
			return &res
		}
		select {
		case <-news:
		case <-late.C:
			t.Fatalf("%s: no result in %s (result %v, cost %v)", id, limit, ok, paid)
		}
	}
}

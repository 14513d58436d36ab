package simulate_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"testing"

	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/simulate"
)

// BenchmarkHandler is the cost of a call without net/http:
//
//	go test ./handlers/simulate -run '^$' -bench Handler -benchmem -cpu 1
func BenchmarkHandler(b *testing.B) {
	for _, c := range []struct{ name, path, body string }{
		{"openai", chatPath, chatBody},
		{"openai-stream", chatPath, chatStream},
		{"anthropic", claudePath, claudeBody},
		{"anthropic-stream", claudePath, claudeStream},
	} {
		b.Run(c.name, func(b *testing.B) {
			sim := simulate.New(simulate.Config{}, zap.NewNop())
			body := bytes.NewReader([]byte(c.body))
			r := &http.Request{Method: http.MethodPost, URL: &url.URL{Path: c.path}, ContentLength: int64(len(c.body)), Body: io.NopCloser(body), Header: http.Header{
				"Authorization": {"Bearer any"}, "Anthropic-Version": {"2023-06-01"}, "Idempotency-Key": {""},
			}}
			w := &discard{header: http.Header{}}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				body.Reset([]byte(c.body))
				r.Header["Idempotency-Key"][0] = strconv.Itoa(i)
				clear(w.header)
				w.status = 0
				sim.ServeHTTP(w, r)
				if w.status != http.StatusOK {
					b.Fatal(w.status)
				}
			}
		})
	}
}

type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Flush()                      {}

// BenchmarkLoopback is the cost of a call over a kept connection, client and server together:
//
//	go test ./handlers/simulate -run '^$' -bench Loopback -benchmem -cpu 1
func BenchmarkLoopback(b *testing.B) {
	server := httptest.NewServer(simulate.New(simulate.Config{}, zap.NewNop()))
	defer server.Close()
	client := server.Client()
	b.ReportAllocs()
	for b.Loop() {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, server.URL+chatPath, bytes.NewReader([]byte(chatBody)))
		if err != nil {
			b.Fatal(err)
		}
		req.Header["Authorization"] = []string{"Bearer any"}
		resp, err := client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Fatal(resp.StatusCode, err)
		}
	}
}

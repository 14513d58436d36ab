package ai21

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

func benchAdapter(b *testing.B) (*adapter, provider.Call) {
	b.Helper()
	c := Defaults
	c.APIKey = "key-bench"
	a, err := newAdapter(c)
	if err != nil {
		b.Fatal(err)
	}
	limit, heat := int64(200), 0.7
	return a, provider.Call{Model: "jamba-mini", Request: &schemas.Request{
		ID: "req-1", Tenant: "acme", Model: "small", MaxTokens: &limit, Sampling: &schemas.Sampling{Temperature: &heat},
		Messages: []schemas.Message{
			schemas.TextMessage(schemas.RoleSystem, "You are a helpful assistant. Answer in one sentence."),
			schemas.TextMessage(schemas.RoleUser, strings.Repeat("What is the weather like in Oslo today? ", 10)),
		},
	}}
}

// go test ./handlers/provider/ai21 -run '^$' -bench Encode -benchmem.
func BenchmarkEncode(b *testing.B) {
	a, call := benchAdapter(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Encode(b.Context(), call); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeStream reads 200 chunks.
//
// go test ./handlers/provider/ai21 -run '^$' -bench DecodeStream -benchmem.
func BenchmarkDecodeStream(b *testing.B) {
	a, call := benchAdapter(b)
	call.Request.Stream = true
	stream := strings.Repeat(`data: {"id":"chat-1","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}]}`+"\n\n", 200) +
		`data: {"id":"chat-1","choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}],"usage":{"prompt_tokens":57,"completion_tokens":200}}` + "\n\ndata: [DONE]\n\n"
	body := strings.NewReader(stream)
	res := &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: io.NopCloser(body),
	}
	emit := func(schemas.Chunk) error { return nil }
	b.ReportAllocs()
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		body.Reset(stream)
		if _, err := a.Decode(res, call, emit); err != nil {
			b.Fatal(err)
		}
	}
}

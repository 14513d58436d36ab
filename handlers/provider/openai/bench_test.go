package openai

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

const benchAnswer = `{"id":"chatcmpl-Bx81","object":"chat.completion","created":1790000000,"model":"gpt-5.4-mini-2026-03-17",` +
	`"choices":[{"index":0,"message":{"role":"assistant","content":"Oslo has light rain this afternoon, about 4 degrees, clearing towards the evening.",` +
	`"refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":57,"completion_tokens":21,"total_tokens":78,` +
	`"prompt_tokens_details":{"cached_tokens":32,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,` +
	`"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp_44709d6fcb"}`

func benchCall() provider.Call {
	limit, heat := int64(200), 0.7
	return provider.Call{Model: "gpt-5.4-mini", IdempotencyKey: "req-1", Request: &schemas.Request{
		ID: "req-1", Tenant: "acme", Model: "small", MaxTokens: &limit, Sampling: &schemas.Sampling{Temperature: &heat},
		Messages: []schemas.Message{
			schemas.TextMessage(schemas.RoleSystem, "You are a helpful assistant. Answer in one sentence."),
			schemas.TextMessage(schemas.RoleUser, strings.Repeat("What is the weather like in Oslo today? ", 10)),
		},
	}}
}

func benchAdapter(b *testing.B) *adapter {
	b.Helper()
	c := Defaults
	c.APIKey = "sk-bench"
	a, err := newAdapter(c)
	if err != nil {
		b.Fatal(err)
	}
	return a
}

// go test ./handlers/provider/openai -run '^$' -bench Encode -benchmem.
func BenchmarkEncode(b *testing.B) {
	a, call := benchAdapter(b), benchCall()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Encode(b.Context(), call); err != nil {
			b.Fatal(err)
		}
	}
}

// go test ./handlers/provider/openai -run '^$' -bench Decode -benchmem.
func BenchmarkDecode(b *testing.B) {
	a, call := benchAdapter(b), benchCall()
	body := bytes.NewReader([]byte(benchAnswer))
	res := &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}},
		ContentLength: int64(len(benchAnswer)), Body: io.NopCloser(body),
	}
	b.ReportAllocs()
	for b.Loop() {
		body.Reset([]byte(benchAnswer))
		if _, err := a.Decode(res, call, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecodeStream reads 100 chunks; a chunk takes a hundredth of it.
//
// go test ./handlers/provider/openai -run '^$' -bench DecodeStream -benchmem.
func BenchmarkDecodeStream(b *testing.B) {
	a, call := benchAdapter(b), benchCall()
	call.Request.Stream = true
	const head = `data: {"id":"chatcmpl-Bx81","object":"chat.completion.chunk","created":1790000000,"model":"gpt-5.4-mini","service_tier":"default","choices":[{"index":0,"delta":`
	stream := strings.Repeat(head+`{"content":" word"},"logprobs":null,"finish_reason":null}],"usage":null}`+"\n\n", 99) +
		head + `{},"logprobs":null,"finish_reason":"stop"}],"usage":null}` + "\n\ndata: [DONE]\n\n"
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

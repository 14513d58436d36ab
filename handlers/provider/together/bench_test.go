package together

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
	return a, provider.Call{Model: "meta-llama/Llama-3.3-70B-Instruct-Turbo", Request: &schemas.Request{
		ID: "req-1", Tenant: "acme", Model: "small", MaxTokens: &limit, Sampling: &schemas.Sampling{Temperature: &heat},
		Messages: []schemas.Message{
			schemas.TextMessage(schemas.RoleSystem, "You are a helpful assistant. Answer in one sentence."),
			schemas.TextMessage(schemas.RoleUser, strings.Repeat("What is the weather like in Oslo today? ", 10)),
		},
	}}
}

// go test ./handlers/provider/together -run '^$' -bench Encode -benchmem.
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
// go test ./handlers/provider/together -run '^$' -bench DecodeStream -benchmem.
func BenchmarkDecodeStream(b *testing.B) {
	a, call := benchAdapter(b)
	call.Request.Stream = true
	const head = `data: {"id":"oNvRdk6","object":"chat.completion.chunk","created":1790000000,"model":"m","choices":[{"index":0,"text":" word","logprobs":null,`
	stream := strings.Repeat(head+`"finish_reason":null,"seed":null,"delta":{"token_id":11,"role":"assistant","content":" word","tool_calls":null}}],"usage":null}`+"\n\n", 200) +
		head + `"finish_reason":"stop","delta":{"role":"assistant","content":""}}],"usage":{"prompt_tokens":57,"completion_tokens":200,"cached_tokens":0}}` + "\n\ndata: [DONE]\n\n"
	body := strings.NewReader(stream)
	res := &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream;charset=utf-8"}}, Body: io.NopCloser(body),
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

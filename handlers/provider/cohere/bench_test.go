package cohere

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

const benchAnswer = `{"id":"c14c80c3-18eb-4519-9460-6c92edd8cfb4","message":{"role":"assistant","content":[{"type":"text",` +
	`"text":"Oslo has light rain this afternoon, about 4 degrees, clearing towards the evening."}]},"finish_reason":"COMPLETE",` +
	`"usage":{"billed_units":{"input_tokens":57,"output_tokens":21},"tokens":{"input_tokens":803,"output_tokens":25},"cached_tokens":256}}`

func benchCall() provider.Call {
	limit, heat := int64(200), 0.7
	return provider.Call{Model: "command-a-03-2025", Request: &schemas.Request{
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
	c.APIKey = "key-bench"
	a, err := newAdapter(c)
	if err != nil {
		b.Fatal(err)
	}
	return a
}

// go test ./handlers/provider/cohere -run '^$' -bench Encode -benchmem.
func BenchmarkEncode(b *testing.B) {
	a, call := benchAdapter(b), benchCall()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Encode(b.Context(), call); err != nil {
			b.Fatal(err)
		}
	}
}

// go test ./handlers/provider/cohere -run '^$' -bench 'Decode$' -benchmem.
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

// BenchmarkDecodeStream reads 200 chunks.
//
// go test ./handlers/provider/cohere -run '^$' -bench DecodeStream -benchmem.
func BenchmarkDecodeStream(b *testing.B) {
	a, call := benchAdapter(b), benchCall()
	call.Request.Stream = true
	stream := "event: message-start\n" +
		`data: {"id":"c14c80c3","type":"message-start","delta":{"message":{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}` + "\n\n" +
		strings.Repeat("event: content-delta\n"+`data: {"type":"content-delta","index":0,"delta":{"message":{"content":{"text":" word"}}}}`+"\n\n", 200) +
		"event: message-end\n" +
		`data: {"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":57,"output_tokens":200},"tokens":{"input_tokens":803,"output_tokens":204}}}}` + "\n\ndata: [DONE]\n\n"
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

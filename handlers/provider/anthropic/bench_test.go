package anthropic

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

const benchAnswer = `{"id":"msg_01Bx81","type":"message","role":"assistant","model":"claude-haiku-4-5-20251001",` +
	`"content":[{"type":"text","text":"Oslo has light rain this afternoon, about 4 degrees, clearing towards the evening."}],` +
	`"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":57,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,` +
	`"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":21,"service_tier":"standard"}}`

func benchCall() provider.Call {
	limit, heat := int64(200), 0.7
	return provider.Call{Model: "claude-haiku-4-5", IdempotencyKey: "req-1", Request: &schemas.Request{
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

// go test ./handlers/provider/anthropic -run '^$' -bench Encode -benchmem.
func BenchmarkEncode(b *testing.B) {
	a, call := benchAdapter(b), benchCall()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Encode(b.Context(), call); err != nil {
			b.Fatal(err)
		}
	}
}

// go test ./handlers/provider/anthropic -run '^$' -bench Decode -benchmem.
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

// benchStream is 200 pieces of text as the vendor sends them.
func benchStream() string {
	var s strings.Builder
	s.WriteString("event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_01Bx81\",\"type\":\"message\",\"role\":\"assistant\"," +
		"\"model\":\"claude-haiku-4-5-20251001\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":57,\"output_tokens\":1}}}\n\n" +
		"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n" +
		"event: ping\ndata: {\"type\": \"ping\"}\n\n")
	for i := range 200 {
		fmt.Fprintf(&s, "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\" word %d\"}    }\n\n", i)
	}
	s.WriteString("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n" +
		"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":400}}\n\n" +
		"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
	return s.String()
}

// BenchmarkDecodeStream reads 200 pieces; BenchmarkReadStream is the part of it
// that only finds the events.
//
// go test ./handlers/provider/anthropic -run '^$' -bench Stream -benchmem.
func BenchmarkDecodeStream(b *testing.B) {
	a, call := benchAdapter(b), benchCall()
	call.Request.Stream = true
	stream := benchStream()
	body := strings.NewReader(stream)
	res := &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}}, Body: io.NopCloser(body),
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

func BenchmarkReadStream(b *testing.B) {
	stream := benchStream()
	b.ReportAllocs()
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		events := wire.NewEventReader(strings.NewReader(stream), 0)
		for {
			if _, err := events.Next(); err != nil {
				break
			}
		}
	}
}

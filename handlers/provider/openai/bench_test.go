package openai

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
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

func benchAdapter(b *testing.B) *Adapter {
	b.Helper()
	c := Defaults
	c.APIKey = "sk-bench"
	a, err := NewAdapter(c, Variant{Name: kind})
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

// chunked is a stream of 200 chunks of chat completions.
func chunked(obfuscated bool) string {
	const head = `data: {"id":"chatcmpl-Bx81","object":"chat.completion.chunk","created":1790000000,"model":"gpt-5.4-mini","service_tier":"default","choices":[{"index":0,"delta":`
	var b strings.Builder
	for i := range 199 {
		b.WriteString(head + `{"content":" word` + strconv.Itoa(i) + `"},"logprobs":null,"finish_reason":null}],"usage":null`)
		if obfuscated {
			b.WriteString(`,"obfuscation":"` + strings.Repeat("x", i%7) + `"`)
		}
		b.WriteString("}\n\n")
	}
	return b.String() + head + `{},"logprobs":null,"finish_reason":"stop"}],"usage":null}` + "\n\ndata: [DONE]\n\n"
}

// conversed is a stream of 200 events of the responses API.
func conversed() string {
	var b strings.Builder
	b.WriteString(`data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","model":"gpt-5.4","status":"in_progress","output":[]}}` + "\n\n")
	for i := range 198 {
		n := strconv.Itoa(i)
		b.WriteString("event: response.output_text.delta\n" +
			`data: {"type":"response.output_text.delta","sequence_number":` + n + `,"item_id":"msg_67ccd2bf17f0819081ff3bb2cf6508e6","output_index":0,"content_index":0,"delta":" word` + n +
			`","logprobs":[],"obfuscation":"` + strings.Repeat("x", i%7) + `"}` + "\n\n")
	}
	b.WriteString(`data: {"type":"response.completed","response":{"id":"resp_1","model":"gpt-5.4","status":"completed","output":[],"usage":{"input_tokens":5,"output_tokens":198}}}` + "\n\n")
	return b.String()
}

// BenchmarkDecodeStream reads 200 chunks. Reading alone, to the events, is
// BenchmarkEvents; the difference is what an answer costs. The least of 40 runs
// on two cores with other work (Go 1.26.8): 54, 56 and 63 us, of which 11, 11 and
// 16 are reading.
//
// go test ./handlers/provider/openai -run '^$' -bench 'Stream|Events' -benchtime 300x -count 40 -benchmem.
func BenchmarkDecodeStream(b *testing.B) {
	b.Run("plain", func(b *testing.B) { benchStream(b, apiChat, chunked(false)) })
	b.Run("obfuscated", func(b *testing.B) { benchStream(b, apiChat, chunked(true)) })
	b.Run("responses", func(b *testing.B) { benchStream(b, apiResponses, conversed()) })
}

func benchStream(b *testing.B, api, stream string) {
	b.Helper()
	a, call := benchAdapter(b), benchCall()
	a.config.API = api
	call.Request.Stream = true
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

// BenchmarkEvents reads the streams of BenchmarkDecodeStream to their events.
func BenchmarkEvents(b *testing.B) {
	for name, stream := range map[string]string{"plain": chunked(false), "obfuscated": chunked(true), "responses": conversed()} {
		b.Run(name, func(b *testing.B) {
			body := strings.NewReader(stream)
			for b.Loop() {
				body.Reset(stream)
				events := wire.NewEventReader(body, 0)
				for err := error(nil); err == nil; {
					_, err = events.Next()
				}
			}
		})
	}
}

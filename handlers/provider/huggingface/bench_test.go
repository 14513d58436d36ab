package huggingface_test

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/schemas"
)

func benchCall(op schemas.Operation, stream bool) provider.Call {
	limit, heat := int64(200), 0.7
	return provider.Call{Model: "meta-llama/Llama-3.3-70B-Instruct", IdempotencyKey: "req-1", Request: &schemas.Request{
		ID: "req-1", Tenant: "acme", Model: "small", Op: op, Stream: stream, MaxTokens: &limit, Sampling: &schemas.Sampling{Temperature: &heat},
		Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, strings.Repeat("What is the weather like in Oslo today? ", 10))},
	}}
}

// go test ./handlers/provider/huggingface -run '^$' -bench Encode -benchmem.
func BenchmarkEncode(b *testing.B) {
	for name, server := range map[string]string{"router": "router", "tgi": "tgi"} {
		op := schemas.OpChat
		if server == "tgi" {
			op = schemas.OpComplete
		}
		a, call := newAdapter(b, server), benchCall(op, false)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Encode(b.Context(), call); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkDecode reads an answer of each form; the streams have 200 events.
//
// go test ./handlers/provider/huggingface -run '^$' -bench Decode -benchmem.
func BenchmarkDecode(b *testing.B) {
	whole, err := os.ReadFile("testdata/contract/answer.json")
	if err != nil {
		b.Fatal(err)
	}
	const head = `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"m","choices":[{"index":0,"delta":`
	chunks := strings.Repeat(head+`{"content":" word"},"finish_reason":null}],"usage":null}`+"\n\n", 199) +
		head + `{},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":199}}` + "\n\ndata: [DONE]\n\n"
	tokens := strings.Repeat(`data:{"index":1,"token":{"id":1128,"text":" word","logprob":-5.6796875,"special":false},"generated_text":null,"details":null}`+"\n\n", 199) +
		`data:{"index":200,"token":{"id":2,"text":"</s>","logprob":-0.1,"special":true},"generated_text":"word","details":{"finish_reason":"eos_token","generated_tokens":200,"input_length":5}}` + "\n\n"
	vector := "[" + strings.Repeat("-0.46843403577804565,", 1023) + "0.5]"
	for _, bb := range []struct {
		name, server, contentType, body string
		call                            provider.Call
	}{
		{"chat", "router", "application/json", strings.ReplaceAll(string(whole), "{{key}}", providertest.Key), benchCall(schemas.OpChat, false)},
		{"chat stream", "router", "text/event-stream", chunks, benchCall(schemas.OpChat, true)},
		{"tgi stream", "tgi", "text/event-stream", tokens, benchCall(schemas.OpComplete, true)},
		{"embedding of 1024", "router", "application/json", vector, embedCall()},
	} {
		b.Run(bb.name, func(b *testing.B) {
			a, body := newAdapter(b, bb.server), strings.NewReader(bb.body)
			res := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {bb.contentType}}, Body: io.NopCloser(body), ContentLength: -1}
			emit := func(schemas.Chunk) error { return nil }
			b.ReportAllocs()
			b.SetBytes(int64(len(bb.body)))
			for b.Loop() {
				body.Reset(bb.body)
				if _, err := a.Decode(res, bb.call, emit); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

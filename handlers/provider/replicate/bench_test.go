package replicate_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sira-ai/sira/schemas"
)

// go test ./handlers/provider/replicate -run '^$' -bench Encode -benchmem.
func BenchmarkEncode(b *testing.B) {
	a, call := newAdapter(b, nil), chat(false)
	limit, heat := int64(200), 0.7
	call.Request.MaxTokens, call.Request.Sampling = &limit, &schemas.Sampling{Temperature: &heat}
	call.Request.Messages = []schemas.Message{
		schemas.TextMessage(schemas.RoleSystem, "You are a helpful assistant. Answer in one sentence."),
		schemas.TextMessage(schemas.RoleUser, strings.Repeat("What is the weather like in Oslo today? ", 10)),
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Encode(b.Context(), call); err != nil {
			b.Fatal(err)
		}
	}
}

// go test ./handlers/provider/replicate -run '^$' -bench 'Decode$' -benchmem.
func BenchmarkDecode(b *testing.B) {
	body := prediction("succeeded", `,"input":{"prompt":"What is the weather like in Oslo today?"},"logs":"","error":null,`+
		`"output":["Oslo"," has"," light"," rain"," this"," afternoon",","," about"," 4"," degrees","."],`+
		`"metrics":{"predict_time":0.81,"total_time":0.83,"input_token_count":57,"output_token_count":21}`)
	benchDecode(b, "application/json", body, false)
}

// BenchmarkDecodeStream reads 200 events; an event takes a two-hundredth of it.
//
// go test ./handlers/provider/replicate -run '^$' -bench DecodeStream -benchmem.
func BenchmarkDecodeStream(b *testing.B) {
	stream := strings.Repeat("event: output\nid: 1790000000:1\ndata:  word\n\n", 199) + "event: done\nid: 1790000000:2\ndata: {}\n\n"
	benchDecode(b, eventsType, stream, true)
}

func benchDecode(b *testing.B, contentType, content string, stream bool) {
	b.Helper()
	a, call := newAdapter(b, nil), chat(stream)
	body := strings.NewReader(content)
	res := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(body), ContentLength: -1}
	emit := func(schemas.Chunk) error { return nil }
	b.ReportAllocs()
	b.SetBytes(int64(len(content)))
	for b.Loop() {
		body.Reset(content)
		if _, err := a.Decode(res, call, emit); err != nil {
			b.Fatal(err)
		}
	}
}

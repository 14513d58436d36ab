package azure

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

// BenchmarkEncodeDecode makes a call and reads its stream of 200 chunks, each with
// what the filter says.
//
// go test ./handlers/provider/azure -run '^$' -bench . -benchtime 300x -count 40 -benchmem.
func BenchmarkEncodeDecode(b *testing.B) {
	c := Defaults
	c.BaseURL, c.APIKey = "https://r.openai.azure.com", "key"
	a, err := newAdapter(c)
	if err != nil {
		b.Fatal(err)
	}
	const filter = `{"hate":{"filtered":false,"severity":"safe"},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}`
	const tail = `,"created":1790000000,"id":"chatcmpl-1","model":"gpt-5","object":"chat.completion.chunk","system_fingerprint":"fp","usage":null}` + "\n\n"
	var all strings.Builder
	for i := range 199 {
		all.WriteString(`data: {"choices":[{"content_filter_results":` + filter + `,"delta":{"content":" word` + strconv.Itoa(i) + `"},"finish_reason":null,"index":0,"logprobs":null}]` + tail)
	}
	stream := all.String() + `data: {"choices":[{"content_filter_results":{},"delta":{},"finish_reason":"stop","index":0,"logprobs":null}]` + tail + "data: [DONE]\n\n"
	body := strings.NewReader(stream)
	res := &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: io.NopCloser(body)}
	call := provider.Call{Model: "d", Request: &schemas.Request{Stream: true, Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "x")}}}
	b.ReportAllocs()
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		if _, err := a.Encode(b.Context(), call); err != nil {
			b.Fatal(err)
		}
		body.Reset(stream)
		if _, err := a.Decode(res, call, func(schemas.Chunk) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

package gemini

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

const benchAnswer = `{"candidates":[{"content":{"parts":[{"text":"Oslo has light rain this afternoon, about 4 degrees, clearing towards the evening."}],"role":"model"},` +
	`"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":57,"candidatesTokenCount":21,"totalTokenCount":78,` +
	`"promptTokensDetails":[{"modality":"TEXT","tokenCount":57}],"serviceTier":"standard"},"modelVersion":"gemini-2.5-flash","responseId":"c2SjaMqBCeCb"}`

func benchCall() provider.Call {
	limit, heat := int64(200), 0.7
	return provider.Call{Model: "gemini-2.5-flash", IdempotencyKey: "req-1", Request: &schemas.Request{
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

// go test ./handlers/provider/gemini -run '^$' -bench Encode -benchmem.
func BenchmarkEncode(b *testing.B) {
	a, call := benchAdapter(b), benchCall()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Encode(b.Context(), call); err != nil {
			b.Fatal(err)
		}
	}
}

// go test ./handlers/provider/gemini -run '^$' -bench Decode -benchmem.
func BenchmarkDecode(b *testing.B) {
	a, call := benchAdapter(b), benchCall()
	body := bytes.NewReader([]byte(benchAnswer))
	res := &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"application/json; charset=UTF-8"}},
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

// benchStream is 200 chunks as AI Studio sends them: each with the usage so far.
func benchStream() string {
	var s strings.Builder
	for i := range 200 {
		text, finish := " word "+strconv.Itoa(i), ""
		if i == 199 {
			finish = `"finishReason":"STOP",`
		}
		fmt.Fprintf(&s, `data: {"candidates":[{"content":{"parts":[{"text":%q}],"role":"model"},%s"index":0}],`+
			`"usageMetadata":{"promptTokenCount":57,"candidatesTokenCount":%d,"totalTokenCount":%d,`+
			`"promptTokensDetails":[{"modality":"TEXT","tokenCount":57}]},"modelVersion":"gemini-2.5-flash","responseId":"c2SjaMqBCeCb"}`+"\r\n\r\n",
			text, finish, 2*i, 57+2*i)
	}
	return s.String()
}

// BenchmarkDecodeStream reads 200 chunks; BenchmarkReadStream is the part of it
// that only finds the events.
//
// go test ./handlers/provider/gemini -run '^$' -bench Stream -benchmem.
func BenchmarkDecodeStream(b *testing.B) {
	a, call := benchAdapter(b), benchCall()
	call.Request.Stream = true
	stream := benchStream()
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

package together_test

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

func seed(f *testing.F, names ...string) {
	f.Helper()
	for _, name := range names {
		b, err := os.ReadFile("testdata/contract/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
}

func FuzzAnswer(f *testing.F) {
	seed(f, "answer.json", "error_auth.json")
	f.Add(`{"choices":[{"message":{"content":"<think>a</think>b"},"finish_reason":"eos"}],"usage":{"cached_tokens":4}}`)
	f.Fuzz(func(t *testing.T, body string) {
		providertest.Fuzz(t, newProvider, 200, "application/json", body, false)
		providertest.Fuzz(t, newProvider, 403, "application/json", body, false)
	})
}

func FuzzStream(f *testing.F) {
	seed(f, "answer.sse", "error.sse")
	f.Add("data: {\"choices\":[{\"delta\":{\"content\":\"<think>a</th\"}}]}\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n")
	f.Fuzz(func(t *testing.T, body string) {
		providertest.Fuzz(t, newProvider, 200, "text/event-stream", body, true)
	})
}

// always is a transport that answers everything in the same way.
type always struct{ typ, body string }

// RoundTrip implements [http.RoundTripper].
func (a always) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {a.typ}}, Request: req, ContentLength: -1,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: io.NopCloser(strings.NewReader(a.body)),
	}, nil
}

// FuzzOthers reads the answers in Together's own forms.
func FuzzOthers(f *testing.F) {
	f.Add(`{"id":"a","results":[{"index":-1,"relevance_score":"x"}],"usage":{"prompt_tokens":1e99}}`)
	f.Add(`{"id":"a","status":"completed","seconds":"1e999999","outputs":{"video_url":"u"}}`)
	f.Add("data: {\"b64\":\"AAE=\"}\n\ndata: [DONE]\n\n")
	f.Fuzz(func(t *testing.T, body string) {
		for _, req := range []schemas.Request{
			{Op: schemas.OpRerank, Rerank: &schemas.RerankSpec{Query: "q", Documents: []schemas.Document{{Text: "a"}}, ReturnDocuments: true}},
			{Op: schemas.OpVideo, Video: &schemas.VideoSpec{Prompt: "a"}},
			{Op: schemas.OpSpeech, Stream: true, Speech: &schemas.SpeechSpec{Text: "a"}},
			{Op: schemas.OpImage, Image: &schemas.ImageSpec{Prompt: "a"}},
			{Op: schemas.OpModels},
		} {
			for _, typ := range []string{"application/json", "text/event-stream"} {
				p := newProvider(t, "http://vendor.test", &http.Client{Transport: always{typ, body}})
				res, err := p.Infer(t.Context(), provider.Call{Request: &req, Model: "m"}, func(schemas.Chunk) error { return nil })
				switch {
				case err == nil && (res == nil || res.Usage.Source == "" || res.Usage.InputTokens < 0):
					t.Errorf("%s: answer %+v lacks usage", req.Op, res)
				case err != nil && !schemas.AsFailure(err).Code.Known():
					t.Errorf("%s: failure %+v", req.Op, err)
				}
			}
		}
	})
}

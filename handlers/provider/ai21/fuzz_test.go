package ai21_test

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

func FuzzAnswer(f *testing.F) {
	for _, name := range []string{"answer.json", "error_auth.json"} {
		b, err := os.ReadFile("testdata/contract/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Add(`{"id":1,"prompt":{"tokens":[1]},"completions":[{"data":{"text":"a","tokens":[{"generatedToken":{"token":"a","logprob":-1}}]},"finishReason":{"reason":"stop","sequence":"b"}}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		providertest.Fuzz(t, newProvider, 200, "application/json", body, false)
		providertest.Fuzz(t, newProvider, 422, "application/json", body, false)
		least := int64(0)
		req := &schemas.Request{
			Op: schemas.OpComplete, Stream: true, Sampling: &schemas.Sampling{LogProbs: &least},
			Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "a")},
		}
		p := newProvider(t, "http://vendor.test", &http.Client{Transport: always(body)})
		res, err := p.Infer(t.Context(), provider.Call{Request: req, Model: "j2-mid"}, func(schemas.Chunk) error { return nil })
		switch {
		case err == nil && (res == nil || len(res.Choices) == 0 || res.Usage.Source == ""):
			t.Errorf("answer %+v lacks choices or usage", res)
		case err != nil && !schemas.AsFailure(err).Code.Known():
			t.Errorf("failure %+v", err)
		}
	})
}

func FuzzStream(f *testing.F) {
	for _, name := range []string{"answer.sse", "error.sse"} {
		b, err := os.ReadFile("testdata/contract/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, body string) {
		providertest.Fuzz(t, newProvider, 200, "text/event-stream", body, true)
	})
}

// always is a transport that answers everything with the same JSON.
type always string

// RoundTrip implements [http.RoundTripper].
func (a always) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Request: req, ContentLength: -1,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: io.NopCloser(strings.NewReader(string(a))),
	}, nil
}

package huggingface_test

import (
	"os"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/schemas"
)

// go test ./handlers/provider/huggingface -run '^$' -fuzz FuzzDecode -fuzztime 30s.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"contract/answer.json", "contract/answer.sse", "contract/error.sse", "tgi/answer.json", "tgi/answer.sse", "tgi/error.sse"} {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(200, false, string(b))
		f.Add(200, true, string(b))
	}
	f.Fuzz(func(t *testing.T, status int, stream bool, body string) {
		if status < 200 || status > 599 {
			return
		}
		contentType := "application/json"
		if stream {
			contentType = "text/event-stream"
		}
		providertest.Fuzz(t, serving("router"), status, contentType, body, stream)
		providertest.Fuzz(t, newCompleting, status, contentType, body, stream)
	})
}

// go test ./handlers/provider/huggingface -run '^$' -fuzz FuzzResults -fuzztime 30s.
func FuzzResults(f *testing.F) {
	for _, body := range []string{
		`[[[0.5,1],[2,3]]]`, `[0.5]`, `[{"index":1,"score":0.9},{"index":0,"score":0.1}]`, `{"text":"a","chunks":[{"timestamp":[0,null]}]}`,
		`{"data":[{"id":"a","created":1,"providers":[{"context_length":5}]}]}`, `{"error":["x"]}`, `[{"image":"iVBORw0KGgo="}]`,
	} {
		f.Add(body)
	}
	a := newAdapter(f, "router")
	f.Fuzz(func(t *testing.T, body string) {
		for _, req := range []*schemas.Request{
			embedCall().Request, rankCall().Request,
			{Op: schemas.OpModels},
			{Op: schemas.OpTranscribe, Transcribe: &schemas.TranscribeSpec{}},
			{Op: schemas.OpImage, Image: &schemas.ImageSpec{}},
			{Op: schemas.OpSpeech, Speech: &schemas.SpeechSpec{}},
		} {
			for _, contentType := range []string{"application/json", "", "audio/flac"} {
				res, err := reply{status: 200, kind: contentType, body: body}.decode(a, provider.Call{Request: req, Model: "m"}, nil)
				if (res == nil) == (err == nil) {
					t.Errorf("%s: %+v, %v", req.Op, res, err)
				}
			}
		}
	})
}

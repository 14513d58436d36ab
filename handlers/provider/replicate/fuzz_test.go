package replicate_test

import (
	"context"
	"net/http"
	"os"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/schemas"
)

// answering is a provider that takes a job for a failure: what is fuzzed are
// answers.
type answering struct{ provider.Provider }

// Infer implements [provider.Provider].
func (p answering) Infer(ctx context.Context, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	res, err := p.Provider.Infer(ctx, call, emit)
	if err == nil && res.Job != nil && !res.Job.State.Done() {
		return nil, &schemas.Failure{Code: schemas.Timeout, Phase: schemas.PhaseBody}
	}
	return res, err
}

// go test ./handlers/provider/replicate -run '^$' -fuzz FuzzDecode -fuzztime 30s.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"answer.json", "answer.sse", "error.sse", "error_rate_limited.json"} {
		b, err := os.ReadFile("testdata/contract/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(200, name == "answer.sse" || name == "error.sse", string(b))
	}
	f.Add(201, true, prediction("starting", `,"urls":{"stream":"https://stream.replicate.com/x"}`))
	f.Add(200, false, prediction("failed", `,"error":"flagged","metrics":{"predict_time":1e9,"input_token_count":"7"}`))
	f.Fuzz(func(t *testing.T, status int, stream bool, body string) {
		if status < 200 || status > 599 {
			return
		}
		contentType := jsonType
		if stream {
			contentType = eventsType
		}
		providertest.Fuzz(t, func(t testing.TB, baseURL string, client *http.Client) provider.Provider {
			t.Helper()
			return answering{newToolless(t, baseURL, client)}
		}, status, contentType, body, stream)
	})
}

// go test ./handlers/provider/replicate -run '^$' -fuzz FuzzOutputs -fuzztime 30s.
func FuzzOutputs(f *testing.F) {
	f.Add(`["https://replicate.delivery/a.png",{"b":"data:image/png;base64,AAAA"}]`)
	f.Add(`[[0.5,1],[2,3]]`)
	f.Add(`{"text":"a","segments":[{"start":0,"end":1,"text":"a"}],"chunks":[{"timestamp":[0,null]}]}`)
	a := newAdapter(f, nil)
	f.Fuzz(func(t *testing.T, output string) {
		for _, req := range []*schemas.Request{
			{Op: schemas.OpImage, Image: &schemas.ImageSpec{Prompt: "x"}},
			{Op: schemas.OpEmbed, Embed: &schemas.EmbedSpec{Inputs: make([]schemas.Part, 1)}},
			{Op: schemas.OpTranscribe, Transcribe: &schemas.TranscribeSpec{}},
			{Op: schemas.OpModels},
			{Op: schemas.OpFileList},
		} {
			for _, body := range []string{output, prediction("succeeded", `,"output":`+output)} {
				res, err := reply{status: 200, kind: jsonType, body: body}.decode(a, provider.Call{Request: req, Model: "a/b"}, nil)
				if (res == nil) == (err == nil) {
					t.Errorf("%s: %+v, %v", req.Op, res, err)
				}
			}
		}
	})
}

package cohere_test

import (
	"net/http"
	"os"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/schemas"
)

func seed(f *testing.F, names ...string) {
	f.Helper()
	for _, name := range names {
		b, err := os.ReadFile("testdata/" + name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
}

func FuzzAnswer(f *testing.F) {
	seed(f, "contract/answer.json", "contract1/answer.json", "contract/error_auth.json")
	f.Add(`{"message":{"content":[{"thinking":"a"},{"text":"b"}],"citations":[{"start":1}]},"logprobs":[{"text":"b","logprobs":[-1]}],"finish_reason":"ERROR"}`)
	f.Add(`{"generations":[{"index":3,"text":"a"},{"index":3,"text":"b"}]}`)
	f.Fuzz(func(t *testing.T, body string) {
		for _, api := range []string{"v1", "v2"} {
			providertest.Fuzz(t, version(api), 200, "application/json", body, false)
			providertest.Fuzz(t, version(api), 400, "application/json", body, false)
		}
	})
}

func FuzzStream(f *testing.F) {
	seed(f, "contract/answer.sse", "contract/error.sse", "contract1/answer.sse")
	f.Add("{\"event_type\":\"text-generation\",\"index\":2,\"text\":\"a\"}\n{\"event_type\":\"stream-end\",\"finish_reason\":\"COMPLETE\"}\n")
	f.Add("data: {\"type\":\"tool-call-delta\",\"index\":1,\"delta\":{\"message\":{\"tool_calls\":{\"function\":{\"arguments\":\"{\"}}}}}\n\n")
	f.Fuzz(func(t *testing.T, body string) {
		providertest.Fuzz(t, version("v2"), 200, "text/event-stream", body, true)
		providertest.Fuzz(t, version("v1"), 200, "text/event-stream", body, true)
		providertest.Fuzz(t, version("v1"), 200, "application/stream+json", body, true)
	})
}

// FuzzOthers reads the answers that never come in pieces.
func FuzzOthers(f *testing.F) {
	f.Add(`{"embeddings":{"float":[[1]],"int8":[[-1]],"base64":["AACAPw=="]},"meta":{"billed_units":{"images":1e9999}}}`)
	f.Add(`{"results":[{"index":-1}],"models":[{"name":"a"}],"tokens":[1],"text":"b"}`)
	f.Fuzz(func(t *testing.T, body string) {
		for _, req := range []schemas.Request{
			{Op: schemas.OpEmbed, Embed: &schemas.EmbedSpec{Inputs: []schemas.Part{{Kind: schemas.PartText, Text: "a"}}}},
			{Op: schemas.OpRerank, Rerank: &schemas.RerankSpec{Query: "q", Documents: []schemas.Document{{Text: "a"}}, ReturnDocuments: true}},
			{Op: schemas.OpCountTokens, Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "a")}},
			{Op: schemas.OpModels},
			{Op: schemas.OpTranscribe, Transcribe: &schemas.TranscribeSpec{Audio: schemas.Media{Data: []byte("a")}, Language: "en"}},
		} {
			p := version("v2")(t, "http://vendor.test", &http.Client{Transport: always(body)})
			res, err := p.Infer(t.Context(), provider.Call{Request: &req, Model: "m"}, nil)
			switch {
			case err == nil && (res == nil || res.Usage.Source == "" || res.Usage.InputTokens < 0):
				t.Errorf("%s: answer %+v lacks usage", req.Op, res)
			case err != nil && !schemas.AsFailure(err).Code.Known():
				t.Errorf("%s: failure %+v", req.Op, err)
			}
		}
	})
}

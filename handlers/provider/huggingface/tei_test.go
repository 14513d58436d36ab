package huggingface_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/huggingface"
	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/schemas"
)

func newAdapter(t testing.TB, server string) *huggingface.Adapter {
	t.Helper()
	c := huggingface.Defaults
	c.APIKey, c.Server, c.BillTo = providertest.Key, server, "acme"
	if server != "router" {
		c.BaseURL, c.ScaleUpSeconds = "https://x.eu-west-1.aws.endpoints.huggingface.cloud", 60
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	a, err := huggingface.NewAdapter(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// reply is the vendor's answer to a request.
type reply struct {
	status     int
	kind, body string
	headers    map[string]string
}

// decode has the adapter read the reply.
func (r reply) decode(a provider.Adapter, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	res := &http.Response{
		StatusCode: r.status, Header: http.Header{"Content-Type": {r.kind}}, ContentLength: -1,
		Body: io.NopCloser(strings.NewReader(r.body)),
	}
	for k, v := range r.headers {
		res.Header.Set(k, v)
	}
	return a.Decode(res, call, emit)
}

func embedCall() provider.Call {
	size := int64(2)
	return provider.Call{Model: "m", Request: &schemas.Request{Op: schemas.OpEmbed, Embed: &schemas.EmbedSpec{
		Inputs: []schemas.Part{{Kind: schemas.PartText, Text: "a"}}, Truncate: "end", Dimensions: &size,
	}}}
}

func rankCall() provider.Call {
	one := int64(1)
	return provider.Call{Model: "m", Request: &schemas.Request{Op: schemas.OpRerank, Rerank: &schemas.RerankSpec{
		Query: "q", Documents: []schemas.Document{{Text: "a"}, {Text: "b"}}, TopN: &one, ReturnDocuments: true,
	}}}
}

func TestTEIEmbedsAndRanks(t *testing.T) {
	t.Parallel()
	a := newAdapter(t, "tei")
	for _, tt := range []struct {
		call             provider.Call
		path, sent, body string
		want             schemas.Response
	}{
		{
			embedCall(), "/embed", `{"inputs":["a"],"truncate":true,"truncation_direction":"Right","dimensions":2}`, `[[0.5,1]]`,
			schemas.Response{Embeddings: []schemas.Embedding{{Vector: []float32{0.5, 1}}}},
		},
		{
			rankCall(), "/rerank", `{"query":"q","texts":["a","b"]}`, `[{"index":1,"score":0.9},{"index":0,"score":0.1}]`,
			schemas.Response{Ranks: []schemas.Rank{{Index: 1, Score: 0.9, Document: &schemas.Document{Text: "b"}}}},
		},
	} {
		req, err := a.Encode(t.Context(), tt.call)
		if err != nil {
			t.Fatal(err)
		}
		if req.URL.Path != tt.path || req.Header.Get("X-Scale-Up-Timeout") != "60" || req.Header.Get("X-HF-Bill-To") != "acme" {
			t.Errorf("sent to %s with %v", req.URL, req.Header)
		}
		var want, sent any
		b, _ := io.ReadAll(req.Body)
		if json.Unmarshal([]byte(tt.sent), &want) != nil || json.Unmarshal(b, &sent) != nil || !cmp.Equal(want, sent) {
			t.Errorf("sent %s, want %s", b, tt.sent)
		}
		res, err := reply{status: 200, kind: "application/json", body: tt.body}.decode(a, tt.call, nil)
		if err != nil {
			t.Fatal(err)
		}
		tt.want.Model, tt.want.Usage.Source = "m", schemas.UsageEstimated
		if diff := cmp.Diff(&tt.want, res); diff != "" {
			t.Errorf("answer (-want +got):\n%s", diff)
		}
	}
}

// TestAPartnerIsAskedInOpenAIsForm: what the vendor's own pipelines don't have,
// partners behind the router do.
func TestAPartnerIsAskedInOpenAIsForm(t *testing.T) {
	t.Parallel()
	c := huggingface.Defaults
	c.BaseURL, c.Embeddings, c.API = "https://router.huggingface.co/sambanova/v1", "openai", "responses"
	a, err := huggingface.NewAdapter(c)
	if err != nil {
		t.Fatal(err)
	}
	call := embedCall()
	call.Request.Embed.Dimensions, call.Request.Embed.Truncate = nil, ""
	req, err := a.Encode(t.Context(), call)
	if err != nil || req.URL.Path != "/sambanova/v1/embeddings" {
		t.Fatalf("%+v, %v", req, err)
	}
	res, err := reply{status: 200, kind: "application/json", body: `{"model":"m","data":[{"index":0,"embedding":[0.5]}],"usage":{"prompt_tokens":3}}`}.decode(a, call, nil)
	if err != nil || len(res.Embeddings) != 1 || res.Usage.InputTokens != 3 {
		t.Errorf("%+v, %v", res, err)
	}
	chat := provider.Call{Model: "m", Request: &schemas.Request{Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "Hello.")}}}
	if req, err = a.Encode(t.Context(), chat); err != nil || req.URL.Path != "/sambanova/v1/responses" {
		t.Errorf("%+v, %v", req, err)
	}
}

func TestAnEndpointRefusesWhatItCannotDo(t *testing.T) {
	t.Parallel()
	chat := provider.Call{Request: &schemas.Request{Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "Hello.")}}}
	picture := provider.Call{Model: "m", Request: &schemas.Request{Op: schemas.OpImageEdit, Image: &schemas.ImageSpec{
		Inputs: []schemas.Media{{URL: "https://a.example/1"}},
	}}}
	for _, tt := range []struct {
		server, param string
		call          provider.Call
	}{
		{"tei", "op", chat},
		{"tgi", "op", embedCall()},
		{"router", "image.inputs[0]", picture},
		{"router", "model", provider.Call{Model: "../x", Request: rankCall().Request}},
	} {
		_, err := newAdapter(t, tt.server).Encode(t.Context(), tt.call)
		if f := schemas.AsFailure(err); f == nil || f.Param != tt.param {
			t.Errorf("%s: %+v, want %s refused", tt.server, f, tt.param)
		}
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*huggingface.Config){
		"server":     func(c *huggingface.Config) { c.Server = "vllm" },
		"api":        func(c *huggingface.Config) { c.API = "x" },
		"embeddings": func(c *huggingface.Config) { c.Embeddings = "x" },
		"wait":       func(c *huggingface.Config) { c.ScaleUpSeconds = -1 },
		"base":       func(c *huggingface.Config) { c.BaseURL = "x" },
		"inference":  func(c *huggingface.Config) { c.InferenceURL = "x" },
		"payer":      func(c *huggingface.Config) { c.BillTo = "a\r\nb" },
	} {
		c := huggingface.Defaults
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

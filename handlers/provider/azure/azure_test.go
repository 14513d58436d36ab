package azure_test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/azure"
	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

func build(t testing.TB, client *http.Client, more map[string]any) (provider.Provider, error) {
	t.Helper()
	b, err := json.Marshal(more)
	if err != nil {
		t.Fatal(err)
	}
	return catalog.New("provider", azure.Entry).Build("azure_openai", b, catalog.Env{HTTP: client})
}

func newProvider(t testing.TB, baseURL string, client *http.Client) provider.Provider {
	t.Helper()
	p, err := build(t, client, map[string]any{"base_url": baseURL, "api_key": providertest.Key})
	if err != nil {
		t.Fatalf("building provider: %v", err)
	}
	return p
}

func TestAzureKeepsTheContract(t *testing.T) {
	t.Parallel()
	providertest.Run(t, newProvider, providertest.Dialect{Files: os.DirFS("testdata/contract")})
}

func FuzzStream(f *testing.F) {
	for _, name := range []string{"answer.sse", "error.sse", "answer.json"} {
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

// asked records what is sent and refuses it.
type asked struct{ seen []*http.Request }

func (a *asked) RoundTrip(req *http.Request) (*http.Response, error) {
	a.seen = append(a.seen, req)
	return &http.Response{
		StatusCode: http.StatusTeapot, Body: http.NoBody, Header: http.Header{}, Request: req, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}, nil
}

func chat() *schemas.Request {
	return &schemas.Request{Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "x")}}
}

func TestEachSurfaceHasItsAddresses(t *testing.T) {
	t.Parallel()
	embed := &schemas.Request{Op: schemas.OpEmbed, Embed: &schemas.EmbedSpec{Inputs: []schemas.Part{{Kind: schemas.PartText, Text: "x"}}}}
	files := &schemas.Request{Op: schemas.OpFileList}
	tests := []struct {
		base, surface, version, api, model string
		req                                *schemas.Request
		want                               string
	}{
		{"https://r.openai.azure.com", "v1", "", "chat", "d", chat(), "https://r.openai.azure.com/openai/v1/chat/completions"},
		{"https://r.openai.azure.com/openai/v1/", "v1", "preview", "responses", "d", chat(), "https://r.openai.azure.com/openai/v1/responses?api-version=preview"},
		{"https://r.openai.azure.com", "deployments", "", "chat", "my d", chat(), "https://r.openai.azure.com/openai/deployments/my%20d/chat/completions?api-version=2024-10-21"},
		{"https://r.openai.azure.com", "deployments", "2023-05-15", "chat", "a/b", embed, "https://r.openai.azure.com/openai/deployments/a%2Fb/embeddings?api-version=2023-05-15"},
		{"https://r.openai.azure.com", "deployments", "", "chat", "d", files, "https://r.openai.azure.com/openai/files?api-version=2024-10-21"},
		{"https://r.openai.azure.com", "deployments", "", "responses", "d", chat(), "https://r.openai.azure.com/openai/responses?api-version=2024-10-21"},
		{"https://gate.example/azure/openai", "deployments", "", "chat", "d", chat(), "https://gate.example/azure/openai/deployments/d/chat/completions?api-version=2024-10-21"},
		{"https://r.services.ai.azure.com", "models", "", "chat", "d", chat(), "https://r.services.ai.azure.com/models/chat/completions?api-version=2024-05-01-preview"},
	}
	for _, tt := range tests {
		seen := &asked{}
		p, err := build(t, &http.Client{Transport: seen}, map[string]any{
			"base_url": tt.base, "surface": tt.surface, "api_version": tt.version, "api": tt.api, "api_key": "k",
		})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = p.Infer(t.Context(), provider.Call{Request: tt.req, Model: tt.model}, nil)
		if len(seen.seen) != 1 || seen.seen[0].URL.String() != tt.want {
			t.Errorf("%+v asked %v", tt, seen.seen)
			continue
		}
		if h := seen.seen[0].Header; h.Get("Api-Key") != "k" || h.Get("Authorization") != "" || len(h) > 10 {
			t.Errorf("headers %v", h)
		}
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	const base = "https://r.openai.azure.com"
	for name, settings := range map[string]map[string]any{
		"no address":        {"api_key": "k"},
		"unknown surface":   {"base_url": base, "surface": "v2"},
		"two credentials":   {"base_url": base, "api_key": "k", "token": "t"},
		"too many headers":  {"base_url": base, "headers": map[string]string{"a": "", "b": "", "c": "", "d": "", "e": "", "f": "", "g": "", "h": ""}},
		"half an app":       {"base_url": base, "entra": map[string]any{"tenant_id": "t"}},
		"responses foundry": {"base_url": base, "surface": "models", "api": "responses"},
		"unknown field":     {"base_url": base, "deployment": "d"},
	} {
		if _, err := build(t, nil, settings); err == nil || !strings.Contains(err.Error(), "azure_openai") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestAdviceIsTakenFromHeadersAndText(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		headers map[string]string
		body    string
		want    int64
	}{
		{map[string]string{"Retry-After": "1", "Retry-After-Ms": "0"}, `{}`, 1000},
		{map[string]string{"Retry-After-Ms": "250"}, `{}`, 250},
		{nil, "Requests have exceeded token rate limit of your pricing tier. Please retry after 7 seconds.", 7000},
		{map[string]string{"X-Ratelimit-Remaining-Tokens": "0", "X-Ratelimit-Reset-Tokens": "12"}, `{}`, 12000},
		{map[string]string{"X-Ratelimit-Remaining-Tokens": "-1", "X-Ratelimit-Reset-Tokens": "-1"}, `{}`, 0},
	} {
		x := &providertest.Exchange{}
		x.Response.Status, x.Response.Headers, x.Response.Body = http.StatusTooManyRequests, tt.headers, tt.body
		_, f, _ := providertest.Replay(t, newProvider, x)
		if f == nil || f.Code != schemas.RateLimited || f.RetryAfterMS != tt.want {
			t.Errorf("%v %s: %+v, want rate_limited and %d ms", tt.headers, tt.body, f, tt.want)
		}
	}
}

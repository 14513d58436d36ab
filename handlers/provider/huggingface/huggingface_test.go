package huggingface_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/huggingface"
	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// serving returns a builder of providers for a kind of server. The router's
// pipelines are at a path of their own.
func serving(server string) providertest.New {
	return func(t testing.TB, baseURL string, client *http.Client) provider.Provider {
		t.Helper()
		p, err := catalog.New("provider", huggingface.Entry).Build("huggingface", settings(t, map[string]any{
			"base_url": baseURL, "inference_url": baseURL + "/hf-inference", "api_key": providertest.Key, "server": server,
		}), catalog.Env{HTTP: client})
		if err != nil {
			t.Fatalf("building provider: %v", err)
		}
		return p
	}
}

func settings(t testing.TB, v any) catalog.Settings {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTheRouterKeepsTheContract(t *testing.T) {
	t.Parallel()
	providertest.Run(t, serving("router"), providertest.Dialect{Files: os.DirFS("testdata/contract")})
}

// completing asks for a text to go on wherever the contract chats with a tool,
// which TGI's own form has no words for.
type completing struct{ provider.Provider }

func newCompleting(t testing.TB, baseURL string, client *http.Client) provider.Provider {
	t.Helper()
	return completing{serving("tgi")(t, baseURL, client)}
}

// Infer implements [provider.Provider].
func (p completing) Infer(ctx context.Context, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	if len(call.Request.Tools) > 0 {
		req := *call.Request
		req.Tools, req.Op = nil, schemas.OpComplete
		call.Request = &req
	}
	return p.Provider.Infer(ctx, call, emit)
}

// Probe implements [provider.Prober].
func (p completing) Probe(ctx context.Context) error { return p.Provider.(provider.Prober).Probe(ctx) }

func TestTGIKeepsTheContract(t *testing.T) {
	t.Parallel()
	providertest.Run(t, newCompleting, providertest.Dialect{Files: os.DirFS("testdata/tgi")})
}

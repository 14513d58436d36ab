package replicate_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/handlers/provider/replicate"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

func newProvider(t testing.TB, baseURL string, client *http.Client) provider.Provider {
	t.Helper()
	p, err := catalog.New("provider", replicate.Entry).Build("replicate",
		settings(t, map[string]any{"base_url": baseURL, "api_key": providertest.Key}), catalog.Env{HTTP: client})
	if err != nil {
		t.Fatalf("building provider: %v", err)
	}
	return p
}

func settings(t testing.TB, v any) catalog.Settings {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// toolless is the provider for a contract whose request has a tool, which this
// vendor's API knows nothing of.
type toolless struct{ provider.Provider }

func newToolless(t testing.TB, baseURL string, client *http.Client) provider.Provider {
	t.Helper()
	return toolless{newProvider(t, baseURL, client)}
}

// Infer implements [provider.Provider].
func (p toolless) Infer(ctx context.Context, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	req := *call.Request
	req.Tools = nil
	call.Request = &req
	return p.Provider.Infer(ctx, call, emit)
}

// Probe implements [provider.Prober].
func (p toolless) Probe(ctx context.Context) error { return p.Provider.(provider.Prober).Probe(ctx) }

func TestReplicateKeepsTheContract(t *testing.T) {
	t.Parallel()
	providertest.Run(t, newToolless, providertest.Dialect{Files: os.DirFS("testdata/contract")})
}

package openai_test

import (
	"encoding/json"
	"net/http"
	"os"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/openai"
	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/pipeline/catalog"
)

func newProvider(t testing.TB, baseURL string, client *http.Client) provider.Provider {
	t.Helper()
	p, err := catalog.New("provider", openai.Entry).Build("openai",
		settings(t, map[string]any{"base_url": baseURL, "api_key": providertest.Key}), catalog.Env{HTTP: client})
	if err != nil {
		t.Fatalf("building provider: %v", err)
	}
	return p
}

// newConversation is newProvider for the responses API.
func newConversation(t testing.TB, baseURL string, client *http.Client) provider.Provider {
	t.Helper()
	p, err := catalog.New("provider", openai.Entry).Build("openai",
		settings(t, map[string]any{"base_url": baseURL, "api_key": providertest.Key, "api": "responses"}), catalog.Env{HTTP: client})
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

func TestOpenAIKeepsTheContract(t *testing.T) {
	t.Parallel()
	providertest.Run(t, newProvider, providertest.Dialect{Files: os.DirFS("testdata/contract")})
}

func TestTheResponsesAPIKeepsTheContract(t *testing.T) {
	t.Parallel()
	providertest.Run(t, newConversation, providertest.Dialect{Files: os.DirFS("testdata/responses")})
}

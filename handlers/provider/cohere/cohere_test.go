package cohere_test

import (
	"encoding/json"
	"net/http"
	"os"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/cohere"
	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// version returns a maker of providers that speak that version of the API.
func version(api string) providertest.New {
	return func(t testing.TB, baseURL string, client *http.Client) provider.Provider {
		t.Helper()
		settings, err := json.Marshal(map[string]any{"base_url": baseURL, "api_key": providertest.Key, "api": api})
		if err != nil {
			t.Fatal(err)
		}
		p, err := catalog.New("provider", cohere.Entry).Build("cohere", settings, catalog.Env{HTTP: client})
		if err != nil {
			t.Fatalf("building provider: %v", err)
		}
		return p
	}
}

func TestCohereKeepsTheContract(t *testing.T) {
	t.Parallel()
	providertest.Run(t, version("v2"), providertest.Dialect{Files: os.DirFS("testdata/contract")})
}

func TestCohereVersion1KeepsTheContract(t *testing.T) {
	t.Parallel()
	providertest.Run(t, version("v1"), providertest.Dialect{Files: os.DirFS("testdata/contract1")})
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{
		`{"api":"v3"}`, `{"safety_mode":"NONE"}`, `{"base_url":"https://key@api.cohere.com"}`, `{"api_key":"a b"}`,
	} {
		if _, err := catalog.New("provider", cohere.Entry).Build("cohere", []byte(settings), catalog.Env{}); err == nil {
			t.Errorf("%s was accepted", settings)
		}
	}
}

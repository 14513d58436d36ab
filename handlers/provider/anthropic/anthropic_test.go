package anthropic_test

import (
	"encoding/json"
	"net/http"
	"os"
	"testing"
	"testing/fstest"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/anthropic"
	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/pipeline/catalog"
)

func newProvider(t testing.TB, baseURL string, client *http.Client) provider.Provider {
	t.Helper()
	return build(t, client, map[string]any{"base_url": baseURL, "api_key": providertest.Key})
}

func newVertex(t testing.TB, baseURL string, client *http.Client) provider.Provider {
	t.Helper()
	return build(t, client, map[string]any{
		"base_url": baseURL, "api_key": providertest.Key, "project": "acme", "location": "eu",
	})
}

func build(t testing.TB, client *http.Client, settings map[string]any) provider.Provider {
	t.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	p, err := catalog.New("provider", anthropic.Entry).Build("anthropic", catalog.Settings(raw), catalog.Env{HTTP: client})
	if err != nil {
		t.Fatalf("building provider: %v", err)
	}
	return p
}

func TestAnthropicKeepsTheContract(t *testing.T) {
	t.Parallel()
	providertest.Run(t, newProvider, providertest.Dialect{Files: os.DirFS("testdata/contract")})
}

func TestVertexKeepsTheContract(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{}
	for folder, to := range map[string]string{"testdata/contract": "", "testdata/vertex": "ops/"} {
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() {
				continue
			}
			data, err := os.ReadFile(folder + "/" + e.Name())
			if err != nil {
				t.Fatal(err)
			}
			files[to+e.Name()] = &fstest.MapFile{Data: data}
		}
	}
	providertest.Run(t, newVertex, providertest.Dialect{Files: files})
}

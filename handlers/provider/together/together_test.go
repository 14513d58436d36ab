package together_test

import (
	"encoding/json"
	"net/http"
	"os"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/handlers/provider/together"
	"github.com/sira-ai/sira/pipeline/catalog"
)

func newProvider(t testing.TB, baseURL string, client *http.Client) provider.Provider {
	t.Helper()
	settings, err := json.Marshal(map[string]any{"base_url": baseURL, "api_key": providertest.Key})
	if err != nil {
		t.Fatal(err)
	}
	p, err := catalog.New("provider", together.Entry).Build("together", settings, catalog.Env{HTTP: client})
	if err != nil {
		t.Fatalf("building provider: %v", err)
	}
	return p
}

func TestTogetherKeepsTheContract(t *testing.T) {
	t.Parallel()
	providertest.Run(t, newProvider, providertest.Dialect{Files: os.DirFS("testdata/contract")})
}

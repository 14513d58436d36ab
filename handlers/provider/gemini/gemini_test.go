package gemini_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"testing"
	"testing/fstest"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/gemini"
	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

func newProvider(t testing.TB, baseURL string, client *http.Client) provider.Provider {
	t.Helper()
	return build(t, client, map[string]any{"base_url": baseURL, "api_key": providertest.Key})
}

func newVertex(t testing.TB, baseURL string, client *http.Client) provider.Provider {
	t.Helper()
	return build(t, client, map[string]any{
		"base_url": baseURL + "/v1", "api_key": providertest.Key, "project": "acme", "location": "eu", "quota_project": "payer",
	})
}

func build(t testing.TB, client *http.Client, settings map[string]any) provider.Provider {
	t.Helper()
	raw, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	p, err := catalog.New("provider", gemini.Entry).Build("gemini", catalog.Settings(raw), catalog.Env{HTTP: client})
	if err != nil {
		t.Fatalf("building provider: %v", err)
	}
	return p
}

func TestGeminiKeepsTheContract(t *testing.T) {
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

// sentBody returns the body that a request goes out with.
func sentBody(t *testing.T, req *schemas.Request) string {
	t.Helper()
	var body []byte
	client := &http.Client{Transport: transport(func(r *http.Request) (*http.Response, error) {
		var err error
		body, err = io.ReadAll(r.Body)
		return nil, errors.Join(err, errors.New("no vendor"))
	})}
	_, err := newProvider(t, "http://vendor.test", client).Infer(t.Context(), provider.Call{Request: req, Model: "gemini-3-pro"}, nil)
	if len(body) == 0 {
		t.Fatalf("nothing was sent: %+v", schemas.AsFailure(err))
	}
	return string(body)
}

type transport func(*http.Request) (*http.Response, error)

// RoundTrip implements [http.RoundTripper].
func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

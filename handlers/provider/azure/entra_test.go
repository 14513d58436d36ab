package azure_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

const secret = "entra-secret-77"

// directory gives tokens, numbered, and a resource that takes only the last one.
func directory(t *testing.T, refuse *atomic.Int64) (tokens *atomic.Int64, url string) {
	t.Helper()
	tokens = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/tenant-1/oauth2/v2.0/token" {
			if r.PostFormValue("client_secret") != secret || r.PostFormValue("grant_type") != "client_credentials" {
				w.WriteHeader(http.StatusUnauthorized)
				_, _ = io.WriteString(w, `{"error":"invalid_client","error_description":"`+secret+`"}`)
				return
			}
			_, _ = fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":3600,"access_token":"token-%d"}`, tokens.Add(1))
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Authorization") != fmt.Sprintf("Bearer token-%d", tokens.Load()) || refuse.Add(-1) >= 0 {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, `{"error":{"code":"401","message":"expired"}}`)
			return
		}
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"y"},"finish_reason":"stop"}]}`)
	}))
	t.Cleanup(s.Close)
	return tokens, s.URL
}

func application(t *testing.T, url, password string) provider.Provider {
	t.Helper()
	p, err := build(t, nil, map[string]any{"base_url": url, "entra": map[string]any{
		"tenant_id": "tenant-1", "client_id": "app", "client_secret": password, "authority": url,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestATokenIsFetchedOnceAndKept(t *testing.T) {
	t.Parallel()
	tokens, url := directory(t, new(atomic.Int64))
	p := application(t, url, secret)
	for range 3 {
		if _, err := p.Infer(t.Context(), provider.Call{Request: chat(), Model: "d"}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := tokens.Load(); n != 1 {
		t.Errorf("%d tokens for 3 calls, want 1", n)
	}
}

func TestATokenThatIsRefusedIsFetchedAnewOnce(t *testing.T) {
	t.Parallel()
	refuse := new(atomic.Int64)
	refuse.Store(1)
	tokens, url := directory(t, refuse)
	p := application(t, url, secret)
	if _, err := p.Infer(t.Context(), provider.Call{Request: chat(), Model: "d"}, nil); err != nil || tokens.Load() != 2 {
		t.Errorf("error %v with %d tokens, want an answer with the second", err, tokens.Load())
	}
	refuse.Store(2)
	_, err := p.Infer(t.Context(), provider.Call{Request: chat(), Model: "d"}, nil)
	if f := schemas.AsFailure(err); f == nil || f.Code != schemas.Auth || tokens.Load() != 3 {
		t.Errorf("error %v with %d tokens, want auth after one more", err, tokens.Load())
	}
}

func TestAnApplicationThatIsRefusedIsAnAuthFailureWithoutItsSecret(t *testing.T) {
	t.Parallel()
	_, url := directory(t, new(atomic.Int64))
	_, err := application(t, url, secret+"x&").Infer(t.Context(), provider.Call{Request: chat(), Model: "d"}, nil)
	f := schemas.AsFailure(err)
	if f == nil || f.Code != schemas.Auth {
		t.Fatalf("error %v, want auth", err)
	}
	if strings.Contains(fmt.Sprintf("%+v %v", *f, f), secret) {
		t.Error("the secret is in the failure")
	}
}

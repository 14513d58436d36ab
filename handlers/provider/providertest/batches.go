package providertest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

// BatchVendor is a vendor whose API for batches gives answers that a test wrote, and
// keeps what it was asked.
type BatchVendor struct {
	mu    sync.Mutex
	asked []string
}

// Batches returns what does batches for the provider under test, and its vendor. That
// answers by method and path below a root, such as "GET /young" under /v1/batches, and
// with 404 what it has no answer for.
func Batches(t *testing.T, newProvider New, root string, answers map[string]string) (provider.Batcher, *BatchVendor) {
	t.Helper()
	v := new(BatchVendor)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		at := r.Method + " " + strings.TrimPrefix(r.URL.Path, root)
		v.mu.Lock()
		v.asked = append(v.asked, at+"\n"+string(body))
		v.mu.Unlock()
		answer, ok := answers[at]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	b := provider.BatcherOf(newProvider(t, s.URL, s.Client()))
	if b == nil {
		t.Fatal("the provider has no batches")
	}
	return b, v
}

// Asked returns the requests so far: method and path on a line, then the body.
func (v *BatchVendor) Asked() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.asked)
}

// TwoCalls is a batch b0 of two calls, at the places 0 and 2. The one between is not
// part of it any more. It was asked for on 2026-11-23 at noon UTC.
func TwoCalls() provider.Batch {
	call := func(text string) provider.Call {
		return provider.Call{Model: "m", Request: &schemas.Request{ID: text, Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, text)}}}
	}
	return provider.Batch{ID: "b0", Since: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Calls: []provider.Call{call("one"), {}, call("three")}}
}

// NoneRefused is told of calls that can't be part of a batch where none should be.
func NoneRefused(t *testing.T) func(int, error) {
	return func(i int, why error) { t.Errorf("call %d was refused: %v", i, why) }
}

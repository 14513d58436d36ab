package anthropic

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

// FuzzOperation decodes answers to the operations other than chat: each is an
// answer or a failure.
func FuzzOperation(f *testing.F) {
	names, err := filepath.Glob("testdata/*/ops/*.json")
	if err != nil {
		f.Fatal(err)
	}
	ops := schemas.Operations()
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		var x struct {
			Request schemas.Request
			Answer  struct{ JSON json.RawMessage }
		}
		if err := json.Unmarshal(raw, &x); err != nil {
			f.Fatal(err)
		}
		f.Add(slices.Index(ops, x.Request.Op), string(x.Answer.JSON))
	}
	a, err := newAdapter(Defaults)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, op int, body string) {
		call := provider.Call{Model: "m", Request: &schemas.Request{
			ID: "r", Op: ops[uint(op)%uint(len(ops))], File: &schemas.FileSpec{ID: "f"}, Stream: strings.HasPrefix(body, "data"),
		}}
		res, err := a.Decode(&http.Response{StatusCode: 200, ContentLength: -1, Body: io.NopCloser(strings.NewReader(body))}, call, nil)
		if (res == nil) == (err == nil) {
			t.Fatalf("answer %+v, error %v, want one of them", res, err)
		}
		if _, err := json.Marshal(res); err != nil {
			t.Errorf("the answer cannot be encoded: %v", err)
		}
	})
}

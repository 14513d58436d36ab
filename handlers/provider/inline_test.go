package provider_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/openai"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// A sound by URL goes to a vendor that takes none by its bytes, a picture by its URL,
// and the request stays as it was for the next attempt.
func TestMediaThatAVendorTakesByValueIsFetched(t *testing.T) {
	t.Parallel()
	var sent string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		sent = string(b)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"yes"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1}}`)
	}))
	t.Cleanup(s.Close)
	c := openai.Defaults
	c.BaseURL = s.URL
	p, err := openai.New(c, catalog.Env{HTTP: s.Client()})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() *schemas.Request {
		return &schemas.Request{ID: "r", Model: "m", Messages: []schemas.Message{{Role: schemas.RoleUser, Parts: []schemas.Part{
			{Kind: schemas.PartImage, Media: &schemas.Media{URL: "https://media.example/a.png"}},
			{Kind: schemas.PartAudio, Media: &schemas.Media{URL: "https://media.example/a.wav"}},
		}}}}
	}
	req := ask()
	call := provider.Call{Request: req, Model: "m", Fetch: func(_ context.Context, address string, limit int64) (string, []byte, error) {
		if address != "https://media.example/a.wav" || limit <= 0 {
			t.Errorf("fetched %s, at most %d bytes", address, limit)
		}
		return "audio/wav", []byte("RIFF"), nil
	}}
	if _, err := p.Infer(t.Context(), call, nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(sent, `"input_audio":{"data":"UklGRg=="`) || !strings.Contains(sent, `"url":"https://media.example/a.png"`) {
		t.Errorf("sent %s", sent)
	}
	if diff := cmp.Diff(ask(), req); diff != "" {
		t.Errorf("the request was changed:\n%s", diff)
	}
	sent = ""
	call.Fetch = func(context.Context, string, int64) (string, []byte, error) {
		return "", nil, schemas.Fail(schemas.InvalidRequest, "is not fetched: the address is not public", nil)
	}
	_, err = p.Infer(t.Context(), call, nil)
	if f := schemas.AsFailure(err); f == nil || f.Code != schemas.InvalidRequest || f.Param != "messages[0].parts[1]" || !strings.HasPrefix(f.Message, f.Param+" is not fetched") || sent != "" {
		t.Errorf("failure %+v, sent %q", f, sent)
	}
}

package provider_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/gemini"
	"github.com/sira-ai/sira/handlers/provider/replicate"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// depot is a vendor with files. It writes down what it is asked, in the order of
// coming.
type depot struct {
	*httptest.Server
	answer func(r *http.Request, body string) (status int, text string)

	mu    sync.Mutex
	asked []string
}

func newDepot(t *testing.T, answer func(r *http.Request, body string) (int, string)) *depot {
	t.Helper()
	d := &depot{answer: answer}
	d.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		d.mu.Lock()
		defer d.mu.Unlock()
		status, text := d.answer(r, string(b))
		d.asked = append(d.asked, fmt.Sprintf("%s %s %d", r.Method, r.URL.Path, status))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(d.Close)
	return d
}

func (d *depot) story() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.asked, "\n")
}

func film(size int) schemas.Part {
	return schemas.Part{Kind: schemas.PartVideo, Media: &schemas.Media{MIME: "video/mp4", Data: bytes.Repeat([]byte("f"), size)}}
}

// Of two films that are together too large for a request the larger goes up before it,
// is waited for, and is gone after it. The request stays as it was.
func TestMediaAboveAVendorsLimitGoUpFirst(t *testing.T) {
	t.Parallel()
	var said string
	d := newDepot(t, func(r *http.Request, body string) (int, string) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/upload/"):
			return 200, `{"file":{"name":"files/f1","mimeType":"video/mp4","uri":"https://x/v1beta/files/f1","state":"PROCESSING"}}`
		case r.Method == http.MethodGet:
			return 200, `{"name":"files/f1","mimeType":"video/mp4","state":"ACTIVE"}`
		case r.Method == http.MethodDelete:
			return 200, `{}`
		}
		said = body
		return 200, `{"candidates":[{"content":{"role":"model","parts":[{"text":"a cat"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":1}}`
	})
	p, err := gemini.New(gemini.Config{BaseURL: d.URL + "/v1beta"}, catalog.Env{HTTP: d.Client()})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() *schemas.Request {
		return &schemas.Request{ID: "r", Model: "m", Messages: []schemas.Message{{Role: schemas.RoleUser, Parts: []schemas.Part{film(6 << 20), film(9 << 20)}}}}
	}
	req := ask()
	res, err := p.Infer(t.Context(), provider.Call{Request: req, Model: "m"}, nil)
	if err != nil || res.Text() != "a cat" {
		t.Fatalf("answer %+v, %v", res, err)
	}
	want := "POST /upload/v1beta/files 200\nGET /v1beta/files/f1 200\nPOST /v1beta/models/m:generateContent 200\nDELETE /v1beta/files/f1 200"
	if diff := cmp.Diff(want, d.story()); diff != "" {
		t.Error(diff)
	}
	if len(said) > 10<<20 || !strings.Contains(said, `"fileUri":"`+d.URL+`/v1beta/files/f1"`) || !strings.Contains(said, `"inlineData"`) {
		t.Errorf("%d bytes were said: %.200s", len(said), said)
	}
	if !reflect.DeepEqual(ask(), req) { // cmp would take minutes for so many bytes
		t.Error("the request was changed")
	}
}

// A picture that a long job reads is there until the job is over, whoever sees that.
func TestWhatALongJobReadsIsTakenBackWhenItIsOver(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]string{"done": "succeeded", "failed": "failed", "cancelled": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state, created := "processing", ""
			d := newDepot(t, func(r *http.Request, body string) (int, string) {
				switch {
				case r.URL.Path == "/v1/files" && r.Method == http.MethodPost:
					return 201, `{"id":"f1","name":"image","content_type":"image/png"}`
				case r.Method == http.MethodDelete:
					return 204, ""
				case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/predictions"):
					created = body
				}
				return 200, `{"id":"p1","model":"acme/paint","status":"` + state + `","output":["https://replicate.delivery/1.png"],"error":"boom","urls":{}}`
			})
			p, err := replicate.New(replicate.Config{BaseURL: d.URL + "/v1"}, catalog.Env{HTTP: d.Client()})
			if err != nil {
				t.Fatal(err)
			}
			call := provider.Call{Model: "acme/paint", Request: &schemas.Request{ID: "r", Model: "m", Op: schemas.OpImage, Image: &schemas.ImageSpec{
				Prompt: "bluer", Inputs: []schemas.Media{{MIME: "image/png", Data: make([]byte, 300<<10)}},
			}}}
			call.Keep = func(handed []string) { call.Handed = handed }
			res, err := p.Infer(t.Context(), call, nil)
			if err != nil || !res.Pending() || len(call.Handed) != 1 || !strings.Contains(created, d.URL+"/v1/files/f1") {
				t.Fatalf("answer %+v, %v; handed over %v; created %.200s", res, err, call.Handed, created)
			}
			poller := p.(provider.Poller)
			if _, err := poller.Poll(t.Context(), call, *res.Job, nil); err != nil || strings.Contains(d.story(), "DELETE") {
				t.Fatalf("%v; asked\n%s", err, d.story())
			}
			d.mu.Lock()
			state = end
			d.mu.Unlock()
			if end == "" {
				err = poller.Cancel(t.Context(), call, *res.Job)
			} else {
				_, err = poller.Poll(t.Context(), call, *res.Job, nil)
			}
			if (err != nil) != (end == "failed") || !strings.HasSuffix(d.story(), "DELETE /v1/files/f1 204") {
				t.Errorf("%v; asked\n%s", err, d.story())
			}
		})
	}
}

// The second of two pictures is refused: the failure names it, the first is removed,
// and nothing is begun.
func TestWhatWasHandedOverInVainIsTakenBack(t *testing.T) {
	t.Parallel()
	files := 0
	d := newDepot(t, func(r *http.Request, _ string) (int, string) {
		switch {
		case r.Method == http.MethodDelete:
			return 204, ""
		case files > 0:
			return 422, `{"detail":"unreadable","title":"Invalid","status":422}`
		}
		files++
		return 201, `{"id":"f1"}`
	})
	p, err := replicate.New(replicate.Config{BaseURL: d.URL + "/v1"}, catalog.Env{HTTP: d.Client()})
	if err != nil {
		t.Fatal(err)
	}
	large := schemas.Media{MIME: "image/png", Data: make([]byte, 300<<10)}
	_, err = p.Infer(t.Context(), provider.Call{Model: "acme/paint", Request: &schemas.Request{ID: "r", Model: "m", Op: schemas.OpImage, Image: &schemas.ImageSpec{
		Prompt: "bluer", Inputs: []schemas.Media{large, {MIME: "image/png", Data: []byte("small")}, large},
	}}}, nil)
	if f := schemas.AsFailure(err); f == nil || f.Code != schemas.InvalidRequest || f.Param != "image.inputs[2]" {
		t.Errorf("failure %+v", f)
	}
	if want := "POST /v1/files 201\nPOST /v1/files 422\nDELETE /v1/files/f1 204"; d.story() != want {
		t.Errorf("asked\n%s\nwant\n%s", d.story(), want)
	}
}

// shelf publishes under an address of its own.
type shelf struct{ there map[string]bool }

func (s *shelf) Publish(_ context.Context, m *schemas.Media) (name, url string, err error) {
	name = fmt.Sprintf("%d.png", len(m.Data))
	s.there[name] = true
	return name, "https://media.example/" + name, nil
}

func (s *shelf) Withdraw(_ context.Context, name string) error {
	delete(s.there, name)
	return nil
}

// Where there is a place to publish, large media go by URL instead of as files.
func TestLargeMediaGoByURLWhereThereIsAPlaceForThem(t *testing.T) {
	t.Parallel()
	s := &shelf{there: map[string]bool{}}
	var created string
	d := newDepot(t, func(_ *http.Request, body string) (int, string) {
		created = body
		if !s.there["307200.png"] {
			return 500, `{}`
		}
		return 201, `{"id":"p1","status":"succeeded","output":["https://replicate.delivery/1.png"],"urls":{}}`
	})
	p, err := replicate.New(replicate.Config{BaseURL: d.URL + "/v1"}, catalog.Env{HTTP: d.Client()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Infer(t.Context(), provider.Call{Publish: s, Model: "acme/paint", Request: &schemas.Request{ID: "r", Model: "m", Op: schemas.OpImage, Image: &schemas.ImageSpec{
		Prompt: "bluer", Inputs: []schemas.Media{{MIME: "image/png", Data: make([]byte, 300<<10)}},
	}}}, nil)
	if err != nil || !strings.Contains(created, `"https://media.example/307200.png"`) || len(s.there) != 0 {
		t.Errorf("%v; said %.200s; left %v", err, created, s.there)
	}
}

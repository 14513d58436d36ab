package providertest

import (
	"cmp"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

// exchange is a file ops/*.json of a [Dialect]: a request of any operation, how
// the vendor is asked, what it answers, and what that means. It is written by us.
type exchange struct {
	Request schemas.Request `json:"request"`
	Model   string          `json:"model"` // the vendor's; small-1 if empty
	Sent    struct {
		Method string          `json:"method"`
		Path   string          `json:"path"` // with the query
		JSON   json.RawMessage `json:"json"` // the body, if it is JSON
		Holds  []string        `json:"holds"`
		Header http.Header     `json:"header"` // some of the headers
	} `json:"sent"`
	Answer struct {
		Status      int             `json:"status"` // 200 if 0
		ContentType string          `json:"content_type"`
		Header      http.Header     `json:"header"`
		JSON        json.RawMessage `json:"json"`
		Text        string          `json:"text"` // the body, if it is not JSON
		Data        []byte          `json:"data"` // the body, in base64
	} `json:"answer"`
	Want    *schemas.Response `json:"want"`
	Failure schemas.Code      `json:"failure"` // in place of Want
}

// Operations checks each file ops/*.json of the dialect. [Run] does so too; this is
// for vendors that have no chat.
func Operations(t *testing.T, newProvider New, d Dialect) {
	t.Helper()
	operations(t, newProvider, d)
}

// operations checks each file ops/*.json of the dialect, if there is any.
func operations(t *testing.T, newProvider New, d Dialect) {
	names, err := fs.Glob(d.Files, "ops/*.json")
	if err != nil {
		t.Fatalf("listing the dialect: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(path.Base(name), ".json"), func(t *testing.T) {
			var x exchange
			dec := json.NewDecoder(strings.NewReader(d.read(t, name)))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&x); err != nil {
				t.Fatalf("reading %s: %v", name, err)
			}
			x.run(t, newProvider)
		})
	}
}

func (x *exchange) run(t *testing.T, newProvider New) {
	t.Helper()
	var seen *http.Request
	var body []byte
	v := serveRaw(t, func(w http.ResponseWriter, r *http.Request) {
		seen = r.Clone(t.Context())
		body, _ = io.ReadAll(r.Body)
		for k, values := range x.Answer.Header {
			w.Header()[http.CanonicalHeaderKey(k)] = values
		}
		content := x.Answer.Data
		switch {
		case len(x.Answer.JSON) > 0:
			content = x.Answer.JSON
			w.Header().Set("Content-Type", jsonType)
		case x.Answer.Text != "":
			content = []byte(x.Answer.Text)
		}
		if x.Answer.ContentType != "" {
			w.Header().Set("Content-Type", x.Answer.ContentType)
		}
		w.WriteHeader(cmp.Or(x.Answer.Status, http.StatusOK))
		_, _ = w.Write(content)
	})
	model := x.Model
	if model == "" {
		model = "small-1"
	}
	if err := x.Request.Validate(); err != nil {
		t.Fatalf("the file's request is not valid: %v", err)
	}
	var emit provider.Emit
	var chunks []schemas.Chunk
	if x.Request.Stream {
		emit = func(c schemas.Chunk) error { chunks = append(chunks, c); return nil }
	}
	res, err := newProvider(t, v.url, v.client).Infer(t.Context(), provider.Call{Request: &x.Request, Model: model}, emit)
	x.checkSent(t, seen, body)
	if x.Failure != "" {
		if f := schemas.AsFailure(err); f == nil || f.Code != x.Failure {
			t.Errorf("failure %+v, want %s", err, x.Failure)
		}
		return
	}
	if err != nil {
		t.Fatalf("failure %+v, want an answer", schemas.AsFailure(err))
	}
	if diff := gocmp.Diff(x.Want, res, cmpopts.IgnoreFields(schemas.Usage{}, "Raw"), cmpopts.EquateEmpty(),
		gocmp.Comparer(func(a, b decimal.Decimal) bool { return a.Equal(b) })); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	checkChunks(t, chunks, true)
}

func (x *exchange) checkSent(t *testing.T, seen *http.Request, body []byte) {
	t.Helper()
	if seen == nil {
		if x.Failure == "" {
			t.Fatal("nothing was sent")
		}
		return
	}
	if got := seen.Method + " " + seen.URL.RequestURI(); got != x.Sent.Method+" "+x.Sent.Path {
		t.Errorf("sent %s, want %s %s", got, x.Sent.Method, x.Sent.Path)
	}
	for k, want := range x.Sent.Header {
		if diff := gocmp.Diff(want, seen.Header.Values(k)); diff != "" {
			t.Errorf("header %s (-want +sent):\n%s", k, diff)
		}
	}
	if len(x.Sent.JSON) > 0 {
		var want, got any
		if err := json.Unmarshal(x.Sent.JSON, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(body, &got); err != nil {
			t.Fatalf("the body that was sent is not JSON: %v", err)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("body (-want +sent):\n%s", diff)
		}
	}
	for _, want := range x.Sent.Holds {
		if !strings.Contains(string(body), want) {
			t.Errorf("the body that was sent lacks %q", want)
		}
	}
	if u, err := url.ParseRequestURI(seen.RequestURI); err == nil && strings.Contains(u.RawQuery, Key) {
		t.Error("the credential is in the address")
	}
}

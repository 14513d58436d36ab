package providertest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sira-ai/sira/schemas"
)

// Exchange is a call to a vendor, recorded or written in its form.
type Exchange struct {
	ID       string `json:"id"`
	Stream   bool   `json:"stream"`
	Op       string `json:"operation"`
	Response struct {
		Status  int               `json:"status"`
		Headers map[string]string `json:"headers"`
		Body    string            `json:"body"`
	} `json:"response"`
}

// Recorded returns the exchanges of one operation of a vendor: those in
// testdata/exchanges.jsonl, which we wrote in the vendor's form, and, where they are
// next to the repository in ../shared/data, those that others recorded.
func Recorded(t *testing.T, vendor, op string) []Exchange {
	t.Helper()
	all := exchanges(t, filepath.Join("testdata", "exchanges.jsonl"), op)
	if len(all) == 0 {
		t.Fatalf("testdata/exchanges.jsonl has no exchange of %s", op)
	}
	theirs := filepath.Join(root(t), "..", "shared", "data", "providers", vendor, "dev.jsonl")
	if _, err := os.Stat(theirs); errors.Is(err, fs.ErrNotExist) {
		return all
	}
	recorded := exchanges(t, theirs, op)
	if len(recorded) == 0 {
		t.Fatalf("no recorded exchange of %s %s", vendor, op)
	}
	return append(all, recorded...)
}

// exchanges reads those of one operation from a file.
func exchanges(t *testing.T, name, op string) []Exchange {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatalf("opening exchanges: %v", err)
	}
	defer func() { _ = f.Close() }()
	var all []Exchange
	r := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			var x Exchange
			if err := json.Unmarshal(line, &x); err != nil {
				t.Fatalf("reading %s, line %d: %v", name, n, err)
			}
			if x.Op == op {
				all = append(all, x)
			}
		}
		if err != nil {
			return all
		}
	}
}

// root returns the folder of go.mod, above the test's.
func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}

// Replay asks a provider whose vendor gives the recorded answer, and returns the
// outcome and the chunks.
func Replay(t *testing.T, newProvider New, x *Exchange) (*schemas.Response, *schemas.Failure, []schemas.Chunk) {
	t.Helper()
	p := newProvider(t, "http://vendor.test", &http.Client{Transport: replayed{x}})
	o := ask(t.Context(), t, p, x.Stream)
	return o.res, o.failure, o.chunks
}

// replayed is a transport that gives a recorded answer to everything.
type replayed struct{ x *Exchange }

// RoundTrip implements [http.RoundTripper].
func (r replayed) RoundTrip(req *http.Request) (*http.Response, error) {
	h := make(http.Header)
	for k, v := range r.x.Response.Headers {
		if strings.EqualFold(k, "Content-Type") && strings.Contains(v, "REDACTED") {
			continue
		}
		h.Set(k, v)
	}
	return &http.Response{
		StatusCode: r.x.Response.Status, Header: h, Request: req, ContentLength: -1,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(strings.NewReader(r.x.Response.Body)),
	}, nil
}

// Fuzz asks a provider for an answer with the given body and checks that it is an answer
// in good order or a failure. It is the body of the adapters' fuzz targets.
func Fuzz(t *testing.T, newProvider New, status int, contentType, body string, stream bool) {
	t.Helper()
	x := &Exchange{Stream: stream}
	x.Response.Status = status
	x.Response.Headers = map[string]string{"Content-Type": contentType}
	x.Response.Body = body
	res, _, _ := Replay(t, newProvider, x)
	if res == nil {
		return
	}
	seen := map[int]bool{}
	for _, c := range res.Choices {
		if seen[c.Index] || c.Finish.Reason == "" {
			t.Errorf("choice %d is there twice or without a finish: %+v", c.Index, c)
		}
		seen[c.Index] = true
	}
	if len(res.Choices) == 0 || res.Usage.InputTokens < 0 || res.Usage.OutputTokens < 0 || res.Usage.Source == "" {
		t.Errorf("answer lacks choices or usage: %+v", res)
	}
	if _, err := json.Marshal(res); err != nil {
		t.Errorf("the answer cannot be encoded: %v", err)
	}
}

// Package providertest is the contract of [provider.Provider], as tests that
// every adapter passes with one line.
package providertest

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

// Key is the credential that the provider under test is configured with. The
// contract looks for it wherever it must not be.
const Key = "sk-contract-4f1c9a7be2"

// Dialect is the vendor as the contract needs it. All files are written by us,
// not recorded; {{key}} in them stands for Key.
//
//	answer.json               an answer with text and a tool call
//	answer.sse                the same answer, streamed
//	want.json                 that answer as a schemas.Response
//	error.sse                 a stream that begins like answer.sse and breaks with an overload error
//	error_auth.json           status 401
//	error_context_length.json status 400
//	error_rate_limited.json   status 429
//	error_overloaded.json     status 529
//	error_internal.json       status 500
//	ops/*.json                optional: an exchange of any operation each, see exchange
type Dialect struct {
	Files fs.FS
}

func (d Dialect) read(t testing.TB, name string) string {
	t.Helper()
	b, err := fs.ReadFile(d.Files, name)
	if err != nil {
		t.Fatalf("reading the dialect: %v", err)
	}
	return strings.ReplaceAll(string(b), "{{key}}", Key)
}

// New returns the provider under test, which asks the API at baseURL with client
// and the credential Key.
type New func(t testing.TB, baseURL string, client *http.Client) provider.Provider

// Run tests the provider against a vendor that speaks the dialect.
func Run(t *testing.T, newProvider New, d Dialect) {
	t.Run("answers", func(t *testing.T) { answers(t, newProvider, d) })
	t.Run("refusals", func(t *testing.T) { refusals(t, newProvider, d) })
	t.Run("accidents", func(t *testing.T) { accidents(t, newProvider, d) })
	t.Run("manners", func(t *testing.T) { manners(t, newProvider, d) })
	t.Run("operations", func(t *testing.T) { operations(t, newProvider, d) })
}

// Request returns a request such as every vendor can answer.
func Request(stream bool) *schemas.Request {
	limit, heat := int64(200), 0.5
	return &schemas.Request{
		ID: "req-1", Tenant: "acme", Model: "small", Stream: stream,
		Messages: []schemas.Message{
			schemas.TextMessage(schemas.RoleSystem, "Be brief."),
			schemas.TextMessage(schemas.RoleUser, "What is the weather in Oslo?"),
		},
		Tools: []schemas.Tool{{
			Name: "weather", Description: "Tells the weather.",
			Parameters: json.RawMessage(`{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}`),
		}},
		Sampling:  &schemas.Sampling{Temperature: &heat},
		MaxTokens: &limit,
	}
}

// outcome is what became of a call.
type outcome struct {
	res     *schemas.Response
	failure *schemas.Failure
	chunks  []schemas.Chunk
}

// ask calls p once and checks what holds for every call: an answer or a failure,
// chunks in order, the request unchanged, no credential in an error.
func ask(ctx context.Context, t testing.TB, p provider.Provider, stream bool) outcome {
	t.Helper()
	req, before := Request(stream), Request(stream)
	call := provider.Call{Request: req, Model: "small-1", IdempotencyKey: "idem-1"}
	var o outcome
	var emit provider.Emit
	if stream {
		emit = func(c schemas.Chunk) error { o.chunks = append(o.chunks, c); return nil }
	}
	res, err := p.Infer(ctx, call, emit)
	o.res = res
	switch {
	case err == nil && res == nil:
		t.Error("neither an answer nor an error")
	case err != nil && res != nil:
		t.Error("both an answer and an error")
	case err != nil:
		o.failure = schemas.AsFailure(err)
		if _, ok := err.(*schemas.Failure); !ok { //nolint:errorlint // the promise is the type itself
			t.Errorf("error is a %T, want a *schemas.Failure", err)
		}
		checkSecret(t, o.failure)
		if !o.failure.Code.Known() || o.failure.Phase == "" {
			t.Errorf("failure lacks a known code or a phase: %+v", o.failure)
		}
	}
	if diff := cmp.Diff(before, req); diff != "" {
		t.Errorf("the request was changed (-before +after):\n%s", diff)
	}
	checkChunks(t, o.chunks, err == nil)
	return o
}

// checkSecret looks for the credential in all that a log could show of f.
func checkSecret(t testing.TB, f *schemas.Failure) {
	t.Helper()
	asJSON, err := json.Marshal(f)
	if err != nil {
		t.Errorf("encoding failure: %v", err)
	}
	text := fmt.Sprintf("%s %v %+v %#v", asJSON, f, *f, f)
	var chain strings.Builder
	for err := error(f); err != nil; err = unwrap(err) {
		fmt.Fprintf(&chain, " %v %+v", err, err)
	}
	text += chain.String()
	if strings.Contains(text, Key) {
		t.Errorf("the credential is in the error: %s", text)
	}
}

func unwrap(err error) error {
	if u, ok := err.(interface{ Unwrap() error }); ok {
		return u.Unwrap()
	}
	return nil
}

// checkChunks checks the order of a stream: start first, one finish for each
// choice, nothing of a choice after its finish, and usage before the end of an
// answered call.
func checkChunks(t testing.TB, chunks []schemas.Chunk, answered bool) {
	t.Helper()
	finished, used := map[int]bool{}, false
	for i, c := range chunks {
		switch {
		case (c.Type == schemas.ChunkStart) != (i == 0):
			t.Errorf("chunk %d is %s", i, c.Type)
		case c.Type == schemas.ChunkEnd || c.Type == schemas.ChunkError:
			t.Errorf("chunk %d is %s, which is the caller's", i, c.Type)
		case c.Type == schemas.ChunkUsage:
			used = true
		case c.Type != schemas.ChunkStart && finished[c.Choice]:
			t.Errorf("chunk %d is %s of choice %d, which has finished", i, c.Type, c.Choice)
		case c.Type == schemas.ChunkFinish:
			finished[c.Choice] = true
		}
	}
	if len(chunks) > 0 && answered && (!used || len(finished) == 0) {
		t.Errorf("usage %v, %d choices finished, want both", used, len(finished))
	}
}

// same compares answers but for what the vendor's form alone decides.
func same(t testing.TB, what string, got, want *schemas.Response) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(schemas.Usage{}, "Raw"), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// patience is the deadline of calls that the vendor leaves hanging: long enough for a
// busy machine to send a request and read half an answer.
const patience = time.Second

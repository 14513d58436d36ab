package schemas_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/schematest"
)

// anything returns what JSON says, numbers as they are written.
func anything(t testing.TB, b []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}

func TestAResultSaysTheSameWrittenByHandAndByTheLibrary(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		r := schematest.Filled[schemas.Result](seed)
		if seed%5 == 1 {
			r.Model = "a\"b\\c<d>\n\x01\xff\u2028"
		}
		want, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.AppendJSON([]byte("before"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(anything(t, want), anything(t, bytes.TrimPrefix(got, []byte("before")))); diff != "" {
			t.Fatalf("seed %d (-library +hand):\n%s", seed, diff)
		}
	}
}

func TestUsageSaysTheSameWrittenByHandAndByTheLibrary(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		u := schematest.Filled[schemas.Usage](seed)
		want, err := json.Marshal(u)
		if err != nil {
			t.Fatal(err)
		}
		got, err := u.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(anything(t, want), anything(t, got)); diff != "" {
			t.Fatalf("seed %d (-library +hand):\n%s", seed, diff)
		}
	}
}

func TestAResultThatIsNoJSONIsNotWritten(t *testing.T) {
	t.Parallel()
	late := time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, r := range map[string]schemas.Result{
		"a vendor's usage that is cut": {Response: &schemas.Response{Usage: schemas.Usage{Raw: json.RawMessage(`{"a":`)}}},
		"two values in one":            {Response: &schemas.Response{Usage: schemas.Usage{Raw: json.RawMessage(`1,"b":2`)}}},
		"a raw part that is cut":       {Response: &schemas.Response{Ext: map[string]json.RawMessage{"k": json.RawMessage(`[`)}}},
		"a score without a number":     {Response: &schemas.Response{Ranks: []schemas.Rank{{Score: math.NaN()}}}},
		"a time far away":              {CompletedAt: late},
	} {
		if got, err := r.AppendJSON([]byte("before")); err == nil || string(got) != "before" {
			t.Errorf("%s: wrote %s, error %v", name, got, err)
		}
	}
}

// strict reads a request as Sira did before it had a reader of its own.
func strict(b []byte, r *schemas.Request) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	return d.Decode(r)
}

func TestARequestReadsTheSameByHandAndByTheLibrary(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		b, err := json.Marshal(schematest.Filled[schemas.Request](seed))
		if err != nil {
			t.Fatal(err)
		}
		var want, got schemas.Request
		if err := strict(b, &want); err != nil {
			t.Fatal(err)
		}
		if !got.ReadJSON(b) {
			t.Fatalf("seed %d is left to the library: %s", seed, b)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d (-library +hand):\n%s", seed, diff)
		}
	}
}

func TestWhatARequestDoesNotKnowForCertainIsLeftToTheLibrary(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		``, `null`, `[]`, `{"id":"a"`, `{"id":"a"} {}`, `{"ID":"a"}`, `{"id":null}`, `{"id":1}`, `{"stream":1}`, `{"labels":{"a":1}}`, `{"labels":null}`,
		`{"max_output_tokens":1.5}`, `{"max_output_tokens":"1"}`, `{"created_at":"yesterday"}`, `{"created_at":1}`, `{"messages":{}}`, `{"messages":[1]}`,
		`{"messages":[{"role":"user","parts":[{"kinds":"text"}]}]}`, `{"messages":[],"messages":[]}`, `{"sampling":{"heat":1}}`, `{"other":1}`, `{"stream":tru}`,
	} {
		if r := new(schemas.Request); r.ReadJSON([]byte(text)) {
			t.Errorf("%s was taken for certain: %+v", text, r)
		}
	}
}

func FuzzReadJSON(f *testing.F) {
	f.Add([]byte(`{"id":"r","tenant":"t","labels":{"a":"b"},"messages":[{"role":"user","parts":[{"kind":"text","text":"h\u00e9\ud800"}]}],"max_output_tokens":5,"stream":true,"created_at":"2026-01-02T03:04:05.6Z","sampling":{"temperature":0.5,"seed":1}}`))
	f.Add([]byte(`{"id":"a","id":"b","labels":{"a":"1"},"labels":{"b":"2"},"sampling":{"seed":1},"sampling":{"n":2},"tools":[{"name":"x"}],"tools":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var want, got schemas.Request
		if !got.ReadJSON(b) {
			return
		}
		if err := strict(b, &want); err != nil {
			t.Fatalf("%q was read, and the library says %v", b, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%q (-library +hand):\n%s", b, diff)
		}
	})
}

// go test -run - -bench JSON -benchmem -cpu 1 ./schemas .
func BenchmarkRequestJSON(b *testing.B) {
	text, err := json.Marshal(&schemas.Request{
		ID: "r1", Tenant: "acme", Model: "gpt-4o-mini", CreatedAt: time.Now(), Labels: map[string]string{"team": "search"}, Messages: []schemas.Message{
			schemas.TextMessage(schemas.RoleSystem, "You answer in one sentence."),
			schemas.TextMessage(schemas.RoleUser, strings.Repeat("Why does a log-structured store write so fast? ", 2)),
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Run("hand", func(b *testing.B) {
		for b.Loop() {
			if !new(schemas.Request).ReadJSON(text) {
				b.Fatal("not read")
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		for b.Loop() {
			if err := strict(text, new(schemas.Request)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkResultJSON(b *testing.B) {
	usage := schemas.Usage{InputTokens: 40, OutputTokens: 32, Source: schemas.UsageReported, Raw: json.RawMessage(`{"prompt_tokens":40,"completion_tokens":32,"total_tokens":72}`)}
	target := schemas.Target{Provider: "openai", Kind: "openai", Model: "gpt-4o-mini", Endpoint: "openai"}
	r := schemas.Result{
		RequestID: "r1", Tenant: "acme", Status: schemas.Succeeded, Op: schemas.OpChat, Model: "gpt-4o-mini", Target: &target, Origin: "sira.requests.standard/0/1",
		Response: &schemas.Response{UpstreamID: "c-1", Model: "gpt-4o-mini", Usage: usage, Choices: []schemas.Choice{{
			Message: schemas.TextMessage(schemas.RoleAssistant, strings.Repeat("It appends, and pays with merges. ", 4)), Finish: schemas.Finish{Reason: schemas.FinishStop, Raw: "stop"},
		}}},
		Attempts:  []schemas.Attempt{{Number: 1, Target: target, Reason: "first", Outcome: schemas.OK, HTTPStatus: 200, StartedAt: time.Now(), LatencyMS: 12, Usage: usage}},
		CreatedAt: time.Now(), StartedAt: time.Now(), CompletedAt: time.Now(), Labels: map[string]string{"team": "search"},
	}
	b.Run("hand", func(b *testing.B) {
		for b.Loop() {
			if _, err := r.AppendJSON(make([]byte, 0, 2048)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("library", func(b *testing.B) {
		for b.Loop() {
			if _, err := json.Marshal(&r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

package audit

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

func job() *pipeline.Job {
	target := schemas.Target{Provider: "main", Kind: "openai", Model: "gpt-4o", Region: "eu", Endpoint: "main-0"}
	return &pipeline.Job{
		Request:   &schemas.Request{ID: "r1", Tenant: "acme", Model: "fast", Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "secret prompt")}},
		Origin:    pipeline.Origin{First: "requests/3/7", Hash: "ab12"},
		Route:     "default",
		Completed: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC),
		Decision:  []pipeline.Candidate{{Target: &target, Reason: "first of the list", Kept: true}, {Target: &schemas.Target{Provider: "b", Model: "m"}, Reason: `no "tools"`}},
		Attempts:  []schemas.Attempt{{Number: 1, Target: target, Reason: "first", Outcome: schemas.Overloaded}, {Number: 2, Target: target, Reason: "retry", Outcome: schemas.OK}},
	}
}

func record(t testing.TB, j *pipeline.Job) *schemas.AuditEvent {
	t.Helper()
	if err := New(Config{Worker: "w1", ConfigVersion: "v1"}).Handle(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	return j.Audit
}

func TestTheEventSaysWhoAskedAndWhatWasDecidedWithoutContent(t *testing.T) {
	t.Parallel()
	want := &schemas.AuditEvent{
		ID: "requests/3/7:request.completed", Time: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC), Tenant: "acme", Actor: "acme",
		Action: "request.completed", Resource: "r1", Outcome: schemas.OK, RequestHash: "ab12", ConfigVersion: "v1", Worker: "w1",
		Decision: `{"route":"default","attempts":[` +
			`{"number":1,"provider":"main","model":"gpt-4o","region":"eu","endpoint":"main-0","reason":"first","outcome":"overloaded"},` +
			`{"number":2,"provider":"main","model":"gpt-4o","region":"eu","endpoint":"main-0","reason":"retry","outcome":"ok"}],"candidates":[` +
			`{"kept":true,"provider":"main","model":"gpt-4o","region":"eu","endpoint":"main-0","reason":"first of the list"},` +
			`{"kept":false,"provider":"b","model":"m","reason":"no \"tools\""}]}`,
	}
	if diff := cmp.Diff(want, record(t, job())); diff != "" {
		t.Error(diff)
	}
}

func TestTheActorIsTheUserElseTheKeyElseTheTenant(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		labels map[string]string
		want   string
	}{
		{map[string]string{"user": "ada", "key": "k1"}, "ada"},
		{map[string]string{"user": "", "key": "k1"}, "k1"},
		{map[string]string{"team": "x"}, "acme"},
	} {
		j := job()
		j.Request.Labels = c.labels
		if got := record(t, j).Actor; got != c.want {
			t.Errorf("%v: got %q, want %q", c.labels, got, c.want)
		}
	}
}

func TestAFailureIsTheOutcome(t *testing.T) {
	t.Parallel()
	j := job()
	j.Failure, j.Attempts, j.Decision = schemas.Fail(schemas.Unroutable, "", nil), nil, nil
	got := record(t, j)
	if got.Outcome != schemas.Unroutable || got.Decision != `{"route":"default","attempts":[],"candidates":[]}` {
		t.Errorf("got %s with %s", got.Outcome, got.Decision)
	}
}

func TestALongDecisionIsCutAndStaysJSON(t *testing.T) {
	t.Parallel()
	for name, reason := range map[string]string{
		"plain": strings.Repeat("x", 1000), "quotes": strings.Repeat("\"", 1000), "wide": strings.Repeat("é\x00", 1000), "broken": strings.Repeat("\xff", 1000),
	} {
		j := job()
		j.Route = reason
		for range 100 {
			j.Attempts = append(j.Attempts, schemas.Attempt{Reason: reason})
			j.Decision = append(j.Decision, pipeline.Candidate{Target: new(schemas.Target), Reason: reason})
		}
		got := record(t, j).Decision
		var read struct {
			Attempts          []json.RawMessage `json:"attempts"`
			Candidates        []json.RawMessage `json:"candidates"`
			AttemptsOmitted   int               `json:"attempts_omitted"`
			CandidatesOmitted int               `json:"candidates_omitted"`
		}
		if err := json.Unmarshal([]byte(got), &read); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if len(got) > maxDecision {
			t.Errorf("%s: got %d bytes", name, len(got))
		}
		if len(read.Attempts)+read.AttemptsOmitted != 102 || len(read.Candidates)+read.CandidatesOmitted != 102 || len(read.Attempts) < 4 {
			t.Errorf("%s: got %d+%d attempts and %d+%d candidates", name, len(read.Attempts), read.AttemptsOmitted, len(read.Candidates), read.CandidatesOmitted)
		}
	}
}

// go test -bench Handle -benchmem ./handlers/audit.
func BenchmarkHandle(b *testing.B) {
	stage, j := New(Config{Worker: "w1", ConfigVersion: "v1"}), job()
	b.ReportAllocs()
	for b.Loop() {
		_ = stage.Handle(b.Context(), j)
	}
}

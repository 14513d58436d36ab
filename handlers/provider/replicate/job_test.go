package replicate_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/handlers/provider/replicate"
	"github.com/sira-ai/sira/schemas"
)

var _ provider.JobAdapter = (*replicate.Adapter)(nil)

func newAdapter(t testing.TB, change func(*replicate.Config)) *replicate.Adapter {
	t.Helper()
	c := replicate.Defaults
	c.APIKey = providertest.Key
	if change != nil {
		change(&c)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	a, err := replicate.NewAdapter(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func chat(stream bool) provider.Call {
	return provider.Call{Model: "meta/llama-small", Request: &schemas.Request{
		ID: "r", Tenant: "acme", Model: "m", Stream: stream,
		Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "Hello.")},
	}}
}

// reply is the vendor's answer to a request.
type reply struct {
	to         *http.Request
	status     int
	kind, body string
	headers    map[string]string
}

// decode has the adapter read the reply.
func (r reply) decode(a provider.Adapter, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	res := &http.Response{
		StatusCode: r.status, Header: http.Header{"Content-Type": {r.kind}}, Request: r.to, ContentLength: -1,
		Body: io.NopCloser(strings.NewReader(r.body)),
	}
	for k, v := range r.headers {
		res.Header.Set(k, v)
	}
	return a.Decode(res, call, emit)
}

const (
	jsonType   = "application/json"
	eventsType = "text/event-stream"
)

func prediction(status, more string) string {
	return `{"id":"abc123","model":"meta/llama-small","version":"hidden","status":"` + status + `"` + more + `}`
}

// TestAStreamIsFollowedToItsBill: the stream tells neither how it ended nor what
// it used, so the prediction is asked for afterwards, without saying it all again.
func TestAStreamIsFollowedToItsBill(t *testing.T) {
	t.Parallel()
	a, call := newAdapter(t, nil), chat(true)
	var chunks []schemas.Chunk
	emit := func(c schemas.Chunk) error { chunks = append(chunks, c); return nil }
	follow := func(job schemas.Job, contentType, body string) *schemas.Response {
		t.Helper()
		req, err := a.EncodePoll(t.Context(), call, job)
		if err != nil {
			t.Fatal(err)
		}
		res, err := reply{to: req, status: 200, kind: contentType, body: body}.decode(a, call, emit)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	created, err := a.Encode(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	res, err := reply{
		to: created, status: 201, kind: jsonType,
		body: prediction("starting", `,"urls":{"stream":"https://stream-b.svc.replicate.net/v1/streams/xyz"}`),
	}.decode(a, call, emit)
	if err != nil {
		t.Fatal(err)
	}
	if res.Job == nil || res.Job.PollURL != "https://stream-b.svc.replicate.net/v1/streams/xyz" || res.Job.State.Done() {
		t.Fatalf("job %+v, want one whose poll is the stream", res.Job)
	}
	poll, err := a.EncodePoll(t.Context(), call, *res.Job)
	if err != nil || poll.Header.Get("Accept") != eventsType || poll.Header.Get("Authorization") == "" ||
		poll.URL.RequestURI() != "/v1/streams/xyz" {
		t.Fatalf("poll %+v, %v: want an authorized request for events", poll, err)
	}
	res = follow(*res.Job, eventsType, "event: output\ndata: Good\n\nevent: output\ndata:  day\n\nevent: done\ndata: {}\n\n")
	if res.Job == nil || res.Job.State.Done() || res.Job.ID != "abc123" {
		t.Fatalf("after the stream: %+v, want a job to ask for", res.Job)
	}
	res = follow(*res.Job, jsonType, prediction("processing", `,"output":["Good"," day"]`))
	if res.Job == nil || res.Job.State != schemas.JobRunning {
		t.Fatalf("still running: %+v", res.Job)
	}
	res = follow(*res.Job, jsonType, prediction("succeeded", `,"output":["Good"," day"],"metrics":{"input_token_count":3,"output_token_count":2,"predict_time":0.5}`))
	if res.Text() != "Good day" || res.Usage.InputTokens != 3 || res.Usage.OutputTokens != 2 || res.Usage.Source != schemas.UsageReported {
		t.Errorf("answer %+v", res)
	}
	var types []schemas.ChunkType
	for _, c := range chunks {
		types = append(types, c.Type)
	}
	want := []schemas.ChunkType{schemas.ChunkStart, schemas.ChunkText, schemas.ChunkText, schemas.ChunkFinish, schemas.ChunkUsage}
	if diff := cmp.Diff(want, types); diff != "" {
		t.Errorf("chunks (-want +emitted):\n%s", diff)
	}
}

func TestAPollReadsEachState(t *testing.T) {
	t.Parallel()
	second := &schemas.Usage{Source: schemas.UsageReported, Units: map[string]decimal.Decimal{"gpu_seconds": decimal.RequireFromString("1.25")}}
	tests := []struct {
		body  string
		state schemas.JobState
		code  schemas.Code
		usage *schemas.Usage
	}{
		{prediction("starting", ``), schemas.JobQueued, "", nil},
		{prediction("processing", `,"logs":"10%|#\n 45%|##"`), schemas.JobRunning, "", nil},
		{prediction("processing", `,"output":["half of it"]`), schemas.JobRunning, "", nil},
		{prediction("succeeded", `,"output":["all"]`), schemas.JobSucceeded, "", nil},
		{prediction("succeeded", `,"output":null`), "", schemas.MalformedResponse, nil},
		{prediction("succeeded", `,"output":null,"data_removed":true`), "", schemas.Expired, nil},
		{prediction("canceled", `,"metrics":{"predict_time":1.25}`), "", schemas.Cancelled, second},
		{prediction("aborted", ``), "", schemas.Timeout, nil},
		{prediction("failed", `,"error":"CUDA out of memory. Tried to allocate 2 GiB","metrics":{"predict_time":1.25}`), "", schemas.Internal, second},
		{prediction("failed", `,"error":"NSFW content detected."`), "", schemas.ContentFiltered, nil},
		{prediction("failed", `,"error":"The input or output was flagged as sensitive. (E005)"`), "", schemas.ContentFiltered, nil},
		{prediction("failed", `,"error":"Service is unavailable due to high demand (E003)"`), "", schemas.Overloaded, nil},
		{prediction("failed", `,"error":"Prediction interrupted; please retry (code: PA)"`), "", schemas.Internal, nil},
		{prediction("failed", `,"error":null`), "", schemas.Internal, nil},
		{prediction("resting", ``), "", schemas.MalformedResponse, nil},
		{`{"status":"processing"}`, "", schemas.MalformedResponse, nil},
	}
	a, call := newAdapter(t, nil), chat(false)
	for _, tt := range tests {
		req, err := a.EncodePoll(t.Context(), call, schemas.Job{ID: "abc123"})
		if err != nil || req.URL.Path != "/v1/predictions/abc123" || req.Method != http.MethodGet {
			t.Fatalf("poll %+v, %v", req, err)
		}
		res, err := reply{to: req, status: 200, kind: jsonType, body: tt.body}.decode(a, call, nil)
		if tt.code != "" {
			f := schemas.AsFailure(err)
			if f == nil || f.Code != tt.code {
				t.Errorf("%s: %+v, want %s", tt.body, f, tt.code)
				continue
			}
			if diff := cmp.Diff(tt.usage, f.Usage, cmpopts.IgnoreFields(schemas.Usage{}, "Raw")); diff != "" {
				t.Errorf("%s: usage (-want +got):\n%s", tt.body, diff)
			}
			continue
		}
		if err != nil || res.Job == nil || res.Job.State != tt.state {
			t.Errorf("%s: %+v, %v, want %s", tt.body, res, err, tt.state)
		}
	}
}

func TestAJobIsCancelled(t *testing.T) {
	t.Parallel()
	req, err := newAdapter(t, nil).EncodeCancel(t.Context(), chat(false), schemas.Job{ID: "abc123"})
	if err != nil || req.Method != http.MethodPost || req.URL.Path != "/v1/predictions/abc123/cancel" {
		t.Errorf("cancel %+v, %v", req, err)
	}
}

// TestTheCredentialGoesToTheVendorOnly: a job's addresses come from outside.
func TestTheCredentialGoesToTheVendorOnly(t *testing.T) {
	t.Parallel()
	a, call := newAdapter(t, nil), chat(true)
	for _, u := range []string{
		"https://evil.example/v1/streams/x", "http://stream.replicate.com/x", "https://replicate.com.evil.example/x",
		"https://u:p@stream.replicate.com/x", "::",
	} {
		if _, err := a.EncodePoll(t.Context(), call, schemas.Job{ID: "abc123", PollURL: u}); err == nil {
			t.Errorf("a poll goes to %s", u)
		}
		res, err := reply{status: 201, kind: jsonType, body: prediction("starting", `,"urls":{"stream":"`+u+`"}`)}.decode(a, call, nil)
		if err != nil || res.Job.PollURL != "" {
			t.Errorf("the stream at %s is followed: %+v, %v", u, res, err)
		}
	}
	for _, id := range []string{"", "../account", "a/b", "a?b"} {
		if _, err := a.EncodePoll(t.Context(), call, schemas.Job{ID: id}); err == nil {
			t.Errorf("a poll of id %q", id)
		}
	}
}

// TestALostStreamIsNoLostAnswer: the prediction lives on without its stream.
func TestALostStreamIsNoLostAnswer(t *testing.T) {
	t.Parallel()
	a, call := newAdapter(t, nil), chat(true)
	req, err := a.EncodePoll(t.Context(), call, schemas.Job{ID: "abc123", PollURL: "https://stream.replicate.com/v1/x"})
	if err != nil {
		t.Fatal(err)
	}
	res, err := reply{to: req, status: 410, kind: jsonType, body: `{"detail":"gone"}`}.decode(a, call, nil)
	if err != nil || res.Job == nil || res.Job.State.Done() || res.Job.PollURL != "" {
		t.Errorf("%+v, %v: want the job, to ask for by its id", res, err)
	}
}

func TestTheDeadlineIsTheVendorsToo(t *testing.T) {
	t.Parallel()
	for in, sent := range map[time.Duration]bool{time.Minute: true, 2 * time.Second: false, -time.Minute: false} {
		call := chat(false)
		call.Request.Deadline = time.Now().Add(in)
		req, err := newAdapter(t, nil).Encode(t.Context(), call)
		if got := req.Header.Get("Cancel-After"); err != nil || (got != "") != sent {
			t.Errorf("deadline in %v: Cancel-After %q, %v", in, got, err)
		}
	}
}

// TestTheMarksOfAPollStayHere: what Decode must know of a poll is in the fragment
// of its address, which a client keeps to itself.
func TestTheMarksOfAPollStayHere(t *testing.T) {
	t.Parallel()
	const done = "event: output\ndata: Good day\n\nevent: done\ndata: {}\n\n"
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.RequestURI, "#"):
			t.Errorf("sent %s", r.RequestURI)
		case strings.HasPrefix(r.URL.Path, "/streams/"):
			w.Header().Set("Content-Type", eventsType)
			_, _ = io.WriteString(w, done)
		case r.Method == http.MethodGet:
			w.Header().Set("Content-Type", jsonType)
			_, _ = io.WriteString(w, prediction("succeeded", `,"output":["Good day"],"metrics":{"output_token_count":2}`))
		default:
			w.Header().Set("Content-Type", jsonType)
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, prediction("starting", `,"urls":{"stream":"http://`+r.Host+`/streams/x"}`))
		}
	}))
	t.Cleanup(s.Close)
	a, call := newAdapter(t, func(c *replicate.Config) { c.BaseURL = s.URL }), chat(true)
	var said string
	emit := func(c schemas.Chunk) error { said += c.Text; return nil }
	next, err := a.Encode(t.Context(), call)
	for range 3 {
		if err != nil {
			t.Fatal(err)
		}
		res, err := s.Client().Do(next)
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.Decode(res, call, emit)
		_ = res.Body.Close()
		switch {
		case err != nil:
			t.Fatal(err)
		case got.Job.State.Done():
			if got.Text() != "Good day" || said != "Good day" || got.Usage.OutputTokens != 2 {
				t.Errorf("answer %+v, emitted %q", got, said)
			}
			return
		}
		if next, err = a.EncodePoll(t.Context(), call, *got.Job); err != nil {
			t.Fatal(err)
		}
	}
	t.Error("the job is not done after its stream and a poll")
}

package anthropic

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

func batchVendor(t *testing.T, answers map[string]string) (provider.Batcher, *[]string) {
	t.Helper()
	var asked []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		at := r.Method + " " + strings.TrimPrefix(r.URL.Path, "/v1/messages/batches")
		asked = append(asked, at+"\n"+string(body))
		answer, ok := answers[at]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	c := Defaults
	c.BaseURL, c.APIKey = s.URL, "key"
	p, err := New(c, catalog.Env{HTTP: s.Client()})
	if err != nil {
		t.Fatal(err)
	}
	return provider.BatcherOf(p), &asked
}

func twoCalls() provider.Batch {
	call := func(text string) provider.Call {
		return provider.Call{Model: "m", Request: &schemas.Request{ID: text, Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, text)}}}
	}
	return provider.Batch{ID: "b0", Since: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC), Calls: []provider.Call{call("one"), {}, call("three")}}
}

func refusedNone(t *testing.T) func(int, error) {
	return func(i int, why error) { t.Errorf("call %d was refused: %v", i, why) }
}

func TestABatchIsAListOfCalls(t *testing.T) {
	t.Parallel()
	b, asked := batchVendor(t, map[string]string{"POST ": `{"id":"msgbatch_1","processing_status":"in_progress"}`})
	job, err := b.Begin(t.Context(), twoCalls(), refusedNone(t))
	if err != nil || job.ID != "msgbatch_1" || job.State != schemas.JobRunning {
		t.Fatalf("job %+v, error %v", job, err)
	}
	if said := (*asked)[0]; !strings.Contains(said, `{"requests":[{"custom_id":"b0-0","params":{"model":"m",`) || !strings.Contains(said, `"custom_id":"b0-2"`) || strings.Contains(said, "b0-1") {
		t.Errorf("asked %s", said)
	}
}

const (
	listed = `{"data":[` +
		`{"id":"young","processing_status":"in_progress","created_at":"2026-11-23T12:00:05Z","request_counts":{"processing":2}},` +
		`{"id":"large","processing_status":"in_progress","created_at":"2026-11-23T12:00:04Z","request_counts":{"processing":3}},` +
		`{"id":"over","processing_status":"ended","created_at":"2026-11-23T12:00:03Z","request_counts":{"succeeded":2}},` +
		`{"id":"old","processing_status":"in_progress","created_at":"2026-11-22T12:00:03Z","request_counts":{"processing":2}}]}`
	young  = `{"id":"young","processing_status":"in_progress"}`
	over   = `{"id":"over","processing_status":"ended"}`
	ours   = `{"custom_id":"b0-2","result":{"type":"canceled"}}`
	theirs = `{"custom_id":"b1-2","result":{"type":"canceled"}}`
)

// A worker began the batch and was killed before it could tell anybody. The vendor
// has no word for whose a batch is: only its results show that.
func TestABatchThatMayHaveBeenBegunIsLookedFor(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answers map[string]string
		id      string
		asked   int
	}{
		"it has ended":               {map[string]string{"GET ": listed, "GET /young": young, "GET /over": over, "GET /over/results": ours}, "over", 4},
		"it may be one that goes on": {map[string]string{"GET ": listed, "GET /young": young, "GET /over": over, "GET /over/results": theirs}, "young|", 4},
		"there is none":              {map[string]string{"GET ": `{"data":[]}`, "POST ": `{"id":"new"}`}, "new", 2},
	} {
		b, asked := batchVendor(t, tt.answers)
		again := twoCalls()
		again.Again = true
		job, err := b.Begin(t.Context(), again, refusedNone(t))
		if err != nil || job.ID != tt.id || len(*asked) != tt.asked {
			t.Errorf("%s: job %+v, error %v, asked %q", name, job, err, *asked)
		}
	}
}

func TestABatchOfSomebodyElseIsNotTakenForOurs(t *testing.T) {
	t.Parallel()
	b, _ := batchVendor(t, map[string]string{"GET /young": `{"id":"young","processing_status":"ended"}`, "GET /young/results": theirs})
	if _, err := b.Look(t.Context(), twoCalls(), schemas.Job{ID: "young|"}); err != provider.ErrNoBatch { //nolint:errorlint // it is returned as it is
		t.Errorf("error %v, want ErrNoBatch", err)
	}
}

func TestLinesOfResultsAreAnswersAndFailures(t *testing.T) {
	t.Parallel()
	b, _ := batchVendor(t, map[string]string{"GET /m/results": `{"custom_id":"b0-2","result":{"type":"succeeded","message":{"id":"x","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"drei"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2,"service_tier":"batch"}}}}
{"custom_id":"b9-0","result":{"type":"succeeded"}}
{"custom_id":"b0-0","result":{"type":"errored","error":{"type":"error","error":{"type":"invalid_request_error","message":"no"}}}}
`})
	got := map[int]string{}
	err := b.Results(t.Context(), twoCalls(), schemas.Job{ID: "m"}, func(i int, res *schemas.Response, err error) {
		if err != nil {
			got[i] = string(schemas.AsFailure(err).Code)
			return
		}
		got[i] = res.Text() + " " + res.Usage.Tier
	})
	if diff := cmp.Diff(map[int]string{0: "invalid_request", 2: "drei batch"}, got); err != nil || diff != "" {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
}

package anthropic

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

func built(t testing.TB, baseURL string, client *http.Client) provider.Provider {
	t.Helper()
	c := Defaults
	c.BaseURL, c.APIKey = baseURL, providertest.Key
	p, err := New(c, catalog.Env{HTTP: client})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestABatchIsAListOfCalls(t *testing.T) {
	t.Parallel()
	b, vendor := providertest.Batches(t, built, "/v1/messages/batches", map[string]string{"POST ": `{"id":"msgbatch_1","processing_status":"in_progress"}`})
	job, err := b.Begin(t.Context(), providertest.TwoCalls(), providertest.NoneRefused(t))
	if err != nil || job.ID != "msgbatch_1" || job.State != schemas.JobRunning {
		t.Fatalf("job %+v, error %v", job, err)
	}
	if said := vendor.Asked()[0]; !strings.Contains(said, `{"requests":[{"custom_id":"b0-0","params":{"model":"m",`) || !strings.Contains(said, `"custom_id":"b0-2"`) || strings.Contains(said, "b0-1") {
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
		b, vendor := providertest.Batches(t, built, "/v1/messages/batches", tt.answers)
		again := providertest.TwoCalls()
		again.Again = true
		job, err := b.Begin(t.Context(), again, providertest.NoneRefused(t))
		if err != nil || job.ID != tt.id || len(vendor.Asked()) != tt.asked {
			t.Errorf("%s: job %+v, error %v, asked %q", name, job, err, vendor.Asked())
		}
	}
}

func TestABatchOfSomebodyElseIsNotTakenForOurs(t *testing.T) {
	t.Parallel()
	b, _ := providertest.Batches(t, built, "/v1/messages/batches", map[string]string{"GET /young": `{"id":"young","processing_status":"ended"}`, "GET /young/results": theirs})
	if _, err := b.Look(t.Context(), providertest.TwoCalls(), schemas.Job{ID: "young|"}); err != provider.ErrNoBatch { //nolint:errorlint // it is returned as it is
		t.Errorf("error %v, want ErrNoBatch", err)
	}
}

func TestLinesOfResultsAreAnswersAndFailures(t *testing.T) {
	t.Parallel()
	b, _ := providertest.Batches(t, built, "/v1/messages/batches", map[string]string{"GET /m/results": `{"custom_id":"b0-2","result":{"type":"succeeded","message":{"id":"x","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"drei"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2,"service_tier":"batch"}}}}
{"custom_id":"b9-0","result":{"type":"succeeded"}}
{"custom_id":"b0-0","result":{"type":"errored","error":{"type":"error","error":{"type":"invalid_request_error","message":"no"}}}}
`})
	got := map[int]string{}
	err := b.Results(t.Context(), providertest.TwoCalls(), schemas.Job{ID: "m"}, func(i int, res *schemas.Response, err error) {
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

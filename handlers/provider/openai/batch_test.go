package openai

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
	c.BaseURL = baseURL + "/v1"
	p, err := New(c, catalog.Env{HTTP: client})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestABatchIsAFileOfCallsWithItsName(t *testing.T) {
	t.Parallel()
	b, vendor := providertest.Batches(t, built, "", map[string]string{
		"POST /v1/files":   `{"id":"f1"}`,
		"POST /v1/batches": `{"id":"batch_1","status":"validating","metadata":{"sira_batch":"b0"}}`,
	})
	job, err := b.Begin(t.Context(), providertest.TwoCalls(), providertest.NoneRefused(t))
	if err != nil || job.ID != "batch_1" || job.State != schemas.JobQueued {
		t.Fatalf("job %+v, error %v", job, err)
	}
	file, made := vendor.Asked()[0], vendor.Asked()[1]
	for _, want := range []string{
		`{"custom_id":"b0-0","method":"POST","url":"/v1/chat/completions","body":{"model":"m",`, `"custom_id":"b0-2"`, `name="purpose"`,
	} {
		if !strings.Contains(file, want) {
			t.Errorf("the file lacks %s:\n%s", want, file)
		}
	}
	if strings.Contains(file, "b0-1") || !strings.Contains(made, `"metadata":{"sira_batch":"b0"}`) || !strings.Contains(made, `"input_file_id":"f1"`) {
		t.Errorf("asked:\n%s\n%s", file, made)
	}
}

// A worker began the batch and was killed before it could tell anybody.
func TestABatchThatWasBegunIsFoundByItsName(t *testing.T) {
	t.Parallel()
	b, vendor := providertest.Batches(t, built, "", map[string]string{
		"GET /v1/batches": `{"data":[{"id":"batch_9","metadata":{"sira_batch":"other"}},{"id":"batch_8","status":"in_progress","metadata":{"sira_batch":"b0"}}],"has_more":false}`,
	})
	again := providertest.TwoCalls()
	again.Again = true
	job, err := b.Begin(t.Context(), again, providertest.NoneRefused(t))
	if err != nil || job.ID != "batch_8" || len(vendor.Asked()) != 1 {
		t.Errorf("job %+v, error %v, asked %v", job, err, vendor.Asked())
	}
}

func TestLinesOfResultsAreAnswersAndFailures(t *testing.T) {
	t.Parallel()
	b, _ := providertest.Batches(t, built, "", map[string]string{
		"GET /v1/batches/batch_1": `{"id":"batch_1","status":"expired","output_file_id":"out","error_file_id":"err"}`,
		"GET /v1/files/out/content": `{"custom_id":"b0-2","response":{"status_code":200,"request_id":"r","body":{"id":"c","model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"drei"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}}}
{"custom_id":"foreign-1","response":{"status_code":200,"body":{}}}
`,
		"GET /v1/files/err/content": `{"custom_id":"b0-0","response":null,"error":{"code":"batch_expired","message":"x"}}`,
	})
	got := map[int]string{}
	err := b.Results(t.Context(), providertest.TwoCalls(), schemas.Job{ID: "batch_1"}, func(i int, res *schemas.Response, err error) {
		if err != nil {
			got[i] = err.Error()
			return
		}
		got[i] = res.Text()
	})
	if diff := cmp.Diff(map[int]string{0: "timeout (batch_expired)", 2: "drei"}, got); err != nil || diff != "" {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
}

func TestABatchThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	b, _ := providertest.Batches(t, built, "", map[string]string{
		"GET /v1/batches/batch_1": `{"id":"batch_1","status":"failed","errors":{"data":[{"code":"token_limit_exceeded","message":"Enqueued token limit reached"}]}}`,
	})
	_, err := b.Look(t.Context(), providertest.TwoCalls(), schemas.Job{ID: "batch_1"})
	if f := schemas.AsFailure(err); f == nil || f.Code != schemas.RateLimited || f.VendorCode != "token_limit_exceeded" {
		t.Errorf("failure %+v", f)
	}
}

func TestCopiesOfTheAPIHaveNoBatches(t *testing.T) {
	t.Parallel()
	a, err := NewAdapter(Defaults, Variant{Name: "azure"})
	if err != nil {
		t.Fatal(err)
	}
	if provider.BatcherOf(provider.OverHTTP(a, nil)) != nil {
		t.Error("a copy of the API was taken to have batches")
	}
}

func FuzzBatchResultIsReadOrRefused(f *testing.F) {
	f.Add([]byte(`{"custom_id":"b0-0","response":{"status_code":200,"body":{"choices":[]}}}`))
	f.Add([]byte(`{"custom_id":"b0-0","error":{"code":"batch_expired"}}`))
	f.Add([]byte(`{"custom_id":"b0-00"}`))
	a, err := NewAdapter(Defaults, Variant{Name: kind})
	if err != nil {
		f.Fatal(err)
	}
	b, _ := a.Batches(nil).(*batches)
	f.Fuzz(func(t *testing.T, line []byte) {
		asked := providertest.TwoCalls()
		err := b.line(asked, line, func(i int, res *schemas.Response, err error) {
			if i < 0 || i >= len(asked.Calls) || (res == nil) == (err == nil) {
				t.Errorf("place %d, response %v, error %v", i, res, err)
			}
		})
		if err != nil && !schemas.AsFailure(err).Code.Known() {
			t.Errorf("error %v has no class", err)
		}
	})
}

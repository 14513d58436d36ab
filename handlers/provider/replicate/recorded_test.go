package replicate_test

import (
	"encoding/json"
	"testing"

	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/schemas"
)

// TestRecordedPredictionsAreReadAsTheyAre: most were still at work when they were
// asked for, and none of these may pass for an answer.
func TestRecordedPredictionsAreReadAsTheyAre(t *testing.T) {
	t.Parallel()
	states := map[string]schemas.JobState{"starting": schemas.JobQueued, "processing": schemas.JobRunning}
	for _, op := range []string{"predictions.create", "predictions.get"} {
		all := providertest.Recorded(t, "replicate", op)
		for i := range all {
			x := &all[i]
			t.Run(x.ID, func(t *testing.T) {
				res, failure, _ := providertest.Replay(t, newToolless, x)
				if x.Response.Status >= 300 {
					if failure == nil || failure.Code != schemas.InvalidRequest {
						t.Errorf("failure %+v, want invalid_request", failure)
					}
					return
				}
				if failure != nil {
					t.Fatalf("failure %+v", failure)
				}
				var said struct {
					ID, Status string
					Output     []string
					Metrics    struct {
						PredictTime json.Number `json:"predict_time"`
					}
				}
				if err := json.Unmarshal([]byte(x.Response.Body), &said); err != nil {
					t.Fatal(err)
				}
				if want := states[said.Status]; want != "" {
					if res.Job == nil || res.Job.State != want || res.Job.ID != said.ID || len(res.Choices) > 0 {
						t.Errorf("%+v, want the job %s, %s", res, said.ID, want)
					}
					return
				}
				if seconds := res.Usage.Units["gpu_seconds"].String(); res.Text() != said.Output[0] || seconds != said.Metrics.PredictTime.String() {
					t.Errorf("text %q and %s seconds, want %q and %s", res.Text(), seconds, said.Output[0], said.Metrics.PredictTime)
				}
			})
		}
	}
}

package azure_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/schemas"
)

// What exactly the recordings say is compared by make exchanges; here is what
// holds of all of them.
func TestRecordedAnswersAreReadWithTheirFilter(t *testing.T) {
	t.Parallel()
	all := providertest.Recorded(t, "azure_openai", "chat")
	answered, judged := 0, 0
	for i := range all {
		x := &all[i]
		if strings.HasPrefix(x.Response.Body, `{"type": "json"`) {
			continue // in an envelope of the recorder's
		}
		res, failure, _ := providertest.Replay(t, newProvider, x)
		if x.Response.Status >= 300 {
			if failure == nil {
				t.Errorf("%s: an answer from status %d", x.ID, x.Response.Status)
			}
			continue
		}
		if failure != nil {
			t.Errorf("%s: failure %+v", x.ID, failure)
			continue
		}
		answered++
		if res.Model == "" || len(res.Choices) == 0 || res.Choices[0].Finish.Reason == schemas.FinishUnknown {
			t.Errorf("%s: answer %+v", x.ID, res)
		}
		if strings.Contains(x.Response.Body, `"severity"`) {
			judged++
			if !slices.ContainsFunc(res.Safety, func(s schemas.Safety) bool { return s.Severity != "" && s.Category != "" }) {
				t.Errorf("%s: nothing of the filter in %+v", x.ID, res.Safety)
			}
		}
	}
	t.Logf("%d answers, %d with a filter", answered, judged)
}

package together_test

import (
	"testing"

	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/schemas"
)

// TestRecordedAnswersAreReadAsTheyAre replays what Together really sent. The whole
// comparison with the bodies is integration/exchanges'.
func TestRecordedAnswersAreReadAsTheyAre(t *testing.T) {
	t.Parallel()
	all := providertest.Recorded(t, "together", "chat")
	for i := range all {
		x := &all[i]
		t.Run(x.ID, func(t *testing.T) {
			res, failure, chunks := providertest.Replay(t, newProvider, x)
			if x.Response.Status >= 300 {
				if failure == nil || res != nil {
					t.Fatalf("answer %+v, want a failure", res)
				}
				return
			}
			if failure != nil {
				t.Fatalf("failure %+v, want an answer", failure)
			}
			if res.UpstreamID == "" || res.Model == "" || !x.Stream && res.Usage.Source != schemas.UsageReported {
				t.Errorf("answer %+v lacks the vendor's id, model or usage", res)
			}
			var text string
			for _, c := range chunks {
				if c.Type == schemas.ChunkText {
					text += c.Text
				}
			}
			if x.Stream && text != res.Text() {
				t.Errorf("the chunks' text is %q, the answer's %q", text, res.Text())
			}
		})
	}
}

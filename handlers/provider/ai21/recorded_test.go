package ai21_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/schemas"
)

// TestRecordedCompletionsAreReadAsTheyAre replays what AI21 really sent. Chats
// with Jamba were never recorded.
func TestRecordedCompletionsAreReadAsTheyAre(t *testing.T) {
	t.Parallel()
	all := providertest.Recorded(t, "ai21", "j2-jumbo-instruct.complete")
	for i := range all {
		x := &all[i]
		if x.Response.Status != http.StatusOK {
			continue // integration/exchanges reads refusals
		}
		t.Run(x.ID, func(t *testing.T) {
			var body struct {
				Prompt struct {
					Tokens []json.RawMessage `json:"tokens"`
				} `json:"prompt"`
				Completions []struct {
					Data struct {
						Text   string            `json:"text"`
						Tokens []json.RawMessage `json:"tokens"`
					} `json:"data"`
				} `json:"completions"`
			}
			if err := json.Unmarshal([]byte(x.Response.Body), &body); err != nil {
				t.Fatal(err)
			}
			p := newProvider(t, "http://vendor.test", &http.Client{Transport: always(x.Response.Body)})
			req := &schemas.Request{Op: schemas.OpComplete, Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "a")}}
			res, err := p.Infer(t.Context(), provider.Call{Request: req, Model: "j2-jumbo-instruct"}, nil)
			if err != nil {
				t.Fatalf("failure %+v, want an answer", err)
			}
			said := body.Completions[0].Data
			if res.Text() != said.Text || res.Usage.InputTokens != int64(len(body.Prompt.Tokens)) || res.Usage.OutputTokens != int64(len(said.Tokens)) {
				t.Errorf("answer %q with usage %+v differs from the body", res.Text(), res.Usage)
			}
		})
	}
}

package huggingface_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/schemas"
)

// said is the text of a recorded answer, and how many tokens it took.
func said(t *testing.T, x *providertest.Exchange) (text string, tokens int64) {
	t.Helper()
	bodies := []string{x.Response.Body}
	if x.Stream {
		bodies = nil
		for line := range strings.Lines(x.Response.Body) {
			data, ok := strings.CutPrefix(strings.TrimSpace(line), "data:")
			if data = strings.TrimSpace(data); ok && data != "[DONE]" {
				bodies = append(bodies, data)
			}
		}
	}
	type message struct{ Content string }
	for _, b := range bodies {
		var c struct {
			Choices []struct {
				Index          int
				Message, Delta message
			}
			Usage struct {
				Output int64 `json:"completion_tokens"`
			}
		}
		if err := json.Unmarshal([]byte(b), &c); err != nil {
			t.Fatal(err)
		}
		tokens = max(tokens, c.Usage.Output)
		for _, o := range c.Choices {
			if o.Index == 0 {
				text += o.Message.Content + o.Delta.Content
			}
		}
	}
	return text, tokens
}

func TestRecordedChatsAreReadAsTheyAre(t *testing.T) {
	t.Parallel()
	codes := map[int]schemas.Code{401: schemas.Auth, 422: schemas.InvalidRequest, 500: schemas.Internal}
	all := providertest.Recorded(t, "huggingface", "chat")
	answered := 0
	for i := range all {
		x := &all[i]
		t.Run(x.ID, func(t *testing.T) {
			res, failure, _ := providertest.Replay(t, serving("router"), x)
			if x.Response.Status >= 300 {
				if want := codes[x.Response.Status]; failure == nil || failure.Code != want {
					t.Errorf("failure %+v, want %s", failure, want)
				}
				return
			}
			if strings.HasPrefix(x.Response.Body, `{"type": "json"`) { // a recorder's envelope, not the vendor's
				if failure == nil || failure.Code != schemas.MalformedResponse {
					t.Errorf("failure %+v, want malformed_response", failure)
				}
				return
			}
			if failure != nil {
				t.Fatalf("failure %+v", failure)
			}
			answered++
			text, tokens := said(t, x)
			if res.Text() != text || tokens > 0 && res.Usage.OutputTokens != tokens {
				t.Errorf("read %q, %d tokens, want %q, %d", res.Text(), res.Usage.OutputTokens, text, tokens)
			}
		})
	}
	t.Logf("%d answers, %d in all", answered, len(all))
}

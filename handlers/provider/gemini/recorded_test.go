package gemini_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/schemas"
)

// heard is what matters of an answer, in a form that a test can work out from the
// vendor's JSON without the adapter.
type heard struct {
	Text, Thought string // of the first candidate
	Signatures    []string
	Calls         []string
	Finished      bool
	Input, Output int64
	Cached        int64
}

// piece is as much of a response as heard needs.
type piece struct {
	Candidates []struct {
		Content struct {
			Parts []struct {
				Text      string
				Thought   bool
				Signature string                 `json:"thoughtSignature"`
				Call      *struct{ Name string } `json:"functionCall"`
			}
		}
		Finish any `json:"finishReason"`
	}
	Usage struct {
		Prompt   int64 `json:"promptTokenCount"`
		Tools    int64 `json:"toolUsePromptTokenCount"`
		Answer   int64 `json:"candidatesTokenCount"`
		Thoughts int64 `json:"thoughtsTokenCount"`
		Cached   int64 `json:"cachedContentTokenCount"`
		Total    int64 `json:"totalTokenCount"`
	} `json:"usageMetadata"`
}

func pieces(t *testing.T, body string) []piece {
	t.Helper()
	var all []piece
	switch body = strings.TrimSpace(body); body[0] {
	case '[':
		unmarshal(t, body, &all)
	case '{':
		all = make([]piece, 1)
		unmarshal(t, body, &all[0])
	default:
		for line := range strings.Lines(body) {
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				var p piece
				unmarshal(t, data, &p)
				all = append(all, p)
			}
		}
	}
	return all
}

// expected works the answer out from the recorded body.
func expected(t *testing.T, x *providertest.Exchange) heard {
	t.Helper()
	var h heard
	for _, p := range pieces(t, x.Response.Body) {
		if u := p.Usage; u.Total+u.Prompt > 0 {
			h.Input, h.Output, h.Cached = u.Prompt+u.Tools, u.Answer+u.Thoughts, u.Cached
		}
		for _, c := range p.Candidates {
			h.Finished = h.Finished || c.Finish != nil
			for _, part := range c.Content.Parts {
				if part.Thought {
					h.Thought += part.Text
				} else {
					h.Text += part.Text
				}
				if part.Call != nil {
					h.Calls = append(h.Calls, part.Call.Name)
				}
				if part.Signature != "" {
					h.Signatures = append(h.Signatures, part.Signature)
				}
			}
		}
	}
	return h
}

// got puts the adapter's answer into the same form. Signatures of the vendor's own
// parts are within those.
func got(t *testing.T, res *schemas.Response) heard {
	t.Helper()
	u := res.Usage
	h := heard{Text: res.Text(), Finished: true, Input: u.InputTokens, Output: u.OutputTokens, Cached: u.CacheReadTokens}
	if u.Source != schemas.UsageReported { // one recording has none
		h.Input, h.Output = 0, 0
	}
	m := res.Choices[0].Message
	if raw := m.Ext["gemini"]; len(raw) > 0 {
		var x struct {
			Parts []struct {
				Part struct {
					Signature string `json:"thoughtSignature"`
				}
			}
		}
		if err := json.Unmarshal(raw, &x); err != nil {
			t.Fatal(err)
		}
		for _, p := range x.Parts {
			if p.Part.Signature != "" {
				h.Signatures = append(h.Signatures, p.Part.Signature)
			}
		}
	}
	for _, p := range m.Parts {
		switch {
		case p.ToolCall != nil:
			h.Calls = append(h.Calls, p.ToolCall.Name)
		case p.Reasoning != nil:
			h.Thought += p.Reasoning.Text
			if p.Reasoning.Signature != "" {
				h.Signatures = append(h.Signatures, p.Reasoning.Signature)
			}
		}
	}
	return h
}

func TestRecordedAnswersAreReadAsTheyAre(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"generateContent", "streamGenerateContent"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			answered, refused := 0, 0
			all := providertest.Recorded(t, "gemini", op)
			for i := range all {
				x := &all[i]
				res, f, _ := providertest.Replay(t, newProvider, x)
				if x.Response.Status >= 300 {
					refused++
					if f == nil || f.HTTPStatus != x.Response.Status || f.Code == schemas.Internal {
						t.Errorf("%s: failure %+v, want one of status %d", x.ID, f, x.Response.Status)
					}
					continue
				}
				answered++
				if f != nil {
					t.Errorf("%s: failure %+v, want an answer", x.ID, f)
					continue
				}
				if diff := cmp.Diff(expected(t, x), got(t, res)); diff != "" {
					t.Errorf("%s: answer (-want +got):\n%s", x.ID, diff)
				}
			}
			t.Logf("%d answers, %d refusals", answered, refused)
		})
	}
}

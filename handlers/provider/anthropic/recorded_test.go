package anthropic_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/schemas"
)

// said is what matters of an answer, in a form that a test can work out from the
// vendor's JSON without the adapter.
type said struct {
	Texts, Thoughts, Signatures string
	Calls                       []string // id and name of each
	Inputs                      []any    // arguments of each, parsed
	Finish                      schemas.FinishReason
	Input, CacheRead, CacheWrite,
	CacheWrite1h, Output, Thinking int64
}

var reasons = map[string]schemas.FinishReason{
	"end_turn": schemas.FinishStop, "max_tokens": schemas.FinishLength, "tool_use": schemas.FinishToolCalls,
	"stop_sequence": schemas.FinishStopSequence, "pause_turn": schemas.FinishPause, "refusal": schemas.FinishRefusal,
}

func (s *said) count(usage any) {
	if usage == nil {
		return
	}
	for key, to := range map[string]*int64{
		"input_tokens": &s.Input, "cache_read_input_tokens": &s.CacheRead,
		"cache_creation_input_tokens": &s.CacheWrite, "output_tokens": &s.Output,
	} {
		if v := providertest.Dig(usage, key); v != nil {
			*to = providertest.Number(v)
		}
	}
	if v := providertest.Dig(usage, "cache_creation", "ephemeral_1h_input_tokens"); v != nil {
		s.CacheWrite1h = providertest.Number(v)
	}
	if v := providertest.Dig(usage, "output_tokens_details", "thinking_tokens"); v != nil {
		s.Thinking = providertest.Number(v)
	}
}

// expected works the answer out from the recorded body.
func expected(t *testing.T, x *providertest.Exchange) said {
	t.Helper()
	if x.Stream {
		return streamed(t, x.Response.Body)
	}
	var s said
	b := providertest.Parse(t, x.Response.Body)
	list, _ := b["content"].([]any)
	for _, c := range list {
		switch providertest.Text(c, "type") {
		case "text":
			s.Texts += providertest.Text(c, "text")
		case "thinking":
			s.Thoughts += providertest.Text(c, "thinking")
			s.Signatures += providertest.Text(c, "signature")
		case "tool_use", "server_tool_use":
			s.Calls = append(s.Calls, providertest.Text(c, "id")+" "+providertest.Text(c, "name"))
			s.Inputs = append(s.Inputs, providertest.Dig(c, "input"))
		}
	}
	s.Finish = reasons[providertest.Text(b["stop_reason"])]
	s.count(b["usage"])
	s.Input += s.CacheRead + s.CacheWrite
	return s
}

func streamed(t *testing.T, body string) said {
	t.Helper()
	var s said
	var args []string
	tool := false
	for line := range strings.Lines(body) {
		data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
		if !ok {
			continue
		}
		e := providertest.Parse(t, data)
		switch providertest.Text(e["type"]) {
		case "message_start":
			s.count(providertest.Dig(e, "message", "usage"))
		case "content_block_start":
			kind := providertest.Text(e, "content_block", "type")
			tool = kind == "tool_use" || kind == "server_tool_use"
			if tool {
				s.Calls = append(s.Calls, providertest.Text(e, "content_block", "id")+" "+providertest.Text(e, "content_block", "name"))
				args = append(args, "")
			}
		case "content_block_delta":
			s.Texts += providertest.Text(e, "delta", "text")
			s.Thoughts += providertest.Text(e, "delta", "thinking")
			s.Signatures += providertest.Text(e, "delta", "signature")
			if tool {
				args[len(args)-1] += providertest.Text(e, "delta", "partial_json")
			}
		case "message_delta":
			s.Finish = reasons[providertest.Text(e, "delta", "stop_reason")]
			s.count(e["usage"])
		}
	}
	for _, a := range args {
		if a == "" {
			a = "{}"
		}
		s.Inputs = append(s.Inputs, providertest.Parse(t, a))
	}
	s.Input += s.CacheRead + s.CacheWrite
	return s
}

// got puts the adapter's answer into the same form.
func got(t *testing.T, res *schemas.Response) said {
	t.Helper()
	u := res.Usage
	s := said{
		Input: u.InputTokens, CacheRead: u.CacheReadTokens, CacheWrite: u.CacheWriteTokens,
		CacheWrite1h: u.CacheWrite1h, Output: u.OutputTokens, Thinking: u.ReasoningTokens,
	}
	c := res.Choices[0]
	s.Texts, s.Finish = c.Message.Text(), c.Finish.Reason
	for _, p := range c.Message.Parts {
		switch p.Kind {
		case schemas.PartReasoning:
			s.Thoughts += p.Reasoning.Text
			s.Signatures += p.Reasoning.Signature
		case schemas.PartToolCall:
			s.Calls = append(s.Calls, p.ToolCall.ID+" "+p.ToolCall.Name)
			s.Inputs = append(s.Inputs, providertest.Parse(t, p.ToolCall.Arguments))
		}
	}
	return s
}

func TestRecordedAnswersAreReadAsTheyAre(t *testing.T) {
	t.Parallel()
	all := providertest.Recorded(t, "anthropic", "messages")
	answered, refused := 0, 0
	for i := range all {
		x := &all[i]
		t.Run(x.ID, func(t *testing.T) {
			res, failure, _ := providertest.Replay(t, newProvider, x)
			if x.Response.Status >= 300 {
				refused++
				want := map[int]schemas.Code{400: schemas.InvalidRequest, 401: schemas.Auth}[x.Response.Status]
				if failure == nil || failure.Code != want {
					t.Errorf("failure %+v, want %s", failure, want)
				}
				return
			}
			answered++
			if failure != nil {
				t.Fatalf("failure %+v, want an answer", failure)
			}
			if diff := cmp.Diff(expected(t, x), got(t, res)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
	t.Logf("%d answers, %d refusals", answered, refused)
}

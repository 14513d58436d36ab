package openai_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/schemas"
)

// said is what matters of an answer, in a form that a test can work out from the
// vendor's JSON without the adapter.
type said struct {
	Texts   []string // of each choice
	Calls   []string // id, name and arguments of each tool call, by choice
	Finish  []string // the vendor's word for each choice
	Input   int64
	Cached  int64
	Output  int64
	Thought int64
}

// expected works the answer out from the recorded body.
func expected(t *testing.T, x *providertest.Exchange) said {
	t.Helper()
	bodies := []providertest.Object{}
	if x.Stream {
		for line := range strings.Lines(x.Response.Body) {
			if data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: "); ok && data != "[DONE]" {
				bodies = append(bodies, providertest.Parse(t, data))
			}
		}
	} else {
		bodies = append(bodies, providertest.Parse(t, x.Response.Body))
	}
	var s said
	calls := map[string]*[3]string{}
	var order []string
	grow := func(n int64) {
		for int64(len(s.Texts)) <= n {
			s.Texts, s.Finish = append(s.Texts, ""), append(s.Finish, "")
		}
	}
	for _, b := range bodies {
		options, _ := b["choices"].([]any)
		for _, o := range options {
			i := providertest.Number(o, "index")
			grow(i)
			m := providertest.Dig(o, "message")
			if m == nil {
				m = providertest.Dig(o, "delta")
			}
			s.Texts[i] += providertest.Text(m, "content")
			s.Finish[i] += providertest.Text(o, "finish_reason")
			list, _ := providertest.Dig(m, "tool_calls").([]any)
			for j, c := range list {
				if n, ok := providertest.Dig(c, "index").(float64); ok {
					j = int(n)
				}
				key := fmt.Sprintf("%d/%d", i, j)
				if calls[key] == nil {
					calls[key] = new([3]string)
					order = append(order, key)
				}
				calls[key][0] += providertest.Text(c, "id")
				calls[key][1] += providertest.Text(c, "function", "name")
				calls[key][2] += providertest.Text(c, "function", "arguments")
			}
		}
		if u := b["usage"]; u != nil {
			s.Input, s.Output = providertest.Number(u, "prompt_tokens"), providertest.Number(u, "completion_tokens")
			s.Cached = providertest.Number(u, "prompt_tokens_details", "cached_tokens")
			s.Thought = providertest.Number(u, "completion_tokens_details", "reasoning_tokens")
		}
	}
	for _, key := range order {
		s.Calls = append(s.Calls, strings.Join(calls[key][:], " "))
	}
	return s
}

// got puts the adapter's answer into the same form.
func got(res *schemas.Response) said {
	u := res.Usage
	s := said{Input: u.InputTokens, Cached: u.CacheReadTokens, Output: u.OutputTokens, Thought: u.ReasoningTokens}
	if u.Source != schemas.UsageReported {
		s.Input, s.Output = 0, 0
	}
	for _, c := range res.Choices {
		s.Texts = append(s.Texts, c.Message.Text())
		s.Finish = append(s.Finish, c.Finish.Raw)
		for _, p := range c.Message.Parts {
			if p.ToolCall != nil && c.Finish.Raw != "function_call" { // the test knows tools only
				s.Calls = append(s.Calls, p.ToolCall.ID+" "+p.ToolCall.Name+" "+p.ToolCall.Arguments)
			}
		}
	}
	return s
}

// reasons is the vendor's word and ours. A call makes every stop a tool_calls.
var reasons = map[string]schemas.FinishReason{
	"stop": schemas.FinishStop, "length": schemas.FinishLength, "tool_calls": schemas.FinishToolCalls,
	"function_call": schemas.FinishToolCalls, "content_filter": schemas.FinishContentFilter,
}

func TestRecordedAnswersAreReadAsTheyAre(t *testing.T) {
	t.Parallel()
	all := providertest.Recorded(t, "openai", "chat")
	answered, refused := 0, 0
	for i := range all {
		x := &all[i]
		t.Run(x.ID, func(t *testing.T) {
			res, failure, _ := providertest.Replay(t, newProvider, x)
			if x.Response.Status >= 300 {
				refused++
				if want := class(t, x); failure == nil || failure.Code != want {
					t.Errorf("failure %+v, want %s", failure, want)
				}
				return
			}
			want := expected(t, x)
			if !slices.ContainsFunc(want.Finish, func(s string) bool { return s != "" }) {
				// One stream, of a gateway, says [DONE] without a reason to finish.
				if failure == nil || failure.Code != schemas.StreamInterrupted {
					t.Errorf("failure %+v, want stream_interrupted", failure)
				}
				return
			}
			answered++
			if failure != nil {
				t.Fatalf("failure %+v, want an answer", failure)
			}
			if diff := cmp.Diff(want, got(res)); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			for _, c := range res.Choices {
				want := reasons[c.Finish.Raw]
				if c.Finish.Reason != want && c.Finish.Reason != schemas.FinishRefusal && c.Finish.Reason != schemas.FinishToolCalls {
					t.Errorf("finish %+v, want %s", c.Finish, want)
				}
			}
		})
	}
	t.Logf("%d answers, %d refusals", answered, refused)
}

// class is what the recorded refusals mean, by status and the vendor's code.
func class(t *testing.T, x *providertest.Exchange) schemas.Code {
	t.Helper()
	switch x.Response.Status {
	case 400:
		return schemas.InvalidRequest
	case 401:
		return schemas.Auth
	case 404:
		return schemas.NotFound
	case 500:
		return schemas.Internal
	}
	t.Fatalf("status %d: say here what it means", x.Response.Status)
	return ""
}

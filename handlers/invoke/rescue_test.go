package invoke

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

const sentence = "A log is a sequence of records."

// breaking says a part of the sentence and breaks off.
func breaking(part string) *vendor {
	return &vendor{answer: func(_ context.Context, _ int, _ provider.Call, emit provider.Emit) (*schemas.Response, error) {
		for _, c := range []schemas.Chunk{{Type: schemas.ChunkStart}, text(part)} {
			if err := emit(c); err != nil {
				return nil, err
			}
		}
		f := schemas.Fail(schemas.StreamInterrupted, "the stream broke off", nil)
		f.Usage = &schemas.Usage{OutputTokens: 2, Source: schemas.UsageEstimated}
		return nil, f
	}}
}

// speaker says the sentence from where the request's beginning of the answer ends.
// refuses has it say of such a request that it is wrong.
func speaker(refuses bool) *vendor {
	return &vendor{answer: func(_ context.Context, _ int, c provider.Call, emit provider.Emit) (*schemas.Response, error) {
		left := sentence
		if last := c.Request.Messages[len(c.Request.Messages)-1]; last.Role == schemas.RoleAssistant {
			if refuses {
				return nil, schemas.Fail(schemas.InvalidRequest, "this model takes no prefilled answer", nil)
			}
			left = strings.TrimPrefix(sentence, last.Parts[0].Text)
		}
		for _, c := range []schemas.Chunk{{Type: schemas.ChunkStart}, text(left), {Type: schemas.ChunkFinish, Finish: &schemas.Finish{Reason: schemas.FinishStop}}} {
			if err := emit(c); err != nil {
				return nil, err
			}
		}
		res := answerOK()
		res.Choices[0].Message = schemas.TextMessage(schemas.RoleAssistant, left)
		res.Usage.OutputTokens = int64(len(left))
		return res, nil
	}}
}

func TestABrokenStreamIsGoneOnWithWhereTheTargetCan(t *testing.T) {
	t.Parallel()
	tools := func(r *schemas.Request) { r.Tools = []schemas.Tool{{Name: "clock"}} }
	for name, c := range map[string]struct {
		a, b    provider.Provider
		edit    func(*schemas.Request)
		able    bool
		story   []string
		pieces  string
		charged []int64 // output tokens of each attempt
	}{
		"goes on": {
			breaking("A log is a "), speaker(false), nil, true,
			[]string{"1 a first stream_interrupted", "2 a retry stream_interrupted", "3 b fallback ok"},
			"1.0:start 1.1:text_delta 1.2:error 2.0:start 2.1:text_delta 2.2:error 3.0:start 3.1:text_delta 3.2:text_delta 3.3:finish 3.4:end",
			[]int64{2, 2, int64(len(" sequence of records."))},
		},
		"takes no prefilled answer": {
			breaking("A log is a "), speaker(true), nil, true,
			[]string{"1 a first stream_interrupted", "2 a retry stream_interrupted", "3 b fallback invalid_request", "4 b retry ok"},
			"1.0:start 1.1:text_delta 1.2:error 2.0:start 2.1:text_delta 2.2:error 4.0:start 4.1:text_delta 4.2:finish 4.3:end",
			[]int64{2, 2, 0, int64(len(sentence))},
		},
		"is not known to": {
			breaking("A log is a "), speaker(false), nil, false,
			[]string{"1 a first stream_interrupted", "2 a retry stream_interrupted", "3 b fallback ok"},
			"1.0:start 1.1:text_delta 1.2:error 2.0:start 2.1:text_delta 2.2:error 3.0:start 3.1:text_delta 3.2:finish 3.3:end",
			[]int64{2, 2, int64(len(sentence))},
		},
		"could not, with tools": {
			breaking("A log is a "), speaker(false), tools, true,
			[]string{"1 a first stream_interrupted", "2 a retry stream_interrupted", "3 b fallback ok"},
			"1.0:start 1.1:text_delta 1.2:error 2.0:start 2.1:text_delta 2.2:error 3.0:start 3.1:text_delta 3.2:finish 3.3:end",
			[]int64{2, 2, int64(len(sentence))},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := build(t, func(c *Config) { c.Continue, c.Backoff.Initial = true, 1 }, map[string]provider.Provider{"a": c.a, "b": c.b}, 1)
			s.pools["b"].Continues = func(string) bool { return c.able }
			job := ask("a", "b").streamed()
			job.Request.Messages = []schemas.Message{schemas.TextMessage(schemas.RoleUser, "What is a log?")}
			if c.edit != nil {
				c.edit(job.Request)
			}
			if err := s.Handle(t.Context(), job.Job); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.story, job.story()); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(c.pieces, job.pieces()); diff != "" {
				t.Error(diff)
			}
			if got := job.Response.Text(); got != sentence {
				t.Errorf("the answer is %q", got)
			}
			last, streamed := job.Attempts[len(job.Attempts)-1].Number, ""
			for _, c := range job.chunks {
				if c.Attempt == last {
					streamed += c.Text
				}
			}
			if streamed != sentence {
				t.Errorf("the last attempt's pieces are %q", streamed)
			}
			var charged []int64
			for _, a := range job.Attempts {
				charged = append(charged, a.Usage.OutputTokens)
			}
			if diff := cmp.Diff(c.charged, charged); diff != "" {
				t.Errorf("charged: %s", diff)
			}
			if n := len(job.Request.Messages); n != 1 {
				t.Errorf("the request has %d messages by now", n)
			}
		})
	}
}

// An answer may be put together of three calls.
func TestAContinuedStreamIsGoneOnWithAgain(t *testing.T) {
	t.Parallel()
	a := &vendor{answer: func(ctx context.Context, n int, c provider.Call, emit provider.Emit) (*schemas.Response, error) {
		switch n {
		case 1:
			return breaking("A log is a").answer(ctx, n, c, emit)
		case 2:
			return breaking(" sequence of").answer(ctx, n, c, emit)
		}
		return speaker(false).answer(ctx, n, c, emit)
	}}
	s := build(t, func(c *Config) { c.Continue, c.Backoff.Initial = true, 1 }, map[string]provider.Provider{"a": a, "b": a}, 1)
	for _, p := range s.pools {
		p.Continues = func(string) bool { return true }
	}
	job := ask("a", "b").streamed()
	most := int64(20)
	job.Request.MaxTokens = &most
	job.Request.Messages = []schemas.Message{schemas.TextMessage(schemas.RoleUser, "What is a log?")}
	if err := s.Handle(t.Context(), job.Job); err != nil {
		t.Fatal(err)
	}
	if got := job.Response.Text(); got != sentence || most != 20 {
		t.Errorf("%q, at most %d tokens", got, most)
	}
	want := []string{"10 bytes of the answer are of call 1, which broke off", "12 bytes of the answer are of call 2, which broke off"}
	if diff := cmp.Diff(want, job.Response.Warnings); diff != "" {
		t.Error(diff)
	}
}

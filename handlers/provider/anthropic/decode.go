package anthropic

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// reader puts what the vendor says into an answer. There is one choice only.
type reader struct {
	answer *wire.Answer
	req    *schemas.Request
	secret string

	usage  usage           // cumulative
	raw    json.RawMessage // the usage as last said
	extras extras
	open   []openBlock
}

// extras is what the schemas have no place for; it goes to Message.Ext, and back
// to the vendor's clients as it came.
type extras struct {
	Blocks    []json.RawMessage `json:"blocks,omitempty"`    // of types that the schemas don't have
	Citations []json.RawMessage `json:"citations,omitempty"` // of text blocks, in order
}

const only = 0 // the index of the one choice

// whole reads an answer that comes at once.
func (r *reader) whole(from io.Reader, size int64) (*schemas.Response, error) {
	body, err := wire.ReadAll(from, size)
	if err != nil {
		return nil, err
	}
	var a answer
	c := wire.NewCursor(body)
	a.parse(&c)
	switch err := c.End(); {
	case err != nil:
		return nil, wire.Malformed("it is not the JSON of a message", err)
	case a.kind == "error" || a.refused:
		return nil, r.told(body)
	case a.kind != "message":
		return nil, wire.Malformed("it is no message", nil)
	}
	r.answer.Begin(a.id, a.model)
	r.answer.Open(only)
	for i := range a.content {
		b := &a.content[i]
		if part := r.start(b); b.kind == "tool_use" {
			r.answer.Arguments(only, part, input(b))
		}
	}
	r.finish(&a.stop)
	r.use(a.usage)
	return r.end()
}

// start takes in a block, or the beginning of one, and returns the part of a
// tool call.
func (r *reader) start(b *block) (part int) {
	r.answer.Seal(only)
	switch b.kind {
	case "text":
		r.answer.Text(only, b.text)
		r.cite(b.citations)
	case "thinking":
		r.answer.Reasoning(only, b.thinking)
		r.answer.Signature(only, b.signature, false)
	case "redacted_thinking":
		r.answer.Signature(only, b.data, true)
	case "tool_use":
		return r.answer.ToolCall(only, b.id, b.name)
	default:
		r.extras.Blocks = append(r.extras.Blocks, bytes.Clone(b.raw))
		return len(r.extras.Blocks) - 1
	}
	return 0
}

func (r *reader) cite(list json.RawMessage) {
	if len(list) == 0 || list[0] != '[' {
		return
	}
	var all []json.RawMessage
	if json.Unmarshal(list, &all) == nil {
		r.extras.Citations = append(r.extras.Citations, all...)
	}
}

// finish translates a reason to stop. Its absence leaves the answer unfinished.
func (r *reader) finish(s *stop) {
	if s.reason == "" {
		return
	}
	f := schemas.Finish{Raw: s.reason, StopSequence: s.sequence, Detail: s.category}
	switch s.reason {
	case "end_turn":
		f.Reason = schemas.FinishStop
	case "max_tokens":
		f.Reason = schemas.FinishLength
	case "stop_sequence":
		f.Reason = schemas.FinishStopSequence
	case "tool_use":
		f.Reason = schemas.FinishToolCalls
	case "refusal":
		f.Reason = schemas.FinishRefusal
	case "pause_turn", "compaction":
		f.Reason = schemas.FinishPause
	case "model_context_window_exceeded":
		f.Reason = schemas.FinishContextWindow
	default:
		f.Reason = schemas.FinishUnknown
	}
	r.answer.Finish(only, f)
}

// use takes in usage. In a stream it is said twice and is cumulative: a number
// replaces the earlier one, and what the second time leaves out still holds.
func (r *reader) use(raw json.RawMessage) {
	if len(raw) == 0 || raw[0] != '{' {
		return // the usage is then estimated
	}
	r.usage.take(raw)
	if r.raw == nil {
		r.raw = bytes.Clone(raw)
	} else if merged, err := wire.Overlay(r.raw, "usage", raw); err == nil {
		r.raw = merged
	}
	u := &r.usage
	r.answer.Use(schemas.Usage{
		InputTokens:      u.input + u.cacheCreation + u.cacheRead,
		CacheReadTokens:  u.cacheRead,
		CacheWriteTokens: u.cacheCreation,
		CacheWrite1h:     u.cacheHour,
		OutputTokens:     u.output,
		ReasoningTokens:  u.thinking,
		Source:           schemas.UsageReported,
		Tier:             u.tier,
		Raw:              r.raw,
	})
}

// end returns the answer, which must have a reason to stop.
func (r *reader) end() (*schemas.Response, error) {
	if !r.answer.Finished() {
		return nil, r.answer.Interrupted(r.req, errNoStop)
	}
	if len(r.extras.Blocks) > 0 || len(r.extras.Citations) > 0 {
		if raw, err := json.Marshal(r.extras); err == nil {
			r.answer.Extra(only, vendor, raw)
		}
	}
	res := r.answer.Response(r.req)
	if r.answer.Err() != nil {
		return nil, r.answer.Unheard(r.req)
	}
	return res, nil
}

var errNoStop = errors.New("the answer ended without a stop reason")

// told reads an error that came with status 200.
func (r *reader) told(body []byte) *schemas.Failure {
	f := wire.Told(wire.ParseError(body), r.secret)
	f.Code = schemas.Internal
	f.Phase = schemas.PhaseBody
	return interpret(f)
}

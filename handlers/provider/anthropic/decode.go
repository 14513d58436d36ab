package anthropic

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
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
	parts  int  // of the answer so far
	grown  bool // the block being read has become a part
	called bool // the requester has to run a tool
}

const only = 0 // the index of the one choice

// whole reads an answer that comes at once.
func (r *reader) whole(from io.Reader, size int64) (*schemas.Response, error) {
	body, err := wire.ReadAll(from, size)
	if err != nil {
		return nil, err
	}
	var a answer
	c := jsontext.NewCursor(body)
	a.parse(&c)
	switch err := c.End(); {
	case err != nil:
		return nil, wire.Malformed("it is not the JSON of a message", err)
	case a.kind == "error" || a.refused:
		return nil, told(body, r.secret)
	case a.kind != "message":
		return nil, wire.Malformed("it is no message", nil)
	}
	r.answer.Begin(a.id, a.model)
	r.answer.Open(only)
	for i := range a.content {
		b := &a.content[i]
		if part := r.start(b); b.kind == blockCall {
			r.answer.Arguments(only, part, input(b))
		} else if b.kind == blockServer {
			r.serverCall(b, input(b))
		}
	}
	r.extras.Container = bytes.Clone(a.container)
	r.extras.Management = bytes.Clone(a.management)
	r.finish(&a.stop)
	r.use(a.usage)
	return r.end()
}

// Types of blocks that are read in more than one place.
const (
	blockCall   = "tool_use"
	blockServer = "server_tool_use"
)

// start takes in a block, or the beginning of one, and returns the part of a
// tool call or the place of a block that the schemas don't have.
func (r *reader) start(b *block) (part int) {
	r.answer.Seal(only)
	r.grown = false
	switch b.kind {
	case "text":
		r.say(b.text)
		r.cites(b.citations)
	case "thinking":
		r.think(b.thinking)
		r.sign(b.signature, false)
	case "redacted_thinking":
		r.sign(b.data, true)
	case blockCall:
		r.called = true
		r.madeBy(b)
		r.grow()
		return r.answer.ToolCall(only, b.id, b.name)
	case blockServer: // is a part when all of it is known
		r.madeBy(b)
	default:
		r.extras.Blocks = append(r.extras.Blocks, placed{At: r.parts, Block: bytes.Clone(b.raw)})
		return len(r.extras.Blocks) - 1
	}
	return 0
}

// grow counts the part that the block being read becomes.
func (r *reader) grow() {
	if !r.grown {
		r.grown = true
		r.parts++
	}
}

func (r *reader) say(text string) {
	if text != "" {
		r.grow()
		r.answer.Text(only, text)
	}
}

func (r *reader) think(text string) {
	if text != "" {
		r.grow()
		r.answer.Reasoning(only, text)
	}
}

func (r *reader) sign(signature string, redacted bool) {
	if signature != "" {
		r.grow()
		r.answer.Signature(only, signature, redacted)
	}
}

// serverCall takes in the call of a tool that the vendor runs itself.
func (r *reader) serverCall(b *block, arguments string) {
	r.grow()
	r.answer.ServerCall(only, b.id, b.name, arguments)
}

// madeBy keeps who made a call, where that was a tool and not the model.
func (r *reader) madeBy(b *block) {
	if len(b.caller) == 0 || b.caller[0] != '{' || bytes.Contains(b.caller, []byte(`"direct"`)) {
		return
	}
	if r.extras.Callers == nil {
		r.extras.Callers = make(map[string]json.RawMessage)
	}
	r.extras.Callers[b.id] = bytes.Clone(b.caller)
}

// reasons is what the vendor's words mean.
var reasons = map[string]schemas.FinishReason{
	"end_turn":                      schemas.FinishStop,
	"max_tokens":                    schemas.FinishLength,
	"stop_sequence":                 schemas.FinishStopSequence,
	"tool_use":                      schemas.FinishToolCalls,
	"refusal":                       schemas.FinishRefusal,
	"pause_turn":                    schemas.FinishPause,
	"compaction":                    schemas.FinishPause,
	"model_context_window_exceeded": schemas.FinishContextWindow,
}

// finish translates a reason to stop. Its absence leaves the answer unfinished.
func (r *reader) finish(s *stop) {
	if s.reason == "" {
		return
	}
	reason, known := reasons[s.reason]
	if !known {
		reason = schemas.FinishUnknown
	}
	if reason == schemas.FinishStop && r.called {
		reason = schemas.FinishToolCalls
	}
	r.answer.FinishAs(only, schemas.Finish{Reason: reason, Raw: s.reason, StopSequence: s.sequence, Detail: s.category})
	if reason == schemas.FinishRefusal {
		r.answer.Filtered(schemas.Safety{Source: "completion", Category: s.category, Filtered: true})
	}
	if len(s.details) > 0 && s.details[0] == '{' {
		r.extras.Stop = bytes.Clone(s.details)
	}
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
	r.answer.Use(r.usage.schema(r.raw))
}

// end returns the answer, which must have a reason to stop.
func (r *reader) end() (*schemas.Response, error) {
	if !r.answer.Finished() {
		return nil, r.answer.Interrupted(r.req, errNoStop)
	}
	if !r.extras.empty() {
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

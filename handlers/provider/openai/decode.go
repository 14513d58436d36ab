package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// whole reads an answer that comes at once.
func (a *adapter) whole(from io.Reader, size int64, req *schemas.Request, answer *wire.Answer) (*schemas.Response, error) {
	body, err := wire.ReadAll(from, size)
	if err != nil {
		return nil, err
	}
	var c completion
	if err := c.parse(body); err != nil {
		return nil, wire.Malformed("it is not the JSON of a chat completion", err)
	}
	if c.refused {
		return nil, a.told(body)
	}
	if len(c.choices) == 0 {
		return nil, wire.Malformed("it has no choices", nil)
	}
	r := reader{answer: answer}
	r.take(&c)
	for i := range c.choices {
		// Some servers leave the reason out of an answer that is complete.
		answer.Finish(c.choices[i].index, schemas.Finish{Reason: schemas.FinishUnknown})
	}
	out := answer.Response(req)
	if answer.Err() != nil {
		return nil, answer.Unheard(req)
	}
	return out, nil
}

// stream reads an answer that comes as events. It is complete when [DONE] has
// come and every choice has ended.
func (a *adapter) stream(from io.Reader, req *schemas.Request, answer *wire.Answer) (*schemas.Response, error) {
	events := wire.NewEventReader(from, 0)
	r := reader{answer: answer}
	for {
		ev, err := events.Next()
		switch {
		case errors.Is(err, io.EOF):
			if a.config.DoneOptional && answer.Finished() {
				return r.end(req)
			}
			return nil, answer.Interrupted(req, io.ErrUnexpectedEOF)
		case err != nil:
			return nil, answer.Interrupted(req, err)
		case bytes.Equal(bytes.TrimSpace(ev.Data), done):
			return r.end(req)
		}
		var c completion
		if err := c.parse(ev.Data); err != nil {
			if ev.Cut {
				return nil, answer.Interrupted(req, err)
			}
			return nil, answer.Broken(req, wire.Malformed("a chunk of it is not JSON as agreed", err))
		}
		if c.refused {
			return nil, answer.Broken(req, a.told(ev.Data))
		}
		r.take(&c)
		if answer.Err() != nil {
			return nil, answer.Unheard(req)
		}
	}
}

var done = []byte("[DONE]")

// told reads an error that came with status 200.
func (a *adapter) told(body []byte) *schemas.Failure {
	f := wire.Told(wire.ParseError(body), a.config.APIKey.Reveal())
	f.Code = inStream(f)
	f.Phase = schemas.PhaseBody
	return interpret(f)
}

// reader puts completions into an answer.
type reader struct {
	answer *wire.Answer
	tier   string
	calls  []openCall
}

// openCall is where the pieces of a tool call go.
type openCall struct {
	choice, index int // as the vendor counts
	id            string
	part          int
}

// end returns the answer of a stream, or says that it is not whole: a [DONE]
// without a reason to finish is how some servers report that they failed.
func (r *reader) end(req *schemas.Request) (*schemas.Response, error) {
	if !r.answer.Finished() {
		return nil, r.answer.Interrupted(req, errNoFinish)
	}
	res := r.answer.Response(req)
	if r.answer.Err() != nil {
		return nil, r.answer.Unheard(req)
	}
	return res, nil
}

var errNoFinish = errors.New("[DONE] came before a finish reason")

func (r *reader) take(c *completion) {
	r.answer.Begin(c.id, c.model)
	if c.tier != "" {
		r.tier = c.tier
	}
	for i := range c.choices {
		o := &c.choices[i]
		r.answer.Open(o.index)
		r.message(o.index, &o.message)
		if o.finish != "" {
			r.answer.Finish(o.index, finish(o.finish, o.stop))
		}
	}
	if said(c.usage) {
		r.use(c.usage)
	}
}

func (r *reader) message(choice int, m *message) {
	r.answer.Reasoning(choice, m.reasoning)
	r.answer.Text(choice, m.content)
	r.answer.Refusal(choice, m.refusal)
	for i := range m.calls {
		r.call(choice, i, &m.calls[i])
	}
	if said(m.annotations) || said(m.audio) {
		r.answer.Extra(choice, vendor, extra(m))
	}
}

// call takes in a tool call or a fragment of one. Fragments belong together by
// index; where a server leaves that out, by order. Another id under the same
// index opens another call: some servers send index 0 with each.
func (r *reader) call(choice, position int, t *toolCall) {
	index := t.index
	if index < 0 {
		index = position
	}
	at := -1
	for i := range r.calls {
		if r.calls[i].choice == choice && r.calls[i].index == index {
			at = i
		}
	}
	if at >= 0 && t.id != "" && t.id != r.calls[at].id && t.name != "" {
		at = -1
	}
	if at < 0 {
		id := t.id
		if id == "" {
			id = fmt.Sprintf("call_%d_%d", choice, len(r.calls))
		}
		r.calls = append(r.calls, openCall{choice, index, id, r.answer.ToolCall(choice, id, t.name)})
		at = len(r.calls) - 1
	}
	r.answer.Arguments(choice, r.calls[at].part, t.arguments)
}

func said(raw json.RawMessage) bool {
	s := string(raw)
	return s != "" && s != "null" && s != "[]"
}

// extra keeps what the schemas have no place for.
func extra(m *message) json.RawMessage {
	b := []byte{'{'}
	if said(m.annotations) {
		b = wire.AppendRawField(b, "annotations", m.annotations)
	}
	if said(m.audio) {
		b = wire.AppendRawField(b, "audio", m.audio)
	}
	return append(b, '}')
}

func (r *reader) use(raw json.RawMessage) {
	u := usage(raw)
	u.Source, u.Tier, u.Raw = schemas.UsageReported, r.tier, bytes.Clone(raw)
	r.answer.Use(u)
}

// finish translates a finish reason; stop is the stop sequence that matched,
// which only some servers tell.
func finish(raw, stop string) schemas.Finish {
	f := schemas.Finish{Raw: raw}
	switch raw {
	case "stop", "eos", "eos_token":
		f.Reason = schemas.FinishStop
		if stop != "" {
			f.Reason, f.StopSequence = schemas.FinishStopSequence, stop
		}
	case "length":
		f.Reason = schemas.FinishLength
	case "tool_calls", "function_call":
		f.Reason = schemas.FinishToolCalls
	case "content_filter":
		f.Reason = schemas.FinishContentFilter
	default:
		f.Reason = schemas.FinishUnknown
	}
	return f
}

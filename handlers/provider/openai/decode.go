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
func (a *Adapter) whole(from io.Reader, size int64, req *schemas.Request, answer *wire.Answer) (*schemas.Response, error) {
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
	r := reader{a: a, answer: answer, sound: soundOf(req.Output, req.Stream)}
	if err := r.take(&c); err != nil {
		return nil, answer.Broken(req, schemas.AsFailure(err))
	}
	for i := range c.choices {
		// Some servers leave the reason out of an answer that is complete.
		answer.Finish(c.choices[i].index, schemas.Finish{Reason: schemas.FinishUnknown})
	}
	return r.response(req)
}

// stream reads an answer that comes as events. It is complete when [DONE] has
// come and every choice has ended.
func (a *Adapter) stream(from io.Reader, req *schemas.Request, answer *wire.Answer) (*schemas.Response, error) {
	events := wire.NewEventReader(from, 0)
	var f frame
	var c completion
	r := reader{a: a, answer: answer, sound: soundOf(req.Output, req.Stream)}
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
		c = completion{choices: c.choices[:0]}
		if err := f.parse(&c, ev.Data); err != nil {
			if ev.Cut {
				return nil, answer.Interrupted(req, err)
			}
			return nil, answer.Broken(req, wire.Malformed("a chunk of it is not JSON as agreed", err))
		}
		if c.refused {
			return nil, answer.Broken(req, a.told(ev.Data))
		}
		if err := r.take(&c); err != nil {
			return nil, answer.Broken(req, schemas.AsFailure(err))
		}
		if answer.Err() != nil {
			return nil, answer.Unheard(req)
		}
	}
}

var done = []byte("[DONE]")

// told reads an error that came with status 200.
func (a *Adapter) told(body []byte) *schemas.Failure {
	f := wire.Told(wire.ParseError(body), a.config.APIKey.Reveal())
	f.Code = a.inStream(f)
	f.Phase = schemas.PhaseBody
	return a.interpret(f)
}

// reader puts completions into an answer.
type reader struct {
	a       *Adapter
	answer  *wire.Answer
	tier    string
	calls   []openCall
	filters filters
	sound   string          // type of what is said aloud
	voice   map[int]*spoken // by choice
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
	return r.response(req)
}

func (r *reader) response(req *schemas.Request) (*schemas.Response, error) {
	r.filters.into(r.answer)
	res := r.answer.Response(req)
	if r.answer.Err() != nil {
		return nil, r.answer.Unheard(req)
	}
	r.name(res)
	res.Warnings = r.a.unsaid(req)
	return res, nil
}

var errNoFinish = errors.New("[DONE] came before a finish reason")

// take puts a completion into the answer. Its error is a *schemas.Failure.
func (r *reader) take(c *completion) error {
	r.answer.Begin(c.id, c.model)
	if c.tier != "" {
		r.tier = c.tier
	}
	for i := range c.choices {
		o := &c.choices[i]
		r.answer.Open(o.index)
		if err := r.message(o.index, &o.message); err != nil {
			return err
		}
		if said(o.logprobs) {
			r.answer.LogProbs(o.index, modern(o.logprobs))
		}
		if o.filters != nil {
			r.filters.completion(o.filters)
		}
		if o.finish == "error" {
			return gaveUp()
		}
		if o.finish != "" {
			r.answer.Finish(o.index, finish(o.finish, o.stop))
		}
	}
	if c.filters != nil {
		r.filters.prompt(c.filters)
	}
	if said(c.usage) {
		r.a.use(r.answer, c.usage, r.tier)
	}
	return nil
}

// gaveUp is the failure that some servers report as a reason to finish.
func gaveUp() *schemas.Failure {
	f := schemas.Fail(schemas.Internal, "the provider gave up in the midst of its answer", nil)
	f.VendorCode = "error"
	return f
}

func (r *reader) message(choice int, m *message) error {
	r.answer.Reasoning(choice, m.reasoning)
	r.answer.Text(choice, m.content)
	if said(m.annotations) { // of the text, and so before anything else
		cite(r.answer, choice, m.annotations)
	}
	r.answer.Refusal(choice, m.refusal)
	for i := range m.calls {
		r.call(choice, i, &m.calls[i])
	}
	if said(m.images) {
		r.images(choice, m.images)
	}
	if said(m.audio) {
		return r.audio(choice, m.audio)
	}
	return nil
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
		part := r.answer.ToolCall(choice, id, t.name)
		if t.typ != "" && t.typ != "function" {
			r.answer.ToolType(choice, part, t.typ)
		}
		r.calls = append(r.calls, openCall{choice, index, id, part})
		at = len(r.calls) - 1
	}
	r.answer.Arguments(choice, r.calls[at].part, t.arguments)
}

func said(raw json.RawMessage) bool {
	s := string(raw)
	return s != "" && s != "null" && s != "[]"
}

// finish translates a finish reason; stop is the stop sequence that matched,
// which only some servers tell.
func finish(raw, stop string) schemas.Finish {
	f := schemas.Finish{Raw: raw}
	switch raw {
	case "stop", "eos", "eos_token", "end_turn", "complete":
		f.Reason = schemas.FinishStop
		if stop != "" {
			f.Reason, f.StopSequence = schemas.FinishStopSequence, stop
		}
	case "stop_sequence":
		f.Reason, f.StopSequence = schemas.FinishStopSequence, stop
	case "length", "max_tokens":
		f.Reason = schemas.FinishLength
	case "model_length":
		f.Reason = schemas.FinishContextWindow
	case "tool_calls", "function_call", "tool_use":
		f.Reason = schemas.FinishToolCalls
	case "content_filter", "safety":
		f.Reason = schemas.FinishContentFilter
	case "refusal":
		f.Reason = schemas.FinishRefusal
	case "abort", "cancelled", "canceled":
		f.Reason = schemas.FinishCancelled
	case "repetition": // vLLM: the answer ran in circles
		f.Reason = schemas.FinishError
	default:
		f.Reason = schemas.FinishUnknown
	}
	return f
}

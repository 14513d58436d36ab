package openai

import (
	"bytes"
	"errors"
	"io"
	"strings"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// talk puts what the responses API says into an answer with one choice.
type talk struct {
	a         *Adapter
	answer    *wire.Answer
	items     map[int]*item // by place in the output
	last      *item         // that was asked for last
	lastPlace int
	asks      bool // a tool call waits for the requester
	refused   bool
	filters   filters
	// searches are those in the web, for answers that do not count them.
	searches int
}

// item is a piece of output as far as it is known.
type item struct {
	kind  string
	part  int  // of a tool call
	text  int  // bytes of text or arguments that came as pieces
	parts int  // contents or summaries begun
	cited bool // sources came as pieces
	done  bool // it is whole
}

func newTalk(a *Adapter, answer *wire.Answer) *talk {
	return &talk{a: a, answer: answer, items: make(map[int]*item)}
}

// conversationWhole reads an answer that comes at once.
func (a *Adapter) conversationWhole(from io.Reader, size int64, req *schemas.Request, answer *wire.Answer) (*schemas.Response, error) {
	body, err := wire.ReadAll(from, size)
	if err != nil {
		return nil, err
	}
	var r reply
	c := jsontext.NewCursor(body)
	r.parse(&c)
	if err := c.End(); err != nil {
		return nil, wire.Malformed("it is not the JSON of a response", err)
	}
	if r.refused {
		return nil, a.told(body)
	}
	if r.output == nil && r.status == "" {
		return nil, wire.Malformed("it has no output", nil)
	}
	t := newTalk(a, answer)
	return t.end(&r, req)
}

// conversationStream reads an answer that comes as events. It is complete when
// one of the events that end it has come; there is no [DONE].
func (a *Adapter) conversationStream(from io.Reader, req *schemas.Request, answer *wire.Answer) (*schemas.Response, error) {
	events := wire.NewEventReader(from, 0)
	t := newTalk(a, answer)
	var pieces eventReader
	for {
		ev, err := events.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil, answer.Interrupted(req, io.ErrUnexpectedEOF)
		case err != nil:
			return nil, answer.Interrupted(req, err)
		case bytes.Equal(bytes.TrimSpace(ev.Data), done):
			continue // of servers that copy the API
		}
		e := event{}
		if err := pieces.parse(&e, ev.Data); err != nil {
			if ev.Cut {
				return nil, answer.Interrupted(req, err)
			}
			return nil, answer.Broken(req, wire.Malformed("an event of it is not JSON as agreed", err))
		}
		ended, err := t.hear(&e, ev.Data)
		if err != nil {
			return nil, answer.Broken(req, schemas.AsFailure(err))
		}
		if ended {
			return t.end(&e.response, req)
		}
		if answer.Err() != nil {
			return nil, answer.Unheard(req)
		}
	}
}

// hear takes in an event and reports whether it ends the stream.
func (t *talk) hear(e *event, raw []byte) (ended bool, err error) {
	switch e.kind {
	case "response.output_text.delta":
		i := t.begin(e.place, "message")
		i.text += len(e.delta)
		t.part(i, e.content)
		t.answer.Text(0, e.delta)
		t.logProbs(e.logprobs)
	case "response.refusal.delta":
		t.begin(e.place, "message").text += len(e.delta)
		t.refuse(e.delta)
	case "response.reasoning_summary_text.delta", "response.reasoning_text.delta":
		t.think(e.place, e.summary+e.content, e.delta)
	case "response.function_call_arguments.delta", "response.custom_tool_call_input.delta":
		if i := t.items[e.place]; i != nil && i.part >= 0 {
			i.text += len(e.delta)
			t.answer.Arguments(0, i.part, e.delta)
		}
	case "response.output_text.annotation.added":
		t.begin(e.place, "message").cited = true
		t.answer.Cite(0, citation(e.annotation))
	case "response.output_item.added":
		var o output
		o.read(e.item)
		t.open(e.place, &o)
	case "response.output_item.done":
		var o output
		o.read(e.item)
		return false, t.close(e.place, &o)
	case "response.created", "response.in_progress", "response.queued":
		t.answer.Begin(e.response.id, e.response.model)
	case "response.completed", "response.incomplete", "response.failed", "response.cancelled":
		if e.response.status == "" {
			e.response.status = strings.TrimPrefix(e.kind, "response.")
		}
		return true, nil
	case "error":
		return false, t.a.told(raw)
	case "":
		if e.failed {
			return false, t.a.told(raw)
		}
	}
	return false, nil // events that say nothing new, and those to come
}

// begin returns the item at a place, which it opens if nobody has.
func (t *talk) begin(place int, kind string) *item {
	if t.last != nil && t.lastPlace == place {
		return t.last
	}
	i := t.items[place]
	if i == nil {
		i = &item{kind: kind, part: -1}
		t.items[place] = i
		t.answer.Open(0)
		t.answer.Seal(0)
	}
	t.last, t.lastPlace = i, place
	return i
}

// part begins another content of a message where its number says so.
func (t *talk) part(i *item, number int) {
	if number > i.parts {
		i.parts = number
		t.answer.Seal(0)
	}
}

// think appends to a piece of reasoning. Its summaries are paragraphs.
func (t *talk) think(place, number int, text string) {
	i := t.begin(place, "reasoning")
	if number > i.parts {
		i.parts = number
		if i.text > 0 {
			text = "\n\n" + text
		}
	}
	i.text += len(text)
	t.answer.Reasoning(0, text)
}

func (t *talk) refuse(text string) {
	t.refused = t.refused || text != ""
	t.answer.Refusal(0, text)
}

func (t *talk) logProbs(raw []byte) {
	if said(raw) {
		t.answer.LogProbs(0, append(append([]byte(`{"content":`), raw...), '}'))
	}
}

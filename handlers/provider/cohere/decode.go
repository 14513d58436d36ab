package cohere

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// reader puts what comes in either version, at once or in pieces, into an answer.
type reader struct {
	req           *schemas.Request
	answer        *wire.Answer
	model, secret string
	old           bool // version 1

	calls    []openCall
	reasoned string // what the reasoning that still grows is: planID or ""
	other    []json.RawMessage
	warnings []string
	indices  []int // choices of version 1 that have begun
}

// openCall is where the pieces of a tool call go.
type openCall struct {
	index, part int
}

func (r *reader) read(res *http.Response) (*schemas.Response, error) {
	if r.old && r.req.Stream && strings.HasPrefix(res.Header.Get("Content-Type"), "application/stream+json") {
		return r.lines(wire.NewLineReader(res.Body, 0))
	}
	form, body := wire.Open(res, r.req.Stream)
	switch form {
	case wire.Events:
		return r.events(wire.NewEventReader(body, 0))
	case wire.JSON: // also in answer to a request for a stream
		return r.whole(body, res.ContentLength)
	}
	return nil, wire.Malformed("its content type is neither JSON nor an event stream", nil)
}

// whole reads an answer that comes at once.
func (r *reader) whole(from io.Reader, size int64) (*schemas.Response, error) {
	body, err := wire.ReadAll(from, size)
	if err != nil {
		return nil, err
	}
	if r.old {
		return r.whole1(body)
	}
	var e event
	if err := e.parse(body); err != nil {
		return nil, wire.Malformed("it is not the JSON of a chat", err)
	}
	if e.refused && e.finish == "" {
		return nil, r.broken(&e)
	}
	if e.id == "" && e.finish == "" && len(e.said.blocks) == 0 && len(e.said.calls) == 0 {
		return nil, wire.Malformed("it has no message", nil)
	}
	r.answer.Begin(e.id, r.model)
	r.answer.Open(0)
	r.take(&e.said)
	if given(e.likely) {
		r.answer.LogProbs(0, logProbs(e.likely))
	}
	return r.end(&e)
}

// events reads an answer that comes as server-sent events.
func (r *reader) events(events *wire.EventReader) (*schemas.Response, error) {
	var e event
	for {
		ev, err := events.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, r.answer.Interrupted(r.req, err)
		}
		if bytes.Equal(bytes.TrimSpace(ev.Data), done) {
			return nil, r.answer.Interrupted(r.req, errNoFinish)
		}
		var out *schemas.Response
		ended := false
		if r.old {
			out, ended, err = r.event1(ev.Data, ev.Cut)
		} else {
			out, ended, err = r.event(&e, ev.Data, ev.Cut)
		}
		if ended || err != nil {
			return out, err
		}
	}
}

var (
	done        = []byte("[DONE]")
	errNoFinish = errors.New("the stream ended before a finish reason")
)

// event takes in one event of version 2 and reports whether the answer has ended.
func (r *reader) event(e *event, data []byte, cut bool) (*schemas.Response, bool, error) {
	if text, ok := quickText(data); ok {
		if r.answer.Text(0, text); r.answer.Err() != nil {
			return nil, true, r.answer.Unheard(r.req)
		}
		return nil, false, nil
	}
	if err := e.parse(data); err != nil {
		return nil, true, r.spoilt(err, cut)
	}
	switch e.typ {
	case messageStart:
		r.answer.Begin(e.id, r.model)
		r.answer.Open(0)
	case contentStart:
		r.answer.Seal(0)
		r.take(&e.said)
	case callStart, callDelta:
		r.piece(e)
	case messageEnd:
		r.answer.Begin(e.id, r.model)
		r.answer.Open(0)
		out, err := r.end(e)
		return out, true, err
	default:
		if e.refused {
			return nil, true, r.broken(e)
		}
		r.take(&e.said)
		if given(e.likely) {
			r.answer.LogProbs(0, logProbs(e.likely))
		}
	}
	if r.answer.Err() != nil {
		return nil, true, r.answer.Unheard(r.req)
	}
	return nil, false, nil
}

// spoilt is the failure for an event that is not JSON.
func (r *reader) spoilt(err error, cut bool) *schemas.Failure {
	if cut {
		return r.answer.Interrupted(r.req, err)
	}
	return r.answer.Broken(r.req, wire.Malformed("an event of it is not JSON as agreed", err))
}

// take takes in text, thinking, plans, citations and whole tool calls.
func (r *reader) take(m *utterance) {
	if m.plan != "" {
		r.reason(planID, m.plan)
		r.answer.Identify(0, planID)
	}
	for i := range m.blocks {
		if i > 0 {
			r.answer.Seal(0)
		}
		if m.blocks[i].thinking != "" {
			r.reason("", m.blocks[i].thinking)
		}
		r.answer.Text(0, m.blocks[i].text)
	}
	for _, raw := range m.citations {
		r.cite(raw)
	}
	for i := range m.calls {
		t := &m.calls[i]
		r.answer.Arguments(0, r.open(len(r.calls), t), t.arguments)
	}
}

// reason appends reasoning; a plan and other thinking are parts of their own.
func (r *reader) reason(id, text string) {
	if r.reasoned != id {
		r.answer.Seal(0)
		r.reasoned = id
	}
	r.answer.Reasoning(0, text)
}

// cite takes in a citation. One of a plan or of thinking has no place in the
// schemas and is kept as it is.
func (r *reader) cite(raw []byte) {
	cite, about := citation(raw)
	if about != "" {
		r.other = append(r.other, cite.Raw)
		return
	}
	r.answer.Cite(0, cite)
}

// piece takes in the start of a tool call or more of its arguments. They belong
// together by index.
func (r *reader) piece(e *event) {
	for i := range e.said.calls {
		t := &e.said.calls[i]
		part := -1
		for _, o := range r.calls {
			if o.index == e.index {
				part = o.part
			}
		}
		if part < 0 || e.typ == callStart {
			part = r.open(e.index, t)
		}
		r.answer.Arguments(0, part, t.arguments)
	}
}

// open opens a tool call. Version 1 gives no ids.
func (r *reader) open(index int, t *toolCall) int {
	id := t.id
	if id == "" {
		id = fmt.Sprintf("call_0_%d", len(r.calls))
	}
	part := r.answer.ToolCall(0, id, t.name)
	r.calls = append(r.calls, openCall{index, part})
	return part
}

// end returns the answer, or says that there is none.
func (r *reader) end(e *event) (*schemas.Response, error) {
	u, counted := usage(e.usage)
	if counted {
		r.answer.Use(u)
	}
	f, answered := finish(e.finish)
	if !answered || e.refused {
		return nil, r.broken(e)
	}
	if len(r.other) > 0 {
		b, err := json.Marshal(map[string]any{"citations": r.other})
		if err == nil {
			r.answer.Extra(0, vendor, b)
		}
	}
	r.answer.Finish(0, f)
	return r.respond()
}

// broken is the failure that the vendor tells with status 200.
func (r *reader) broken(e *event) *schemas.Failure {
	return r.answer.Broken(r.req, told(e.fault, e.finish, r.secret))
}

func (r *reader) respond() (*schemas.Response, error) {
	out := r.answer.Response(r.req)
	if r.answer.Err() != nil {
		return nil, r.answer.Unheard(r.req)
	}
	out.Warnings = append(out.Warnings, r.warnings...)
	return out, nil
}

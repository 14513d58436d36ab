package cohere

import (
	"bytes"
	"unicode/utf8"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// event is an event of a stream, or a whole answer, of chat version 2. A whole
// answer has at its top what an event has under delta. Its slices share the
// body's memory.
type event struct {
	typ     string
	index   int
	id      string
	said    utterance
	finish  string
	usage   []byte
	likely  []byte // logprobs
	fault   wire.ErrorBody
	refused bool // it is an error with the status of a success
	cursor  jsontext.Cursor
}

// utterance is what the model says, or the next piece of it.
type utterance struct {
	plan      string
	blocks    []block
	calls     []toolCall
	citations [][]byte
}

type block struct {
	text, thinking string
}

type toolCall struct {
	id, name, arguments string
}

// parse reads an event into e, whose slices it uses again.
func (e *event) parse(body []byte) error {
	m := utterance{blocks: e.said.blocks[:0], calls: e.said.calls[:0], citations: e.said.citations[:0]}
	*e = event{said: m, cursor: jsontext.NewCursor(body)}
	e.fields(&e.cursor)
	return e.cursor.End()
}

func (e *event) fields(c *jsontext.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "type":
			e.typ = known(c.Raw())
		case "index":
			e.index = c.Int()
		case "id":
			e.id = c.Text()
		case "delta":
			e.fields(c)
		case "message":
			if c.Kind() == '{' {
				e.said.parse(c)
			} else if s := c.Text(); s != "" { // the form of a refusal
				e.fault.Message, e.refused = s, true
			}
		case "finish_reason":
			e.finish = c.Text()
		case "usage":
			e.usage = c.Raw()
		case "logprobs":
			e.likely = c.Raw()
		case "error":
			if raw := c.Raw(); given(raw) {
				told := wire.ParseError(raw)
				e.fault.Message, e.fault.Code, e.refused = told.Message, told.Code, true
			}
		case "error_type":
			e.fault.Type = c.Text()
		default:
			c.Skip()
		}
	}
}

// known returns the type of an event in a string of our own, or "": a stream has
// hundreds of them.
func known(raw []byte) string {
	switch string(raw) {
	case `"content-delta"`:
		return contentDelta
	case `"tool-call-delta"`:
		return callDelta
	case `"message-start"`:
		return messageStart
	case `"content-start"`:
		return contentStart
	case `"tool-call-start"`:
		return callStart
	case `"message-end"`:
		return messageEnd
	}
	return ""
}

// The types of events that are more than what they hold.
const (
	messageStart = "message-start"
	contentStart = "content-start"
	contentDelta = "content-delta"
	callStart    = "tool-call-start"
	callDelta    = "tool-call-delta"
	messageEnd   = "message-end"
)

// quickText returns the text of an event that holds nothing else, in the very form
// in which the API writes it: that is most of a stream, and spares it the parsing
// (BenchmarkDecodeStream). It reports false for every other event, and for text
// with escapes.
func quickText(data []byte) (string, bool) {
	const before, between, after = `{"type":"content-delta","index":`, `,"delta":{"message":{"content":{"text":"`, `"}}}}`
	rest, ok := bytes.CutPrefix(data, []byte(before))
	if !ok || len(rest) == 0 || rest[0] < '0' || rest[0] > '9' {
		return "", false
	}
	rest, ok = bytes.CutPrefix(rest[1:], []byte(between))
	if !ok {
		return "", false
	}
	rest, ok = bytes.CutSuffix(rest, []byte(after))
	if !ok || !utf8.Valid(rest) {
		return "", false
	}
	for _, c := range rest {
		if c < ' ' || c == '"' || c == '\\' {
			return "", false
		}
	}
	return string(rest), true
}

// given reports whether raw is a value that says something.
func given(raw []byte) bool {
	s := string(raw)
	return s != "" && s != "null" && s != `""` && s != "[]" && s != "{}"
}

func (m *utterance) parse(c *jsontext.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "tool_plan":
			m.plan = c.Text()
		case "content":
			if c.Kind() == '"' {
				m.blocks = append(m.blocks, block{text: c.Text()})
				continue
			}
			each(c, m.block)
		case "tool_calls":
			each(c, m.call)
		case "citations":
			each(c, func(c *jsontext.Cursor) { m.citations = append(m.citations, c.Raw()) })
		default:
			c.Skip()
		}
	}
}

// each reads every value of a list, or the one that a stream has in its place.
func each(c *jsontext.Cursor, read func(*jsontext.Cursor)) {
	switch c.Kind() {
	case '[':
		c.Array()
		for c.Item() {
			read(c)
		}
	case '{':
		read(c)
	default:
		c.Skip()
	}
}

func (m *utterance) block(c *jsontext.Cursor) {
	var o block
	if c.Object() {
		for c.Key() {
			switch string(c.Name()) {
			case "text":
				o.text = c.Text()
			case "thinking":
				o.thinking = c.Text()
			default:
				c.Skip()
			}
		}
	}
	m.blocks = append(m.blocks, o)
}

func (m *utterance) call(c *jsontext.Cursor) {
	var t toolCall
	if c.Object() {
		for c.Key() {
			switch string(c.Name()) {
			case "id":
				t.id = c.Text()
			case "function":
				t.function(c)
			default:
				c.Skip()
			}
		}
	}
	m.calls = append(m.calls, t)
}

// function reads name and arguments; version 1 calls them parameters and sends
// an object.
func (t *toolCall) function(c *jsontext.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "name":
			t.name = c.Text()
		case "arguments", "parameters":
			t.arguments = c.Text()
		default:
			c.Skip()
		}
	}
}

// citation reads a citation of either version. about is what of the answer it is
// about; empty is its text.
func citation(raw []byte) (cite schemas.Citation, about string) {
	cite.Raw = bytes.Clone(raw)
	c := jsontext.NewCursor(cite.Raw)
	if !c.Object() {
		return cite, ""
	}
	for c.Key() {
		switch string(c.Name()) {
		case "start":
			cite.Start = c.Count()
		case "end":
			cite.End = c.Count()
		case "text":
			cite.Text = c.Text()
		case "type":
			about = c.Text()
		case "document_ids": // version 1
			each(&c, func(c *jsontext.Cursor) { cite.Sources = append(cite.Sources, c.Text()) })
		case "sources":
			each(&c, func(c *jsontext.Cursor) { source(c, &cite) })
		default:
			c.Skip()
		}
	}
	if about == "TEXT_CONTENT" {
		about = ""
	}
	return cite, about
}

// source takes in where a citation comes from: a document or a tool's output.
func source(c *jsontext.Cursor, cite *schemas.Citation) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "id":
			cite.Sources = append(cite.Sources, c.Text())
		case "document", "tool_output":
			if !c.Object() {
				continue
			}
			for c.Key() {
				switch s := string(c.Name()); {
				case s == "title" && cite.Title == "":
					cite.Title = c.Text()
				case s == "url" && cite.URL == "":
					cite.URL = c.Text()
				default:
					c.Skip()
				}
			}
		default:
			c.Skip()
		}
	}
}

package anthropic

import (
	"encoding/json"

	"github.com/sira-ai/sira/schemas/jsontext"
)

// answer is a whole answer, or the empty one that a stream starts with.
type answer struct {
	kind, id, model string
	content         []block
	usage           json.RawMessage
	container       json.RawMessage
	management      json.RawMessage
	refused         bool
	stop            stop
}

type stop struct {
	reason, sequence, category string
	details                    json.RawMessage
}

// block is a piece of content of one of the known types.
type block struct {
	kind, text, thinking, signature string
	data                            string // of redacted thinking
	id, name, input                 string // of a tool call
	citations, caller               json.RawMessage
	raw                             json.RawMessage // all of it; shares memory with what was read
}

// parse reads a message.
func (a *answer) parse(c *jsontext.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "type":
			a.kind = c.Text()
		case "id":
			a.id = c.Text()
		case "model":
			a.model = c.Text()
		case "content":
			if c.Array() {
				for c.Item() {
					a.content = append(a.content, parseBlock(c.Raw()))
				}
			}
		case "usage":
			a.usage = c.Raw()
		case "container":
			a.container = given(c.Raw())
		case "context_management":
			a.management = given(c.Raw())
		case "error":
			a.refused = string(c.Raw()) != "null"
		default:
			if !a.stop.take(c) {
				c.Skip()
			}
		}
	}
}

// take reads the value if its name is one of a stop's, and reports that.
func (s *stop) take(c *jsontext.Cursor) bool {
	switch string(c.Name()) {
	case "stop_reason":
		s.reason = c.Text()
	case "stop_sequence":
		s.sequence = c.Text()
	case "stop_details":
		s.details = c.Raw()
		inner := jsontext.NewCursor(s.details)
		if len(s.details) > 0 && inner.Object() {
			for inner.Key() {
				if string(inner.Name()) == "category" {
					s.category = inner.Text()
				} else {
					inner.Skip()
				}
			}
		}
	default:
		return false
	}
	return true
}

// given returns raw, or nil where it is null.
func given(raw []byte) []byte {
	if string(raw) == "null" {
		return nil
	}
	return raw
}

func parseBlock(raw []byte) block {
	b := block{raw: raw}
	c := jsontext.NewCursor(raw)
	if !c.Object() {
		return b
	}
	for c.Key() {
		switch string(c.Name()) {
		case "type":
			b.kind = c.Text()
		case "text":
			b.text = c.Text()
		case "thinking":
			b.thinking = c.Text()
		case "signature":
			b.signature = c.Text()
		case "data":
			b.data = c.Text()
		case "id":
			b.id = c.Text()
		case "name":
			b.name = c.Text()
		case "input":
			b.input = c.Text()
		case "citations":
			b.citations = c.Raw()
		case "caller":
			b.caller = c.Raw()
		default:
			c.Skip()
		}
	}
	return b
}

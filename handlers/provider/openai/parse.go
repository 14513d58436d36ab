package openai

import (
	"encoding/json"

	"github.com/sira-ai/sira/schemas/jsontext"
)

// completion is an answer, or one chunk of it: the two differ in whether the
// choices hold message or delta.
type completion struct {
	id, model, tier string
	choices         []option
	usage           json.RawMessage
	filters         json.RawMessage // Azure: what the filter says of the prompt
	refused         bool            // it is an error with the status of a success
	padding         span            // where the value of obfuscation stands
}

type option struct {
	index    int
	message  message
	finish   string
	stop     string // vLLM: the stop sequence that matched
	logprobs json.RawMessage
	filters  json.RawMessage // Azure: what the filter says of the answer
}

type message struct {
	content, refusal string
	reasoning        string
	calls            []toolCall
	annotations      json.RawMessage
	audio            json.RawMessage
	images           json.RawMessage // of gateways that show models which paint
	at               span            // where content stands in what was parsed
}

// onlyText reports whether there is nothing but text in a choice, and what the
// filter says of it, which counts once however often it is said.
func (o *option) onlyText() bool {
	m := &o.message
	return m.content != "" && m.at.to > m.at.from && o.finish == "" && o.stop == "" && m.refusal == "" && m.reasoning == "" &&
		len(m.calls) == 0 && !said(o.logprobs) &&
		!said(m.annotations) && !said(m.audio) && !said(m.images)
}

type toolCall struct {
	index           int // -1: not said
	id, typ         string
	name, arguments string
}

func (o *completion) field(c *jsontext.Cursor) {
	switch string(c.Name()) {
	case "id":
		o.id = c.Text()
	case "model":
		o.model = c.Text()
	case "service_tier":
		o.tier = c.Text()
	case "usage":
		o.usage = c.Raw()
	case "prompt_filter_results", "prompt_annotations":
		o.filters = c.Raw()
	case "error":
		o.refused = said(c.Raw()) || o.refused
	case "object":
		o.refused = c.Text() == "error" || o.refused
	case "obfuscation": // by which OpenAI hides how long a piece of text is
		c.Kind()
		from := c.Offset()
		c.Skip()
		o.padding = span{from, c.Offset()}
	default:
		c.Skip()
	}
}

func (o *completion) options(c *jsontext.Cursor) {
	if !c.Array() {
		return
	}
	for c.Item() {
		p := option{}
		if c.Object() {
			for c.Key() {
				switch string(c.Name()) {
				case "index":
					p.index = c.Int()
				case "message", "delta":
					p.message.parse(c)
				case "finish_reason":
					p.finish = c.Text()
				case "stop_reason", "matched_stop":
					p.stop = matched(c)
				case "text": // of the older API for prompts
					p.message.content = c.Text()
				case "logprobs":
					p.logprobs = c.Raw()
				case "content_filter_results":
					p.filters = c.Raw()
				default:
					c.Skip()
				}
			}
		}
		o.choices = append(o.choices, p)
	}
}

// matched reads the stop sequence that matched; a number is a token, which says
// nothing to a requester.
func matched(c *jsontext.Cursor) string {
	if c.Kind() == '"' {
		return c.Text()
	}
	c.Skip()
	return ""
}

func (m *message) parse(c *jsontext.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "content":
			isText := c.Kind() == '"'
			from := c.Offset()
			m.parts(c)
			if m.at = (span{}); isText {
				m.at = span{from, c.Offset()}
			}
		case "refusal":
			m.refusal = c.Text()
		case "reasoning", "reasoning_content": // two names for one thing; some servers fill both
			if s := c.Text(); s != "" {
				m.reasoning = s
			}
		case "tool_calls":
			if c.Array() {
				for c.Item() {
					m.calls = append(m.calls, call(c))
				}
			}
		case "function_call": // before tools
			t := toolCall{index: -1}
			t.function(c)
			if t.name != "" || t.arguments != "" {
				m.calls = append(m.calls, t)
			}
		case "annotations":
			m.annotations = c.Raw()
		case "audio":
			m.audio = c.Raw()
		case "images":
			m.images = c.Raw()
		default:
			c.Skip()
		}
	}
}

// parts reads text; some servers send a list of parts instead. What the model
// thought is a list in its part.
func (m *message) parts(c *jsontext.Cursor) {
	if c.Kind() != '[' {
		m.content = c.Text()
		return
	}
	c.Array()
	for c.Item() {
		if !c.Object() {
			continue
		}
		for c.Key() {
			switch string(c.Name()) {
			case "text":
				m.content += c.Text()
			case "refusal":
				m.refusal += c.Text()
			case "thinking":
				var inner message
				inner.parts(c)
				m.reasoning += inner.content
			default:
				c.Skip()
			}
		}
	}
}

func call(c *jsontext.Cursor) toolCall {
	t := toolCall{index: -1}
	if !c.Object() {
		return t
	}
	for c.Key() {
		switch string(c.Name()) {
		case "index":
			t.index = -1
			if k := c.Kind(); k >= '0' && k <= '9' {
				t.index = c.Int()
			} else {
				c.Skip()
			}
		case "id":
			t.id = c.Text()
		case "type":
			t.typ = c.Text()
		case "function", "custom":
			t.function(c)
		default:
			c.Skip()
		}
	}
	return t
}

func (t *toolCall) function(c *jsontext.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "name":
			t.name = c.Text()
		case "arguments", "input": // an object at some servers; input is of custom tools
			t.arguments = c.Text()
		default:
			c.Skip()
		}
	}
}

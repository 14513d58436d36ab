package openai

import (
	"encoding/json"
	"strings"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// completion is an answer, or one chunk of it: the two differ in whether the
// choices hold message or delta.
type completion struct {
	id, model, tier string
	choices         []option
	usage           json.RawMessage
	refused         bool // it is an error with the status of a success
}

type option struct {
	index   int
	message message
	finish  string
	stop    string // vLLM: the stop sequence that matched
}

type message struct {
	content, refusal string
	reasoning        string
	calls            []toolCall
	annotations      json.RawMessage
	audio            json.RawMessage
}

type toolCall struct {
	index           int // -1: not said
	id              string
	name, arguments string
}

// parse reads a completion. Slices in it share body's memory.
func (o *completion) parse(body []byte) error {
	c := wire.NewCursor(body)
	if c.Object() {
		for c.Key() {
			switch string(c.Name()) {
			case "id":
				o.id = c.Text()
			case "model":
				o.model = c.Text()
			case "service_tier":
				o.tier = c.Text()
			case "choices":
				o.options(&c)
			case "usage":
				o.usage = c.Raw()
			case "error":
				o.refused = said(c.Raw()) || o.refused
			case "object":
				o.refused = c.Text() == "error" || o.refused
			default:
				c.Skip()
			}
		}
	}
	return c.End()
}

func (o *completion) options(c *wire.Cursor) {
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
				case "stop_reason":
					p.stop = c.Text()
				default:
					c.Skip()
				}
			}
		}
		o.choices = append(o.choices, p)
	}
}

func (m *message) parse(c *wire.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "content":
			m.content = content(c)
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
		default:
			c.Skip()
		}
	}
}

// content reads text; some servers send a list of parts instead.
func content(c *wire.Cursor) string {
	if c.Kind() != '[' {
		return c.Text()
	}
	var text strings.Builder
	c.Array()
	for c.Item() {
		if !c.Object() {
			continue
		}
		for c.Key() {
			if string(c.Name()) == "text" {
				text.WriteString(c.Text())
			} else {
				c.Skip()
			}
		}
	}
	return text.String()
}

func call(c *wire.Cursor) toolCall {
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
		case "function", "custom":
			t.function(c)
		default:
			c.Skip()
		}
	}
	return t
}

func (t *toolCall) function(c *wire.Cursor) {
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

// usage reads the numbers of a usage object: OpenAI's names and, where they
// differ, those of Together, DeepSeek and SGLang.
func usage(raw json.RawMessage) schemas.Usage {
	var u schemas.Usage
	c := wire.NewCursor(raw)
	if !c.Object() {
		return u
	}
	for c.Key() {
		switch string(c.Name()) {
		case "prompt_tokens":
			u.InputTokens = c.Count()
		case "completion_tokens":
			u.OutputTokens = c.Count()
		case "prompt_tokens_details", "completion_tokens_details":
			details(&c, &u)
		case "cached_tokens", "prompt_cache_hit_tokens":
			u.CacheReadTokens = max(u.CacheReadTokens, c.Count())
		case "reasoning_tokens":
			u.ReasoningTokens = max(u.ReasoningTokens, c.Count())
		default:
			c.Skip()
		}
	}
	return u
}

func details(c *wire.Cursor, u *schemas.Usage) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "cached_tokens":
			u.CacheReadTokens = max(u.CacheReadTokens, c.Count())
		case "cache_write_tokens":
			u.CacheWriteTokens = c.Count()
		case "reasoning_tokens":
			u.ReasoningTokens = max(u.ReasoningTokens, c.Count())
		default:
			c.Skip()
		}
	}
}

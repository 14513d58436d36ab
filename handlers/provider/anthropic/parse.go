package anthropic

import (
	"encoding/json"

	"github.com/sira-ai/sira/handlers/provider/wire"
)

// answer is a whole answer, or the empty one that a stream starts with.
type answer struct {
	kind, id, model string
	content         []block
	usage           json.RawMessage
	refused         bool
	stop            stop
}

type stop struct {
	reason, sequence, category string
}

// block is a piece of content of one of the known types.
type block struct {
	kind, text, thinking, signature string
	data                            string // of redacted thinking
	id, name, input                 string // of a tool call
	citations                       json.RawMessage
	raw                             json.RawMessage // all of it; shares memory with what was read
}

// parse reads a message.
func (a *answer) parse(c *wire.Cursor) {
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
func (s *stop) take(c *wire.Cursor) bool {
	switch string(c.Name()) {
	case "stop_reason":
		s.reason = c.Text()
	case "stop_sequence":
		s.sequence = c.Text()
	case "stop_details":
		if c.Object() {
			for c.Key() {
				if string(c.Name()) == "category" {
					s.category = c.Text()
				} else {
					c.Skip()
				}
			}
		}
	default:
		return false
	}
	return true
}

func parseBlock(raw []byte) block {
	b := block{raw: raw}
	c := wire.NewCursor(raw)
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
		default:
			c.Skip()
		}
	}
	return b
}

// usage is what the vendor counts.
type usage struct {
	input         int64 // without the cache's
	cacheCreation int64
	cacheRead     int64
	cacheHour     int64
	output        int64
	thinking      int64
	tier          string
}

// take reads a usage object over what was said before.
func (u *usage) take(raw json.RawMessage) {
	c := wire.NewCursor(raw)
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "input_tokens":
			count(&c, &u.input)
		case "cache_creation_input_tokens":
			count(&c, &u.cacheCreation)
		case "cache_read_input_tokens":
			count(&c, &u.cacheRead)
		case "output_tokens":
			count(&c, &u.output)
		case "cache_creation":
			nested(&c, "ephemeral_1h_input_tokens", &u.cacheHour)
		case "output_tokens_details":
			nested(&c, "thinking_tokens", &u.thinking)
		case "service_tier":
			if s := c.Text(); s != "" {
				u.tier = s
			}
		default:
			c.Skip()
		}
	}
}

// count reads a number of tokens; null leaves to as it was.
func count(c *wire.Cursor, to *int64) {
	if c.Kind() == 'n' {
		c.Skip()
		return
	}
	*to = c.Count()
}

func nested(c *wire.Cursor, name string, to *int64) {
	if !c.Object() {
		return
	}
	for c.Key() {
		if string(c.Name()) == name {
			count(c, to)
		} else {
			c.Skip()
		}
	}
}

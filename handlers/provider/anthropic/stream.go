package anthropic

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// event is one event of a stream; kind says which of the other fields count.
type event struct {
	kind    string
	index   int
	message answer
	block   json.RawMessage
	delta   delta
	usage   json.RawMessage
	refused bool
}

type delta struct {
	kind, text, partialJSON, thinking, signature string
	citation                                     json.RawMessage
	stop                                         stop
}

// parse reads an event. Slices in it share data's memory.
func (e *event) parse(data []byte) error {
	c := wire.NewCursor(data)
	if c.Object() {
		for c.Key() {
			switch string(c.Name()) {
			case "type":
				e.kind = c.Text()
			case "index":
				e.index = c.Int()
			case "message":
				e.message.parse(&c)
			case "content_block":
				e.block = c.Raw()
			case "delta":
				e.delta.parse(&c)
			case "usage":
				e.usage = c.Raw()
			case "error":
				e.refused = string(c.Raw()) != "null"
			default:
				c.Skip()
			}
		}
	}
	return c.End()
}

func (d *delta) parse(c *wire.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "type":
			d.kind = c.Text()
		case "text":
			d.text = c.Text()
		case "partial_json":
			d.partialJSON = c.Text()
		case "thinking":
			d.thinking = c.Text()
		case "signature":
			d.signature = c.Text()
		case "citation":
			d.citation = c.Raw()
		default:
			if !d.stop.take(c) {
				c.Skip()
			}
		}
	}
}

// openBlock is a block that has begun and not ended.
type openBlock struct {
	index int // as the vendor counts
	block block
	part  int    // of a tool call; of another vendor's type, its place in extras
	input []byte // of the latter
}

// stream reads an answer that comes as events. It is complete with message_stop.
func (r *reader) stream(from io.Reader) (*schemas.Response, error) {
	events := wire.NewEventReader(from, 0)
	for {
		ev, err := events.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, r.answer.Interrupted(r.req, err)
		}
		var e event
		if err := e.parse(ev.Data); err != nil {
			if ev.Cut {
				return nil, r.answer.Interrupted(r.req, err)
			}
			return nil, r.answer.Broken(r.req, wire.Malformed("an event of it is not JSON as agreed", err))
		}
		switch {
		case e.kind == "message_stop":
			return r.end()
		case e.kind == "error" || e.refused:
			return nil, r.answer.Broken(r.req, r.told(ev.Data))
		}
		if err := r.take(&e); err != nil {
			return nil, err
		}
		if r.answer.Err() != nil {
			return nil, r.answer.Unheard(r.req)
		}
	}
}

// take takes in an event. Those of unknown types are skipped: the vendor adds
// some now and then.
func (r *reader) take(e *event) error {
	switch e.kind {
	case "message_start":
		r.answer.Open(only)
		r.answer.Begin(e.message.id, e.message.model)
		r.use(e.message.usage)
	case "content_block_start":
		b := parseBlock(e.block)
		r.open = append(r.open, openBlock{index: e.index, block: b, part: r.start(&b)})
	case "content_block_delta":
		return r.delta(e)
	case "content_block_stop":
		for i := range r.open {
			if r.open[i].index == e.index {
				r.close(&r.open[i])
				r.open = append(r.open[:i], r.open[i+1:]...)
				break
			}
		}
	case "message_delta":
		for i := range r.open {
			r.close(&r.open[i])
		}
		r.open = nil
		r.finish(&e.delta.stop)
		r.use(e.usage)
	}
	return nil
}

func (r *reader) delta(e *event) error {
	switch d := &e.delta; d.kind {
	case "text_delta":
		r.answer.Text(only, d.text)
	case "thinking_delta":
		r.answer.Reasoning(only, d.thinking)
	case "signature_delta":
		r.answer.Signature(only, d.signature, false)
	case "citations_delta":
		if len(d.citation) > 0 {
			r.extras.Citations = append(r.extras.Citations, bytes.Clone(d.citation))
		}
	case "input_json_delta":
		for i := range r.open {
			o := &r.open[i]
			switch {
			case o.index != e.index:
				continue
			case o.block.kind == "tool_use":
				r.answer.Arguments(only, o.part, d.partialJSON)
			default:
				o.input = append(o.input, d.partialJSON...)
			}
			return nil
		}
		return r.answer.Broken(r.req, wire.Malformed("it has arguments of a tool call that was not begun", nil))
	}
	return nil
}

// close completes a block whose end has come.
func (r *reader) close(o *openBlock) {
	switch o.block.kind {
	case "text", "thinking", "redacted_thinking":
	case "tool_use":
		if !r.answer.HasArguments(only, o.part) {
			r.answer.Arguments(only, o.part, input(&o.block))
		}
	default:
		if len(o.input) > 0 && json.Valid(o.input) {
			patch := append(append([]byte(`{"input":`), o.input...), '}')
			if whole, err := wire.Overlay(r.extras.Blocks[o.part], "block", patch); err == nil {
				r.extras.Blocks[o.part] = whole
			}
		}
	}
}

// input returns the arguments that a tool call begins with: all of them in an
// answer that comes at once, none in a stream. A call without any has {}.
func input(b *block) string {
	if b.input == "" {
		return "{}"
	}
	return b.input
}

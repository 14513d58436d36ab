package anthropic

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// event is one event of a stream; kind says which of the other fields count. Its
// slices share memory with what was read.
type event struct {
	kind       []byte
	index      int
	message    answer
	block      json.RawMessage
	delta      delta
	usage      json.RawMessage
	management json.RawMessage
	refused    bool
}

type delta struct {
	kind                             []byte
	text, input, thinking, signature string
	citation, container, raw         json.RawMessage
	stop                             stop
}

// parse reads an event.
func (e *event) parse(data []byte) error {
	c := jsontext.NewCursor(data)
	if c.Object() {
		for c.Key() {
			switch string(c.Name()) {
			case "type":
				e.kind = letters(c.Raw())
			case "index":
				e.index = c.Int()
			case "message":
				e.message.parse(&c)
			case "content_block":
				e.block = c.Raw()
			case "delta":
				e.delta.parse(c.Raw())
			case "usage":
				e.usage = c.Raw()
			case "context_management":
				e.management = given(c.Raw())
			case "error":
				e.refused = string(c.Raw()) != "null"
			default:
				c.Skip()
			}
		}
	}
	return c.End()
}

// letters returns what is between the quotes of a JSON string without escapes.
func letters(raw []byte) []byte { return bytes.Trim(raw, `"`) }

func (d *delta) parse(raw []byte) {
	d.raw = raw
	c := jsontext.NewCursor(raw)
	if len(raw) == 0 || !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "type":
			d.kind = letters(c.Raw())
		case "text":
			d.text = c.Text()
		case "partial_json":
			d.input = c.Text()
		case "thinking":
			d.thinking = c.Text()
		case "signature":
			d.signature = c.Text()
		case "citation":
			d.citation = c.Raw()
		case "container":
			d.container = given(c.Raw())
		default:
			if !d.stop.take(&c) {
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
		if r.fragment(ev.Data) {
			if r.answer.Err() != nil {
				return nil, r.answer.Unheard(r.req)
			}
			continue
		}
		var e event
		if err := e.parse(ev.Data); err != nil {
			if ev.Cut {
				return nil, r.answer.Interrupted(r.req, err)
			}
			return nil, r.answer.Broken(r.req, wire.Malformed("an event of it is not JSON as agreed", err))
		}
		switch {
		case string(e.kind) == "message_stop":
			return r.end()
		case string(e.kind) == "error" || e.refused:
			return nil, r.answer.Broken(r.req, told(ev.Data, r.secret))
		}
		if err := r.take(&e); err != nil {
			return nil, err
		}
		if r.answer.Err() != nil {
			return nil, r.answer.Unheard(r.req)
		}
	}
}

// The beginning of nearly all events, as the vendor spells it.
const (
	deltaHead = `{"type":"content_block_delta","index":`
	textHead  = `,"delta":{"type":"text_delta","text":`
)

// fragment takes in an event that is nothing but a piece of text in the vendor's
// own spelling, and reports whether data was one. All others go by [event.parse].
func (r *reader) fragment(data []byte) bool {
	if !bytes.HasPrefix(data, []byte(deltaHead)) {
		return false
	}
	at := len(deltaHead)
	for at < len(data) && data[at] >= '0' && data[at] <= '9' {
		at++
	}
	if !bytes.HasPrefix(data[at:], []byte(textHead)) {
		return false
	}
	rest := data[at+len(textHead):]
	said := bytes.TrimRight(rest, "} ") // there are blanks before the braces now and then
	if bytes.Count(rest[len(said):], []byte{'}'}) != 2 {
		return false
	}
	c := jsontext.NewCursor(said)
	if c.Kind() != '"' {
		return false
	}
	text := c.Text()
	if c.End() != nil {
		return false
	}
	r.say(text)
	return true
}

// take takes in an event. Those of unknown types are skipped: the vendor adds
// some now and then.
func (r *reader) take(e *event) error {
	switch string(e.kind) {
	case "message_start":
		r.answer.Open(only)
		r.answer.Begin(e.message.id, e.message.model)
		r.extras.Container = bytes.Clone(e.message.container)
		r.use(e.message.usage)
	case "content_block_start":
		b := parseBlock(e.block)
		part := r.start(&b)
		b.raw, b.citations, b.caller = nil, nil, nil // end with the event
		r.open = append(r.open, openBlock{index: e.index, block: b, part: part})
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
		if c := e.delta.container; len(c) > 0 {
			r.extras.Container = bytes.Clone(c)
		}
		if len(e.management) > 0 {
			r.extras.Management = bytes.Clone(e.management)
		}
		r.finish(&e.delta.stop)
		r.use(e.usage)
	}
	return nil
}

func (r *reader) delta(e *event) error {
	switch d := &e.delta; string(d.kind) {
	case "text_delta":
		r.say(d.text)
	case "thinking_delta":
		r.think(d.thinking)
	case "signature_delta":
		r.sign(d.signature, false)
	case "citations_delta":
		r.cite(d.citation)
	case "input_json_delta":
		o := r.opened(e.index)
		switch {
		case o == nil:
			return r.answer.Broken(r.req, wire.Malformed("it has arguments of a tool call that was not begun", nil))
		case o.block.kind == blockCall:
			r.answer.Arguments(only, o.part, d.input)
		default:
			o.input = append(o.input, d.input...)
		}
	default: // of a block that the schemas don't have
		if o := r.opened(e.index); o != nil && foreign(o.block.kind) {
			r.patch(o, d.raw)
		}
	}
	return nil
}

// opened returns the open block of an index, or nil.
func (r *reader) opened(index int) *openBlock {
	for i := range r.open {
		if r.open[i].index == index {
			return &r.open[i]
		}
	}
	return nil
}

// foreign reports whether a block is of a type that the schemas don't have.
func foreign(kind string) bool {
	switch kind {
	case "text", "thinking", "redacted_thinking", blockCall, blockServer:
		return false
	}
	return true
}

// close completes a block whose end has come.
func (r *reader) close(o *openBlock) {
	whole := len(o.input) > 0 && json.Valid(o.input)
	switch {
	case o.block.kind == blockCall:
		if !r.answer.HasArguments(only, o.part) {
			r.answer.Arguments(only, o.part, input(&o.block))
		}
	case o.block.kind == blockServer && whole:
		r.serverCall(&o.block, string(o.input))
	case o.block.kind == blockServer:
		r.serverCall(&o.block, input(&o.block))
	case foreign(o.block.kind) && whole:
		r.patch(o, append(append([]byte(`{"input":`), o.input...), '}'))
	}
}

// patch lays fields over a block that the schemas don't have; its type stays.
func (r *reader) patch(o *openBlock, fields []byte) {
	kept := &r.extras.Blocks[o.part].Block
	kind, err := json.Marshal(o.block.kind)
	if err != nil {
		return
	}
	laid, err := wire.Overlay(*kept, "block", fields)
	if err != nil {
		return // it is no object: the block stays as it was
	}
	if laid, err = wire.Overlay(laid, "block", append(append([]byte(`{"type":`), kind...), '}')); err == nil {
		*kept = laid
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

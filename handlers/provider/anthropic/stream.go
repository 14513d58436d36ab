package anthropic

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// event is one event of a stream; Type says which of the other fields count.
type event struct {
	Type    string          `json:"type"`
	Index   int             `json:"index"`
	Message *answer         `json:"message"`
	Block   json.RawMessage `json:"content_block"`
	Delta   delta           `json:"delta"`
	Usage   json.RawMessage `json:"usage"`
	Error   json.RawMessage `json:"error"`
}

type delta struct {
	Type        string          `json:"type"`
	Text        string          `json:"text"`
	PartialJSON string          `json:"partial_json"`
	Thinking    string          `json:"thinking"`
	Signature   string          `json:"signature"`
	Citation    json.RawMessage `json:"citation"`
	stop
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
		if err := json.Unmarshal(ev.Data, &e); err != nil {
			if ev.Cut {
				return nil, r.answer.Interrupted(r.req, err)
			}
			return nil, r.answer.Broken(r.req, wire.Malformed("an event of it is not JSON as agreed", err))
		}
		switch {
		case e.Type == "message_stop":
			return r.end()
		case e.Type == "error" || len(e.Error) > 0 && string(e.Error) != "null":
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
	switch e.Type {
	case "message_start":
		r.answer.Open(only)
		if e.Message != nil {
			r.answer.Begin(e.Message.ID, e.Message.Model)
			r.use(e.Message.Usage)
		}
	case "content_block_start":
		var b block
		if err := json.Unmarshal(e.Block, &b); err != nil {
			return r.answer.Broken(r.req, wire.Malformed("a block of it is not as agreed", err))
		}
		r.open = append(r.open, openBlock{index: e.Index, block: b, part: r.start(&b, e.Block)})
	case "content_block_delta":
		return r.delta(e)
	case "content_block_stop":
		for i := range r.open {
			if r.open[i].index == e.Index {
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
		r.finish(&e.Delta.stop)
		r.use(e.Usage)
	}
	return nil
}

func (r *reader) delta(e *event) error {
	switch d := &e.Delta; d.Type {
	case "text_delta":
		r.answer.Text(only, d.Text)
	case "thinking_delta":
		r.answer.Reasoning(only, d.Thinking)
	case "signature_delta":
		r.answer.Signature(only, d.Signature, false)
	case "citations_delta":
		if len(d.Citation) > 0 {
			r.extras.Citations = append(r.extras.Citations, d.Citation)
		}
	case "input_json_delta":
		for i := range r.open {
			o := &r.open[i]
			switch {
			case o.index != e.Index:
				continue
			case o.block.Type == "tool_use":
				r.answer.Arguments(only, o.part, d.PartialJSON)
			default:
				o.input = append(o.input, d.PartialJSON...)
			}
			return nil
		}
		return r.answer.Broken(r.req, wire.Malformed("it has arguments of a tool call that was not begun", nil))
	}
	return nil
}

// close completes a block whose end has come.
func (r *reader) close(o *openBlock) {
	switch o.block.Type {
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
	if len(b.Input) == 0 || string(b.Input) == "null" {
		return "{}"
	}
	return string(b.Input)
}

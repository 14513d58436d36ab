package openai

import (
	"bytes"

	"github.com/sira-ai/sira/schemas/jsontext"
)

// parse reads a completion. Slices in it share body's memory.
func (o *completion) parse(body []byte) error {
	return new(frame).parse(o, body)
}

// frame is what is alike in the chunks of a stream, which is compared and not read
// again: before the choices at OpenAI, behind them at Azure, and, in the many
// chunks with a piece of text and no more, all around that.
type frame struct {
	head, tail []byte  // around the choices
	stencil    stencil // of a chunk with a text
	index      int     // of the choice with the text
	first      bool    // the text comes before the padding
}

// parse reads body into o, which holds nothing but, perhaps, memory to use again.
// Fields that are in the frame are left empty.
func (f *frame) parse(o *completion, body []byte) error {
	if f.spoken(o, body) {
		return nil
	}
	c := jsontext.NewCursor(body)
	if f.begins(body) {
		c = jsontext.Resume(body, len(f.head))
	} else if !c.Object() {
		return c.End()
	}
	for {
		at := c.Offset()
		if !c.Key() {
			break
		}
		if string(c.Name()) != "choices" {
			o.field(&c)
			continue
		}
		o.options(&c)
		if c.Kind() != 0 && bytes.Equal(c.Rest(), f.tail) { // Kind is 0 after a mistake
			f.learn(o, body)
			return nil
		}
		f.head = append(f.head[:0], body[:at]...)
		f.tail = append(f.tail[:0], c.Rest()...)
	}
	if err := c.End(); err != nil {
		return err
	}
	f.learn(o, body)
	return nil
}

// begins reports whether body has the head of the frame, and not only a number
// that begins like the one at its end.
func (f *frame) begins(body []byte) bool {
	n := len(f.head)
	return n > 1 && len(body) > n && body[n] == ',' && bytes.HasPrefix(body, f.head)
}

// learn keeps what stands around the text of a chunk that has nothing else.
func (f *frame) learn(o *completion, body []byte) {
	if len(o.choices) != 1 || said(o.usage) || len(o.filters) > 0 || o.refused || !o.choices[0].onlyText() {
		return
	}
	text := o.choices[0].message.at
	f.index, f.first = o.choices[0].index, text.from < o.padding.from || o.padding.to == 0
	if f.first {
		f.stencil.cut(body, text, o.padding)
	} else {
		f.stencil.cut(body, o.padding, text)
	}
}

// spoken reads a chunk that differs from the last in its text and padding alone,
// and reports whether it is one.
func (f *frame) spoken(o *completion, body []byte) bool {
	values, ok := f.stencil.fit(body)
	if !ok {
		return false
	}
	raw := values[0]
	if !f.first {
		raw = values[1]
	}
	text := jsontext.NewCursor(raw)
	o.choices = append(o.choices, option{index: f.index, message: message{content: text.Text()}})
	return true
}

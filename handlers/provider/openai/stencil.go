package openai

import (
	"bytes"

	"github.com/sira-ai/sira/schemas/jsontext"
)

// maxHoles is how many values differ between the pieces of a text at most.
const maxHoles = 3

// span is where a value stands in a JSON text.
type span struct{ from, to int }

// stencil is a JSON text with holes where values stood. Most events of a stream
// differ from the one before in a text, a number and some padding: what fits the
// stencil need not be parsed. With it, 200 events of the responses API take half
// the time.
type stencil struct {
	text  []byte
	spans [maxHoles]span
	holes int
}

// cut makes a stencil of text, with holes at spans, which are in order. Empty
// spans are left out.
func (s *stencil) cut(text []byte, spans ...span) {
	s.text, s.holes = append(s.text[:0], text...), 0
	for _, at := range spans {
		if at.to > at.from {
			s.spans[s.holes] = at
			s.holes++
		}
	}
}

// fit reports whether text is the stencil's but for the values in its holes, and
// returns those as they stand. They are strings or whole numbers, as before.
func (s *stencil) fit(text []byte) (values [maxHoles][]byte, ok bool) {
	if s.holes == 0 {
		return values, false
	}
	from := 0
	for i := range s.holes {
		at := s.spans[i]
		piece := s.text[from:at.from]
		if len(text) <= len(piece) || !bytes.HasPrefix(text, piece) {
			return values, false
		}
		text = text[len(piece):]
		if isString := s.text[at.from] == '"'; isString != (text[0] == '"') || !isString && (text[0] < '0' || text[0] > '9') {
			return values, false
		}
		c := jsontext.NewCursor(text)
		if values[i] = c.Raw(); len(values[i]) == 0 {
			return values, false
		}
		text = c.Rest()
		from = at.to
	}
	return values, bytes.Equal(text, s.text[from:])
}

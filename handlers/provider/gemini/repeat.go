package gemini

import (
	"bytes"

	"github.com/sira-ai/sira/schemas/jsontext"
)

// repeat recognizes a piece of a stream that differs from the one before only in
// its text and in the numbers of its usage, which is nearly every piece. Reading
// those as JSON took more than twice as long: BenchmarkDecodeStream.
type repeat struct {
	head, tail []byte   // around the text of the last piece; no head: it was no plain text
	usage      int      // where the usage begins in tail; -1: nowhere
	shape      []byte   // the tail of the piece that was read as JSON
	fixed      [][]byte // shape without the numbers of the usage
	fresh      bool     // tail has usage that is newer than what the reader holds
	candidate  *candidate
	thought    bool
}

// learn keeps the shape of data, in which text is all that a candidate says.
func (p *repeat) learn(data []byte, text string) {
	p.head = p.head[:0]
	at := bytes.Index(data, []byte(`"text"`))
	if at < 0 {
		return
	}
	at += len(`"text"`)
	for at < len(data) && (data[at] == ' ' || data[at] == ':') {
		at++
	}
	n := stringEnd(data[at:])
	if n < 0 {
		return
	}
	if c := jsontext.NewCursor(data[at : at+n]); c.Text() != text {
		return
	}
	p.head = append(p.head, data[:at]...)
	p.tail = append(p.tail[:0], data[at+n:]...)
	p.usage = bytes.Index(p.tail, []byte(`"usageMetadata"`))
	p.shape = append(p.shape[:0], p.tail...)
	p.fixed = p.fixed[:0]
	rest := p.shape
	for i := p.usage; p.usage >= 0 && i < len(rest); i++ {
		if n := digits(rest[i:]); n > 0 && (rest[i-1] == ':' || rest[i-1] == ' ') {
			p.fixed = append(p.fixed, rest[:i])
			rest, i = rest[i+n:], 0
		}
	}
	p.fixed = append(p.fixed, rest)
}

// text returns the text of a piece of the same shape.
func (p *repeat) text(data []byte) (string, bool) {
	if len(p.head) == 0 || !bytes.HasPrefix(data, p.head) {
		return "", false
	}
	data = data[len(p.head):]
	n := stringEnd(data)
	if n < 0 || !p.same(data[n:]) {
		return "", false
	}
	c := jsontext.NewCursor(data[:n])
	text := c.Text()
	if c.End() != nil {
		return "", false
	}
	p.tail = append(p.tail[:0], data[n:]...)
	p.fresh = p.fresh || p.usage >= 0
	return text, true
}

// same compares what stands behind the text, but for the numbers of the usage.
func (p *repeat) same(tail []byte) bool {
	for i, part := range p.fixed {
		if !bytes.HasPrefix(tail, part) {
			return false
		}
		tail = tail[len(part):]
		if i < len(p.fixed)-1 {
			n := digits(tail)
			if n == 0 {
				return false
			}
			tail = tail[n:]
		}
	}
	return len(tail) == 0
}

// digits returns how many digits b begins with.
func digits(b []byte) int {
	n := 0
	for n < len(b) && b[n] >= '0' && b[n] <= '9' {
		n++
	}
	return n
}

// stringEnd returns how long the JSON string is that data begins with, or -1.
func stringEnd(data []byte) int {
	if len(data) == 0 || data[0] != '"' {
		return -1
	}
	end := 1
	for {
		n := bytes.IndexByte(data[end:], '"')
		if n < 0 {
			return -1
		}
		end += n + 1
		slashes := 0
		for data[end-2-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return end
		}
	}
}

// settle hands the usage of the last piece to the reader, before a piece of
// another shape is read.
func (r *reader) settle() {
	p := &r.repeat
	if !p.fresh {
		return
	}
	p.fresh = false
	c := jsontext.NewCursor(append([]byte{'{'}, p.tail[p.usage:]...))
	if c.Object() && c.Key() {
		r.said(c.Raw())
	}
}

// Package jsontext reads and writes JSON without reflection, for the hot paths:
// requests and results of producers that speak JSON, and what providers are sent and
// answer.
package jsontext

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

// Cursor walks over the JSON of an answer. It is for the hot path, where typed
// structs with encoding/json took four times as long: BenchmarkDecode of openai
// went from 17.9 to 4.6 us and from 40 to 22 allocations, 100 chunks of a stream
// from 413 to 114 us (2 busy cores, Go 1.26.8).
//
//	if c.Object() {
//		for c.Key() {
//			switch string(c.Name()) {
//			case "id":
//				id = c.Text()
//			default:
//				c.Skip()
//			}
//		}
//	}
//	err := c.End()
//
// Each Key and each Item that reports true is followed by exactly one call that
// reads the value. After a mistake in the JSON values are empty and loops end;
// End reports the mistake. A value of another kind than the one asked for is no
// mistake: the vendors' copies of each other differ.
type Cursor struct {
	b     []byte
	i     int
	depth int
	first bool // nothing has been read yet in the innermost object or array
	bad   bool
	name  []byte
}

// NewCursor returns a cursor before the value b, which it keeps.
func NewCursor(b []byte) Cursor { return Cursor{b: b} }

var errJSON = errors.New("not JSON")

// maxDepth bounds nesting.
const maxDepth = 1000

// End reports whether the JSON was in order and nothing stands behind it.
func (c *Cursor) End() error {
	if c.Kind(); c.bad || c.i < len(c.b) {
		return errJSON
	}
	return nil
}

// Kind returns the first byte of the next value, or 0.
func (c *Cursor) Kind() byte {
	for c.i < len(c.b) && !c.bad {
		switch ch := c.b[c.i]; ch {
		case ' ', '\n', '\r', '\t':
			c.i++
		default:
			return ch
		}
	}
	return 0
}

// Object enters an object, for Key. It skips a value that is none and reports
// false.
func (c *Cursor) Object() bool { return c.enter('{') }

// Array enters an array, for Item, as Object does.
func (c *Cursor) Array() bool { return c.enter('[') }

func (c *Cursor) enter(open byte) bool {
	if c.Kind() != open {
		c.Skip()
		return false
	}
	c.i++
	c.first = true
	if c.depth++; c.depth > maxDepth {
		c.bad = true
	}
	return !c.bad
}

// Key reads the next name in an object and reports whether there is one.
func (c *Cursor) Key() bool {
	if !c.more('}') {
		return false
	}
	if c.Kind() != '"' {
		c.bad = true
		return false
	}
	raw := c.Raw()
	if c.Kind() != ':' {
		c.bad = true
		return false
	}
	c.i++
	c.name = raw[1 : len(raw)-1]
	if bytes.IndexByte(c.name, '\\') >= 0 {
		c.name = []byte(Text(raw))
	}
	return true
}

// Name returns the name that Key has read, good until it reads another.
func (c *Cursor) Name() []byte { return c.name }

// Item reports whether there is another value in an array.
func (c *Cursor) Item() bool { return c.more(']') }

// more steps over a comma, or over the end of an object or array.
func (c *Cursor) more(end byte) bool {
	switch ch := c.Kind(); {
	case ch == end:
		c.i++
		c.depth--
		c.first = false
		return false
	case ch == 0 || c.first && ch == ',' || !c.first && ch != ',':
		c.bad = true
		return false
	case !c.first:
		c.i++
	}
	c.first = false
	return true
}

// Text reads a string. Null is empty, and any other value is its JSON text: some
// servers send objects where the original API has a string.
func (c *Cursor) Text() string { return Text(c.Raw()) }

// Count reads a number of tokens, as [Count] does. What is none gives 0.
func (c *Cursor) Count() int64 {
	var n Count
	_ = n.UnmarshalJSON(c.Raw()) // never fails
	return int64(n)
}

// Int reads a whole number. Any other value gives 0.
func (c *Cursor) Int() int {
	n, _ := strconv.Atoi(string(c.Raw()))
	return n
}

// Raw reads a value of any kind as it stands. It is nil after a mistake.
func (c *Cursor) Raw() []byte {
	c.Kind()
	from := c.i
	if c.Skip(); c.bad {
		return nil
	}
	return c.b[from:c.i]
}

// Skip steps over a value of any kind.
func (c *Cursor) Skip() {
	switch ch := c.Kind(); ch {
	case '"':
		c.skipString()
	case '{':
		if c.enter('{') {
			for c.pass() {
				c.Skip()
			}
		}
	case '[':
		if c.enter('[') {
			for c.more(']') {
				c.Skip()
			}
		}
	case 't':
		c.skipWord("true")
	case 'f':
		c.skipWord("false")
	case 'n':
		c.skipWord("null")
	default:
		c.skipNumber()
	}
}

// pass is Key without keeping the name.
func (c *Cursor) pass() bool {
	if !c.more('}') {
		return false
	}
	if c.Kind() != '"' {
		c.bad = true
		return false
	}
	c.skipString()
	if c.Kind() != ':' {
		c.bad = true
		return false
	}
	c.i++
	return true
}

func (c *Cursor) skipWord(word string) {
	if c.bad = len(c.b)-c.i < len(word) || string(c.b[c.i:c.i+len(word)]) != word; !c.bad {
		c.i += len(word)
	}
}

func (c *Cursor) skipString() {
	for i := c.i + 1; i < len(c.b); i++ {
		switch ch := c.b[i]; {
		case ch == '"':
			c.i = i + 1
			return
		case ch < ' ':
			c.bad = true
			return
		case ch == '\\':
			i++
			if !escape(c.b, i) {
				c.bad = true
				return
			}
		}
	}
	c.bad = true
}

// escape reports whether an escape goes on at b[i], behind its backslash.
func escape(b []byte, i int) bool {
	if i >= len(b) {
		return false
	}
	switch b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		if i+4 >= len(b) {
			return false
		}
		for _, h := range b[i+1 : i+5] {
			if (h < '0' || h > '9') && (h|0x20 < 'a' || h|0x20 > 'f') {
				return false
			}
		}
		return true
	}
	return false
}

func (c *Cursor) skipNumber() {
	if c.i < len(c.b) && c.b[c.i] == '-' {
		c.i++
	}
	if c.i < len(c.b) && c.b[c.i] == '0' {
		c.i++
	} else {
		c.skipDigits()
	}
	if c.i < len(c.b) && c.b[c.i] == '.' {
		c.i++
		c.skipDigits()
	}
	if c.i < len(c.b) && c.b[c.i]|0x20 == 'e' {
		c.i++
		if c.i < len(c.b) && (c.b[c.i] == '+' || c.b[c.i] == '-') {
			c.i++
		}
		c.skipDigits()
	}
}

// skipDigits steps over at least one digit.
func (c *Cursor) skipDigits() {
	from := c.i
	for c.i < len(c.b) && c.b[c.i] >= '0' && c.b[c.i] <= '9' {
		c.i++
	}
	c.bad = c.bad || c.i == from
}

// Text returns the text of a JSON string, "" for null and nil, and any other
// value as it stands. raw is JSON.
func Text(raw []byte) string {
	if len(raw) == 0 || string(raw) == "null" {
		return ""
	}
	if raw[0] != '"' {
		return string(raw)
	}
	if bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		return string(raw[1 : len(raw)-1])
	}
	var s string
	_ = json.Unmarshal(raw, &s) // it is a JSON string
	return s
}

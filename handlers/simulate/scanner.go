package simulate

import (
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

var (
	errSyntax = errors.New("the body is not valid JSON")
	errDepth  = errors.New("the body is nested too deeply")
)

// maxDepth is the nesting that encoding/json accepts as well.
const maxDepth = 10000

// scanner walks over a JSON document without building it, and checks all of it on the way. A caller enters objects and
// arrays and takes or skips each value; the first mistake ends every loop and stays in err.
//
//	for s.object(); s.field(&key); {
//		switch string(key) { case "model": … default: s.skip() }
//	}
//	err := s.end()
type scanner struct {
	b     []byte
	i     int
	depth int
	fresh bool // just entered an object or array: no comma stands before its first value
	err   error
}

func (s *scanner) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// peek returns the next byte that is not space, and 0 at the end or after a mistake.
func (s *scanner) peek() byte {
	if s.err != nil {
		return 0
	}
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) take(c byte) bool {
	if s.peek() != c || s.err != nil {
		s.fail(errSyntax)
		return false
	}
	s.i++
	return true
}

// object enters an object; anything else is a mistake.
func (s *scanner) object() { s.enter('{') }

// array enters an array; anything else is a mistake.
func (s *scanner) array() { s.enter('[') }

func (s *scanner) enter(c byte) {
	if !s.take(c) {
		return
	}
	if s.depth++; s.depth > maxDepth {
		s.fail(errDepth)
	}
	s.fresh = true
}

// more passes the comma before a further value, or leaves at the closing byte.
func (s *scanner) more(closing byte) bool {
	c := s.peek()
	fresh := s.fresh
	s.fresh = false
	switch {
	case s.err != nil:
		return false
	case c == closing:
		s.i++
		s.depth--
		return false
	case fresh:
		return true
	}
	return s.take(',')
}

// field passes to the next field of the object entered last and gives its name, still escaped. It reports false after
// the last one.
func (s *scanner) field(key *[]byte) bool {
	if !s.more('}') {
		return false
	}
	*key = s.raw()
	return s.take(':')
}

// element passes to the next value of the array entered last. It reports false after the last one.
func (s *scanner) element() bool { return s.more(']') }

// end reports the first mistake, or that something follows the document.
func (s *scanner) end() error {
	if s.peek() != 0 || (s.err == nil && s.i < len(s.b)) {
		s.fail(errSyntax)
	}
	return s.err
}

// raw passes a string and returns what stands between its quotes.
func (s *scanner) raw() []byte {
	if !s.take('"') {
		return nil
	}
	start := s.i
	for s.i < len(s.b) {
		switch c := s.b[s.i]; {
		case c == '"':
			s.i++
			return s.b[start : s.i-1]
		case c < ' ':
			s.fail(errSyntax)
			return nil
		case c == '\\':
			if !s.escape() {
				s.fail(errSyntax)
				return nil
			}
		default:
			s.i++
		}
	}
	s.fail(errSyntax)
	return nil
}

func (s *scanner) escape() bool {
	if s.i+1 >= len(s.b) {
		return false
	}
	switch s.b[s.i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i += 2
		return true
	case 'u':
		if s.i+6 > len(s.b) {
			return false
		}
		_, err := strconv.ParseUint(string(s.b[s.i+2:s.i+6]), 16, 16)
		s.i += 6
		return err == nil
	}
	return false
}

// text passes a value and returns it if it is a string.
func (s *scanner) text() (string, bool) {
	if s.peek() != '"' {
		s.skip()
		return "", false
	}
	raw := s.raw()
	for _, c := range raw {
		if c == '\\' || c >= utf8.RuneSelf {
			var t string
			err := json.Unmarshal(s.b[s.i-len(raw)-2:s.i], &t)
			return t, err == nil && s.err == nil
		}
	}
	return string(raw), s.err == nil
}

// integer passes a value and returns it if it is a whole number.
func (s *scanner) integer() (int, bool) {
	c := s.peek()
	start := s.i
	s.skip()
	if s.err != nil || (c != '-' && (c < '0' || c > '9')) {
		return 0, false
	}
	n, err := strconv.Atoi(string(s.b[start:s.i]))
	return n, err == nil
}

// boolean passes a value and returns it if it is true or false; null counts as false.
func (s *scanner) boolean() (value, ok bool) {
	c := s.peek()
	s.skip()
	return c == 't', s.err == nil && (c == 't' || c == 'f' || c == 'n')
}

// skip passes a value of any kind.
func (s *scanner) skip() {
	switch c := s.peek(); c {
	case '{':
		var key []byte
		for s.object(); s.field(&key); {
			s.skip()
		}
	case '[':
		for s.array(); s.element(); {
			s.skip()
		}
	case '"':
		s.raw()
	case 't':
		s.literal("true")
	case 'f':
		s.literal("false")
	case 'n':
		s.literal("null")
	default:
		s.number()
	}
}

func (s *scanner) literal(want string) {
	if s.i+len(want) > len(s.b) || string(s.b[s.i:s.i+len(want)]) != want {
		s.fail(errSyntax)
		return
	}
	s.i += len(want)
}

func (s *scanner) number() {
	if s.at('-') {
		s.i++
	}
	switch {
	case s.at('0'):
		s.i++
	case !s.digits():
		s.fail(errSyntax)
		return
	}
	if s.at('.') {
		s.i++
		if !s.digits() {
			s.fail(errSyntax)
		}
	}
	if s.at('e') || s.at('E') {
		s.i++
		if s.at('+') || s.at('-') {
			s.i++
		}
		if !s.digits() {
			s.fail(errSyntax)
		}
	}
}

func (s *scanner) at(c byte) bool { return s.err == nil && s.i < len(s.b) && s.b[s.i] == c }

func (s *scanner) digits() bool {
	start := s.i
	for s.err == nil && s.i < len(s.b) && s.b[s.i] >= '0' && s.b[s.i] <= '9' {
		s.i++
	}
	return s.i > start
}

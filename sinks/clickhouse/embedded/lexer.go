package embedded

import "bytes"

type tokenKind uint8

const (
	tokenEnd    tokenKind = iota
	tokenWord             // bare identifiers and keywords
	tokenQuoted           // "identifier" and `identifier`
	tokenString           // 'text' and $tag$text$tag$
	tokenNumber
	tokenSymbol // any other single byte
)

// token is a piece of SQL: text[start:end].
type token struct {
	kind       tokenKind
	start, end int
}

// lexer cuts SQL as ClickHouse's own lexer does (src/Parsers/Lexer.cpp), as far as it matters to tell words from the insides
// of quotes, here-documents and comments. The two must agree on that: what this one takes for a comment, and the engine does
// not, is a way past the statements the server refuses.
type lexer struct {
	text []byte
	pos  int
	// misses counts the here-documents that were looked for in vain, each of which costs a look at all the rest.
	misses int
}

// maxMisses bounds what a text full of dollar signs costs.
const maxMisses = 1000

// gaveUp reports that the text was not read to its end.
func (l *lexer) gaveUp() bool { return l.misses > maxMisses }

// next skips blanks and comments and returns the token after them.
func (l *lexer) next() token {
	l.skipBlanks()
	start := l.pos
	if start >= len(l.text) {
		return token{kind: tokenEnd, start: len(l.text), end: len(l.text)}
	}
	kind := tokenSymbol
	switch c := l.text[start]; {
	case c == '\'':
		kind = tokenString
		l.skipQuoted(c)
	case c == '"' || c == '`':
		kind = tokenQuoted
		l.skipQuoted(c)
	case l.hasPrefix("\u2018"):
		kind = tokenString
		l.skipThrough("\u2019")
	case l.hasPrefix("\u201c"):
		kind = tokenQuoted
		l.skipThrough("\u201d")
	case c == '$' && l.skipHereDoc():
		kind = tokenString
	case c >= '0' && c <= '9':
		kind = tokenNumber
		l.skipNumber()
	case isWordByte(c) || c == '$' && start+1 < len(l.text) && isWordByte(l.text[start+1]):
		kind = tokenWord
		for l.pos < len(l.text) && (isWordByte(l.text[l.pos]) || l.text[l.pos] == '$') {
			l.pos++
		}
	default:
		l.pos++
	}
	return token{kind: kind, start: start, end: l.pos}
}

func (l *lexer) skipBlanks() {
	for l.pos < len(l.text) {
		switch {
		case isBlank(l.text[l.pos]):
			l.pos++
		case l.hasPrefix("--"), l.hasPrefix("//"), l.hasPrefix("# "), l.hasPrefix("#!"):
			if end := bytes.IndexByte(l.text[l.pos:], '\n'); end >= 0 {
				l.pos += end
			} else {
				l.pos = len(l.text)
			}
		case l.hasPrefix("/*"):
			l.skipComment()
		default:
			return
		}
	}
}

// skipComment skips /* ... */, which nests.
func (l *lexer) skipComment() {
	depth := 0
	for l.pos < len(l.text) {
		switch {
		case l.hasPrefix("/*"):
			depth++
			l.pos += 2
		case l.hasPrefix("*/"):
			depth--
			l.pos += 2
			if depth == 0 {
				return
			}
		default:
			l.pos++
		}
	}
}

// skipQuoted skips a quoted text, in which a backslash escapes and a doubled quote stands for itself.
func (l *lexer) skipQuoted(quote byte) {
	for l.pos++; l.pos < len(l.text); l.pos++ {
		switch l.text[l.pos] {
		case '\\':
			l.pos++
		case quote:
			if l.pos+1 >= len(l.text) || l.text[l.pos+1] != quote {
				l.pos++
				return
			}
			l.pos++
		}
	}
	l.pos = len(l.text)
}

// skipHereDoc skips $tag$ ... $tag$, and reports false without moving if there is none.
func (l *lexer) skipHereDoc() bool {
	if l.gaveUp() {
		l.pos = len(l.text)
		return true
	}
	rest := l.text[l.pos:]
	name := bytes.IndexByte(rest[1:], '$')
	if name < 0 {
		l.misses++
		return false
	}
	tag := rest[:name+2]
	end := bytes.Index(rest[len(tag):], tag)
	if end < 0 {
		l.misses++
		return false
	}
	l.pos += len(tag) + end + len(tag)
	return true
}

// skipNumber takes the sign of an exponent along, so that 1e--2 does not turn into a comment.
func (l *lexer) skipNumber() {
	for l.pos < len(l.text) && (isWordByte(l.text[l.pos]) || l.text[l.pos] == '.') {
		c := l.text[l.pos]
		l.pos++
		exponent := c == 'e' || c == 'E' || c == 'p' || c == 'P'
		if exponent && l.pos < len(l.text) && (l.text[l.pos] == '-' || l.text[l.pos] == '+') {
			l.pos++
		}
	}
}

func (l *lexer) skipThrough(end string) {
	if at := bytes.Index(l.text[l.pos:], []byte(end)); at >= 0 {
		l.pos += at + len(end)
		return
	}
	l.pos = len(l.text)
}

func (l *lexer) hasPrefix(prefix string) bool {
	return len(l.text)-l.pos >= len(prefix) && string(l.text[l.pos:l.pos+len(prefix)]) == prefix
}

func isBlank(c byte) bool {
	return c == ' ' || c >= '\t' && c <= '\r'
}

func isWordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

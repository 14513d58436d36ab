package embedded

import (
	"bytes"
	"strings"
)

// statement is what the server must know of a query before the engine sees it.
type statement struct {
	// sql is the query without the semicolon and the blanks after it. For an insert it ends before the data.
	sql []byte
	// format names the format the answer will have if the query says so, else it is empty.
	format string
	// insert is set when data follows the query, in its text or in the body.
	insert *insert
}

// insert is a statement of the shape INSERT INTO target [SETTINGS ...] FORMAT name, or ... VALUES.
type insert struct {
	// target is the query up to its columns.
	target []byte
	// settings is the SETTINGS clause as written, or empty.
	settings []byte
	format   string
	// data is where the data begins in the text that was parsed.
	data int
}

// fromFile returns the statement that reads the data from path instead of from what follows it. Inside the statement the
// engine would cut binary data short at its first newline.
func (i *insert) fromFile(path string) []byte {
	sql := make([]byte, 0, len(i.target)+len(i.settings)+len(path)+64)
	sql = append(sql, i.target...)
	sql = append(sql, "\nFROM INFILE '"...) // after a space a # before it would begin a comment
	sql = append(sql, path...)
	sql = append(sql, "' COMPRESSION 'none' "...)
	sql = append(sql, i.settings...)
	sql = append(sql, " FORMAT "...)
	return append(sql, i.format...)
}

// parseStatement looks only as deep as the server needs: the engine remains the judge of the query. It refuses, as
// ClickHouse's HTTP interface does, a second statement and reading or writing files by INFILE and OUTFILE, which are a
// client's business and which libchdb, being its own client, would do with this process's rights.
func parseStatement(text []byte) (statement, error) {
	p := parser{lexer: lexer{text: text}}
	p.advance()
	if p.isWord("INSERT") {
		if found := p.insert(); found != nil {
			return statement{sql: text[:found.data], insert: found}, nil
		}
		p = parser{lexer: lexer{text: text}}
		p.advance()
	}
	return p.plain()
}

// parser holds one token of look-ahead.
type parser struct {
	lexer
	tok token
}

func (p *parser) advance() { p.tok = p.next() }

func (p *parser) word() []byte { return p.text[p.tok.start:p.tok.end] }

func (p *parser) isWord(keyword string) bool {
	return p.tok.kind == tokenWord && len(keyword) == p.tok.end-p.tok.start && strings.EqualFold(string(p.word()), keyword)
}

func (p *parser) isSymbol(c byte) bool {
	return p.tok.kind == tokenSymbol && p.text[p.tok.start] == c
}

func (p *parser) takeWord(keyword string) bool {
	if !p.isWord(keyword) {
		return false
	}
	p.advance()
	return true
}

// plain reads a statement that is run as it stands.
func (p *parser) plain() (statement, error) {
	st := statement{}
	end, ended := 0, false
	var before [2]string // the two words before the present token, or "" where there is none
	for ; p.tok.kind != tokenEnd; p.advance() {
		if p.isSymbol(';') {
			ended = true
			continue
		}
		if ended {
			return statement{}, newException(codeSyntaxError, "Multi-statements are not allowed")
		}
		if p.isWord("OUTFILE") && before[1] == "INTO" {
			return statement{}, newException(codeIntoOutfileNotAllowed, "INTO OUTFILE is not allowed")
		}
		if before[0] == "FROM" && before[1] == "INFILE" && p.tok.kind == tokenString {
			return statement{}, newException(codeUnknownTypeOfQuery, "FROM INFILE is not allowed: send the data in the request")
		}
		switch {
		case before[1] == "FORMAT" && p.tok.kind == tokenWord:
			st.format = string(p.word())
		case !p.isWord("SETTINGS") && before[0] == "FORMAT":
			// A FORMAT clause is followed by SETTINGS or by nothing; this was a column of that name.
			st.format = ""
		}
		before[0], before[1] = before[1], ""
		if p.tok.kind == tokenWord {
			before[1] = strings.ToUpper(string(p.word()))
		}
		end = p.tok.end
	}
	if p.gaveUp() {
		return statement{}, newException(codeSyntaxError, "Too many dollar signs that begin nothing")
	}
	st.sql = p.text[:end]
	if end == 0 {
		return statement{}, newException(codeSyntaxError, "Empty query")
	}
	return st, nil
}

// insert reads INSERT up to its data, and returns nil if it is an INSERT of another shape (SELECT, INFILE, a slip).
func (p *parser) insert() *insert {
	p.advance()
	p.takeWord("INTO")
	if !p.target() {
		return nil
	}
	in := &insert{target: bytes.TrimSpace(p.text[:p.tok.start])}
	if p.isWord("SETTINGS") {
		in.settings = p.settings()
	}
	switch {
	case p.isWord("VALUES"):
		in.format, in.data = "Values", p.tok.end
		return in
	case p.takeWord("FORMAT") && p.tok.kind == tokenWord:
		in.format, in.data = string(p.word()), p.tok.end
		if len(in.settings) == 0 {
			p.settingsAfterFormat(in)
		}
		in.data = skipToData(p.text, in.data)
		return in
	}
	return nil
}

// target reads [TABLE] name [(columns)], or FUNCTION name(arguments) [PARTITION BY expression].
func (p *parser) target() bool {
	if !p.takeWord("FUNCTION") {
		p.takeWord("TABLE")
	}
	for {
		if p.tok.kind != tokenWord && p.tok.kind != tokenQuoted {
			return false
		}
		p.advance()
		if !p.isSymbol('.') {
			break
		}
		p.advance()
	}
	if p.isSymbol('(') && !p.skipBrackets() {
		return false
	}
	if p.takeWord("PARTITION") {
		for p.tok.kind != tokenEnd && !p.isWord("SETTINGS") && !p.isWord("FORMAT") && !p.isWord("VALUES") {
			p.advance()
		}
	}
	return true
}

// skipBrackets skips from an opening bracket past the one that closes it.
func (p *parser) skipBrackets() bool {
	for depth := 0; p.tok.kind != tokenEnd; {
		switch {
		case p.isSymbol('('), p.isSymbol('['), p.isSymbol('{'):
			depth++
		case p.isSymbol(')'), p.isSymbol(']'), p.isSymbol('}'):
			depth--
		}
		p.advance()
		if depth == 0 {
			return true
		}
	}
	return false
}

// settings reads SETTINGS name = value [, ...] and returns it as written. After something else it returns what it has read.
func (p *parser) settings() []byte {
	start := p.tok.start
	end := start
	for p.advance(); p.tok.kind == tokenWord; p.advance() {
		p.advance()
		if !p.isSymbol('=') {
			break
		}
		p.advance()
		if p.isSymbol('-') {
			p.advance()
		}
		end = p.tok.end
		if p.isSymbol('[') || p.isSymbol('{') || p.isSymbol('(') {
			p.skipBrackets()
			end = p.tok.start
		} else {
			p.advance()
		}
		if !p.isSymbol(',') {
			break
		}
	}
	return bytes.TrimSpace(p.text[start:end])
}

// settingsAfterFormat takes SETTINGS behind the format's name, an older order of the clauses. Data that happens to begin
// with the word is left alone.
func (p *parser) settingsAfterFormat(in *insert) {
	p.advance()
	if !p.isWord("SETTINGS") {
		return
	}
	start := p.tok.start
	if clause := p.settings(); len(clause) > 0 {
		in.settings, in.data = clause, start+len(clause)
	}
}

// skipToData skips what ClickHouse allows between the format's name and the data: blanks and at most one end of line.
func skipToData(text []byte, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\t' || text[at] == '\f') {
		at++
	}
	if at < len(text) && text[at] == ';' {
		at++
	}
	if at < len(text) && text[at] == '\r' {
		at++
	}
	if at < len(text) && text[at] == '\n' {
		at++
	}
	return at
}

package embedded

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"testing"
)

func TestInsertIsCutBeforeItsData(t *testing.T) {
	t.Parallel()
	const path = "\nFROM INFILE 'f' COMPRESSION 'none' "
	for text, want := range map[string]struct{ sql, data string }{
		"INSERT INTO t FORMAT Native":                    {"INSERT INTO t" + path + " FORMAT Native", ""},
		"insert into a.`b c` (x, y)\nformat CSV\n1,2\n":  {"insert into a.`b c` (x, y)" + path + " FORMAT CSV", "1,2\n"},
		"INSERT INTO t VALUES (1,'FORMAT')":              {"INSERT INTO t" + path + " FORMAT Values", " (1,'FORMAT')"},
		"INSERT t (a) SETTINGS x=1, y = 'b' FORMAT TSV ": {"INSERT t (a)" + path + "SETTINGS x=1, y = 'b' FORMAT TSV", ""},
		"INSERT INTO t FORMAT CSV SETTINGS x=1\n1":       {"INSERT INTO t" + path + "SETTINGS x=1 FORMAT CSV", "1"},
		"INSERT INTO t SETTINGS m={'a':1}, n=-2 FORMAT RowBinary \r\n\n": {
			"INSERT INTO t" + path + "SETTINGS m={'a':1}, n=-2 FORMAT RowBinary", "\n",
		},
		"INSERT INTO format FORMAT JSONEachRow {}":          {"INSERT INTO format" + path + " FORMAT JSONEachRow", "{}"},
		"/* a */ INSERT INTO TABLE x -- c\n (a) FORMAT CSV": {"/* a */ INSERT INTO TABLE x -- c\n (a)" + path + " FORMAT CSV", ""},
		"INSERT INTO FUNCTION file('x', 'CSV') PARTITION BY a VALUES (1)": {
			"INSERT INTO FUNCTION file('x', 'CSV') PARTITION BY a" + path + " FORMAT Values", " (1)",
		},
	} {
		st, err := parseStatement([]byte(text))
		if err != nil || st.insert == nil {
			t.Errorf("%q: %+v, %v", text, st, err)
			continue
		}
		if got := string(st.insert.fromFile("f")); got != want.sql {
			t.Errorf("%q:\n got %q\nwant %q", text, got, want.sql)
		}
		if got := text[st.insert.data:]; got != want.data {
			t.Errorf("%q: data is %q, want %q", text, got, want.data)
		}
	}
}

func TestFormatOfTheAnswerIsKnown(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"SELECT 1":                              "",
		"SELECT 1 FORMAT JSON":                  "JSON",
		"SELECT 1 FORMAT CSV SETTINGS a = 1; ;": "CSV",
		"SELECT format FROM t":                  "",
		"SELECT 'x FORMAT JSON'":                "",
		"INSERT INTO t SELECT 1":                "",
	} {
		st, err := parseStatement([]byte(text))
		if err != nil || st.insert != nil || st.format != want {
			t.Errorf("%q: %+v, %v", text, st, err)
		}
	}
}

func TestStatementsOfAClientAreRefused(t *testing.T) {
	t.Parallel()
	for text, code := range map[string]int{
		"":                              codeSyntaxError,
		" ; -- nothing":                 codeSyntaxError,
		"SELECT 1; SELECT 2":            codeSyntaxError,
		dollars():                       codeSyntaxError,
		"SELECT 1; -- a\n DROP TABLE x": codeSyntaxError,
		"SELECT 1 INTO OUTFILE 'x'":     codeIntoOutfileNotAllowed,
		"SELECT 1 into/**/outfile 'x'":  codeIntoOutfileNotAllowed,
		// What only this lexer took for a quote or a comment would hide the clause from it.
		"SELECT \u2018'\u2019 INTO OUTFILE 'x' SETTINGS a = '":   codeIntoOutfileNotAllowed,
		"SELECT 1e--1 INTO OUTFILE 'x'":                          codeIntoOutfileNotAllowed,
		"SELECT /* /* */ ' */ 1 INTO OUTFILE 'x' -- '":           codeIntoOutfileNotAllowed,
		"SELECT $a$ ' $a$ INTO OUTFILE 'x' -- '":                 codeIntoOutfileNotAllowed,
		"SELECT 1 #x INTO OUTFILE 'x'":                           codeIntoOutfileNotAllowed,
		"INSERT INTO t FROM INFILE '/etc/passwd' FORMAT CSV":     codeUnknownTypeOfQuery,
		"INSERT INTO t FROM /* */ INFILE '/etc/passwd' FORMAT X": codeUnknownTypeOfQuery,
	} {
		_, err := parseStatement([]byte(text))
		var exception *Exception
		if !errors.As(err, &exception) || exception.Code != code {
			t.Errorf("%.100q: got %v, want code %d", text, err, code)
		}
	}
	for _, text := range []string{"SELECT 'INTO OUTFILE'", "SELECT 1 -- INTO OUTFILE", "SELECT outfile FROM infile"} {
		if _, err := parseStatement([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// dollars would take a quadratic time to read: 4 MB of here-documents that do not end.
func dollars() string {
	var s strings.Builder
	s.WriteString("SELECT ")
	for i := range 500_000 {
		s.WriteString(" $" + strconv.Itoa(i) + "$")
	}
	return s.String()
}

func FuzzParseStatement(f *testing.F) {
	for _, seed := range []string{
		"SELECT 1 FORMAT JSON", "INSERT INTO a.b (c) SETTINGS d = 'e' FORMAT CSV\n1,2", "INSERT INTO t VALUES (1)",
		"SELECT $a$ x $a$ /* /* */ */ -- c", "INSERT INTO FUNCTION f(1) PARTITION BY x FORMAT Native\x00\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		st, err := parseStatement(text)
		if !bytes.Equal(before, text) {
			t.Fatal("the text was changed")
		}
		if err != nil {
			var exception *Exception
			if !errors.As(err, &exception) || exception.Code == 0 {
				t.Fatalf("no exception: %v", err)
			}
			return
		}
		if !bytes.HasPrefix(text, st.sql) {
			t.Fatalf("%q is not the beginning", st.sql)
		}
		if st.insert == nil {
			return
		}
		if st.insert.data > len(text) || len(st.insert.format) == 0 {
			t.Fatalf("%+v", st.insert)
		}
		// What goes to the engine must be one statement that reads our file and nothing else.
		again := lexer{text: st.insert.fromFile("/proc/self/fd/3")}
		infiles := 0
		for tok := again.next(); tok.kind != tokenEnd; tok = again.next() {
			if tok.kind == tokenString && string(again.text[tok.start:tok.end]) == "'/proc/self/fd/3'" {
				infiles++
			}
		}
		if infiles == 0 {
			t.Fatalf("the file's name is not a string in %q", again.text)
		}
	})
}

func FuzzSessionSQL(f *testing.F) {
	f.Add("max_threads", "1", "gw")
	f.Add("a; b", `'\`, "`; DROP")
	f.Fuzz(func(t *testing.T, name, value, database string) {
		sql, err := sessionSQL(Statement{Settings: map[string]string{name: value}, Database: database}, "mark")
		if err != nil {
			return
		}
		semicolons := 0
		l := lexer{text: sql}
		for tok := l.next(); tok.kind != tokenEnd; tok = l.next() {
			if tok.kind == tokenSymbol && sql[tok.start] == ';' {
				semicolons++
			}
		}
		if want := min(len(database), 1); semicolons != want {
			t.Fatalf("%d statements too many in %q", semicolons-want, sql)
		}
	})
}

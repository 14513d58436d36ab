package wire_test

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider/wire"
)

type event struct{ Name, Data string }

func events(t testing.TB, r io.Reader, limit int) ([]event, error) {
	t.Helper()
	er := wire.NewEventReader(r, limit)
	var all []event
	for {
		ev, err := er.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, event{string(ev.Name), string(ev.Data)})
	}
}

// plainEvents reads events in the slow and obvious way.
func plainEvents(s string) []event {
	s = strings.TrimPrefix(s, "\ufeff")
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	var all []event
	var name string
	var data []string
	for _, line := range append(strings.Split(s, "\n"), "") {
		if line == "" {
			if data != nil {
				all = append(all, event{name, strings.Join(data, "\n")})
			}
			name, data = "", nil
			continue
		}
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch key {
		case "event":
			name = value
		case "data":
			data = append(data, value)
		}
	}
	return all
}

func FuzzEventReader(f *testing.F) {
	f.Add("\ufeffevent: a\ndata: 1\ndata:  2\n\n: ping\n\ndata\n\nid: 3\r\ndata:x\r\revent:b\r\n\r\ndata: cut")
	f.Fuzz(func(t *testing.T, s string) {
		want := plainEvents(s)
		for _, r := range []io.Reader{strings.NewReader(s), iotest.OneByteReader(strings.NewReader(s)), iotest.DataErrReader(strings.NewReader(s))} {
			got, err := events(t, r, 0)
			if err != nil {
				t.Fatalf("reading: %v", err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("events of %q (-want +got):\n%s", s, diff)
			}
		}
	})
}

func FuzzAppendString(f *testing.F) {
	f.Add("a\"\\\n\x00\xffé🌧\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(wire.AppendString(nil, s), &got); err != nil || got != strings.ToValidUTF8(replaceEach(s), "") {
			t.Fatalf("%q came back as %q: %v", s, got, err)
		}
	})
}

// replaceEach puts U+FFFD in the place of each byte that is not UTF-8.
func replaceEach(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteRune(r)
	}
	return b.String()
}

func FuzzParseError(f *testing.F) {
	f.Add(`{"error":{"message":"m","type":"t","code":3,"param":null,"details":{"error_code":"x"}},"request_id":"r"}`)
	f.Add(`[{"error":"text"}]`)
	f.Add(`{"detail":[{"msg":"m"}],"errors":["e"],"title":"t"}`)
	f.Add("plain text")
	f.Fuzz(func(t *testing.T, s string) {
		e := wire.ParseError([]byte(s))
		for _, text := range []string{e.Message, e.Type, e.Code, e.Param, e.RequestID} {
			if len(text) > 8<<10 || !utf8.ValidString(text) {
				t.Errorf("%d bytes from %q, want few and in UTF-8", len(text), s)
			}
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add([]byte(`{"a":[1,-0.5e+3,"x\u00e9\"",null,true,{}],"b":{"c":[]}} `))
	f.Add([]byte(`[01]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		skip, walk := wire.NewCursor(b), wire.NewCursor(b)
		skip.Skip()
		walkAll(&walk)
		valid := json.Valid(b)
		if deep := strings.Count(string(b), "[")+strings.Count(string(b), "{") > 1000; deep {
			return
		}
		if (skip.End() == nil) != valid || (walk.End() == nil) != valid {
			t.Fatalf("skip %v, walk %v, but valid is %v: %q", skip.End(), walk.End(), valid, b)
		}
		text := wire.NewCursor(b)
		var want string
		if got := text.Text(); valid && json.Unmarshal(b, &want) == nil && got != want {
			t.Fatalf("text %q, want %q", got, want)
		}
	})
}

func walkAll(c *wire.Cursor) {
	switch c.Kind() {
	case '{':
		if c.Object() {
			for c.Key() {
				walkAll(c)
			}
		}
	case '[':
		if c.Array() {
			for c.Item() {
				walkAll(c)
			}
		}
	default:
		c.Skip()
	}
}

package jsontext_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/sira-ai/sira/schemas/jsontext"
)

func FuzzAppendString(f *testing.F) {
	f.Add("a\"\\\n\x00\xffé🌧\u2028")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(jsontext.AppendString(nil, s), &got); err != nil || got != strings.ToValidUTF8(replaceEach(s), "") {
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

func FuzzCursor(f *testing.F) {
	f.Add([]byte(`{"a":[1,-0.5e+3,"x\u00e9\"",null,true,{}],"b":{"c":[]}} `))
	f.Add([]byte(`[01]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		skip, walk := jsontext.NewCursor(b), jsontext.NewCursor(b)
		skip.Skip()
		walkAll(&walk)
		valid := json.Valid(b)
		if deep := strings.Count(string(b), "[")+strings.Count(string(b), "{") > 1000; deep {
			return
		}
		if (skip.End() == nil) != valid || (walk.End() == nil) != valid {
			t.Fatalf("skip %v, walk %v, but valid is %v: %q", skip.End(), walk.End(), valid, b)
		}
		text := jsontext.NewCursor(b)
		var want string
		if got := text.Text(); valid && json.Unmarshal(b, &want) == nil && got != want {
			t.Fatalf("text %q, want %q", got, want)
		}
	})
}

func walkAll(c *jsontext.Cursor) {
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

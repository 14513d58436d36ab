package wire_test

import (
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

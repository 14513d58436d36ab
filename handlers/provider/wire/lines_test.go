package wire_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider/wire"
)

func TestLinesInAnyEndsAndPiecesAreTheSame(t *testing.T) {
	t.Parallel()
	r := wire.NewLineReader(iotest.OneByteReader(strings.NewReader("{\"a\":1}\r\n\n  \n{\"b\":\"é\"}\n{\"cut\":")), 0)
	var got []string
	for {
		line, err := r.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatalf("error %v, want the end", err)
			}
			break
		}
		got = append(got, string(line))
	}
	if diff := cmp.Diff([]string{`{"a":1}`, `{"b":"é"}`, `{"cut":`}, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestLineAboveTheLimitIsRefused(t *testing.T) {
	t.Parallel()
	r := wire.NewLineReader(strings.NewReader(strings.Repeat("x", 100)), 64)
	if _, err := r.Next(); !errors.Is(err, wire.ErrEventTooLarge) {
		t.Errorf("error %v, want ErrEventTooLarge", err)
	}
}

func TestLinesOfABrokenReaderGiveItsError(t *testing.T) {
	t.Parallel()
	r := wire.NewLineReader(io.MultiReader(strings.NewReader("{}\n"), iotest.ErrReader(io.ErrUnexpectedEOF)), 0)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("error %v, want the reader's", err)
	}
}

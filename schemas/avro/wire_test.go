package avro

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
)

func TestHeaderIsConfluents(t *testing.T) {
	t.Parallel()
	for _, id := range []int{1, 255, 256, 70_000, math.MaxInt32} {
		want, err := new(sr.ConfluentHeader).AppendEncode(nil, id, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := AppendHeader(nil, id); !bytes.Equal(got, want) {
			t.Errorf("id %d: got % x, want % x", id, got, want)
		}
	}
}

func TestHeaderIsAppendedAndTakenOff(t *testing.T) {
	t.Parallel()
	b := append(AppendHeader([]byte("before"), 7), "body"...)
	if !bytes.HasPrefix(b, []byte("before")) {
		t.Fatalf("AppendHeader lost what was there: %q", b)
	}
	id, payload, err := SplitHeader(b[len("before"):])
	if err != nil || id != 7 || string(payload) != "body" {
		t.Fatalf("got id %d, payload %q, error %v", id, payload, err)
	}
}

func TestBytesThatAreNoRecordAreNamed(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		in   []byte
		want error
	}{
		{"nothing", nil, ErrShortHeader},
		{"only the zero byte", []byte{0}, ErrShortHeader},
		{"half an id", []byte{0, 0, 0}, ErrShortHeader},
		{"JSON", []byte(`{"id":"r1"}`), ErrNotWireFormat},
		{"short JSON", []byte(`{}`), ErrNotWireFormat},
		{"id zero", []byte{0, 0, 0, 0, 0, 1}, ErrInvalidSchemaID},
		{"negative id", []byte{0, 0xff, 0xff, 0xff, 0xff, 1}, ErrInvalidSchemaID},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if _, _, err := SplitHeader(test.in); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// FuzzSplitHeader holds SplitHeader against franz-go's reader of the same
// format and against AppendHeader.
func FuzzSplitHeader(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 2, 3})
	f.Add([]byte{0, 0x80, 0, 0, 1})
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, payload, err := SplitHeader(b)
		wantID, wantPayload, wantErr := new(sr.ConfluentHeader).DecodeID(b)
		if err != nil {
			if wantErr == nil && wantID > 0 && wantID <= math.MaxInt32 {
				t.Fatalf("refused id %d: %v", wantID, err)
			}
			return
		}
		if wantErr != nil || id != wantID || !bytes.Equal(payload, wantPayload) {
			t.Fatalf("got id %d and %d bytes, franz-go says %d, %d bytes, %v", id, len(payload), wantID, len(wantPayload), wantErr)
		}
		if back := append(AppendHeader(nil, id), payload...); !bytes.Equal(back, b) {
			t.Fatalf("written back % x, read % x", back, b)
		}
	})
}

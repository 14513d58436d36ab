package kafka

import (
	"encoding/base64"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var compareRuns = cmp.AllowUnexported(run{})

// randomRuns returns up to n runs above low that do not touch each other.
func randomRuns(rnd *rand.Rand, low int64, n int, stretch int64) []run {
	var runs []run
	at := low
	for range rnd.IntN(n + 1) {
		from := at + 1 + rnd.Int64N(stretch)
		at = from + 1 + rnd.Int64N(stretch)
		runs = append(runs, run{from, at})
	}
	return runs
}

func TestOffsetMapSurvivesTheRoundTrip(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	topic := [16]byte{1, 2, 3, 4, 5}
	forms := map[byte]int{}
	for range 3000 {
		low := rnd.Int64N(1 << 40)
		runs := randomRuns(rnd, low, 40, 1+rnd.Int64N(1<<rnd.IntN(24)))
		text := encodeMap(low, runs, topic)
		got, err := decodeMap(low, text, topic)
		if err != nil {
			t.Fatalf("decoding map of %v above %d: %v", runs, low, err)
		}
		if diff := cmp.Diff(runs, got, compareRuns); diff != "" {
			t.Fatalf("runs changed (-want +got):\n%s", diff)
		}
		if text != "" {
			b, _ := base64.RawStdEncoding.DecodeString(text)
			forms[b[0]]++
		}
	}
	if forms[mapRuns] == 0 || forms[mapBits] == 0 {
		t.Errorf("forms used: %v, want both", forms)
	}
}

// One request took half an hour. Two million and more behind it were finished by
// then, in one run that encodeMap wrote and decodeMap refused as hostile: after a
// crash all of them would have been called again.
func TestOffsetMapHoldsMillionsBehindOneSlowRequest(t *testing.T) {
	t.Parallel()
	runs := []run{{101, 5_000_000}, {5_000_001, 9_000_000}}
	got, err := decodeMap(100, encodeMap(100, runs, [16]byte{}), [16]byte{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(runs, got, compareRuns); diff != "" {
		t.Errorf("runs changed (-want +got):\n%s", diff)
	}
}

func TestOffsetMapOfAnotherTopicIsRefused(t *testing.T) {
	t.Parallel()
	text := encodeMap(5, []run{{7, 9}}, [16]byte{1})
	if runs, err := decodeMap(5, text, [16]byte{2}); err == nil {
		t.Errorf("got %v, want an error: the topic was made anew", runs)
	}
	if _, err := decodeMap(5, text, [16]byte{}); err != nil {
		t.Errorf("broker that tells no topic ids: %v", err)
	}
}

func FuzzDecodeMap(f *testing.F) {
	f.Add(int64(0), "")
	f.Add(int64(7), "metadata of another tool")
	f.Add(int64(9), encodeMap(9, []run{{11, 12}, {20, 40}}, [16]byte{}))
	f.Add(int64(9), encodeMap(9, []run{{11, 12}, {13, 14}, {15, 16}, {17, 18}, {19, 20}}, [16]byte{}))
	f.Add(int64(1)<<62, base64.RawStdEncoding.EncodeToString([]byte{mapRuns, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1}))
	f.Fuzz(func(t *testing.T, low int64, text string) {
		if low < 0 || low > 1<<60 || len(text) > MaxMetadata {
			return
		}
		runs, err := decodeMap(low, text, [16]byte{})
		if err != nil {
			return
		}
		at := low
		for _, r := range runs {
			if r.from <= at || r.to <= r.from {
				t.Fatalf("runs %v are out of order or touch each other or low %d", runs, low)
			}
			at = r.to
		}
		again, err := decodeMap(low, encodeMap(low, runs, [16]byte{}), [16]byte{})
		if err != nil || !slices.Equal(runs, again) {
			t.Fatalf("second round trip: got %v, %v, want %v", again, err, runs)
		}
	})
}

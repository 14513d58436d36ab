package audit

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// records returns n linked records of a chain.
func records(chain uint16, n int) []Row {
	l := NewLinker(chain, nil)
	out := make([]Row, n)
	for i := range out {
		out[i] = l.Next([]byte(`{"id":"requests/0/` + strconv.Itoa(i) + `","outcome":"ok"}`))
	}
	return out
}

func all(rows []Row) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for _, r := range rows {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// found is a finding without its words.
type found struct {
	Problem Problem
	Chain   uint16
	Seq     uint64
}

func findings(r Report) []found {
	var out []found
	for _, f := range r.Findings {
		out = append(out, found{f.Problem, f.Chain, f.Seq})
	}
	return out
}

func TestTheHashIsTheOneThatTheTableChecks(t *testing.T) {
	t.Parallel()
	// sha256 of 32 times 0x01, 0x0203, 0x0000000000000405 and "payload".
	var prev [32]byte
	for i := range prev {
		prev[i] = 1
	}
	sum := Hash(prev, 0x0203, 0x0405, []byte("payload"))
	const want = "2291dc937d22337114ea3ee65aefd7a880a722cbf767a1690f8960212430eb30"
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAnIntactLogPasses(t *testing.T) {
	t.Parallel()
	var rows []Row
	a, b := records(3, 50), records(9, 20)
	for i := range a { // chains may be mixed
		rows = append(rows, a[i])
		if i < len(b) {
			rows = append(rows, b[i])
		}
	}
	got, err := Verify(all(rows))
	if err != nil {
		t.Fatal(err)
	}
	want := Report{Rows: 70, Chains: 2, Heads: map[uint16]Head{3: {49, a[49].Hash}, 9: {19, b[19].Hash}}}
	if diff := cmp.Diff(want, got); diff != "" || !got.Intact() {
		t.Error(diff)
	}
}

func TestWhatWasDoneToALogIsFoundWithItsPlace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		edit func(rows []Row) []Row // of chain 4, seq 0 to 9
		want []found
	}{
		{"an altered record", func(rows []Row) []Row {
			rows[5].Payload = []byte(`{"outcome":"failed"}`)
			return rows
		}, []found{{Altered, 4, 5}}},
		{"an altered record with its hash made anew", func(rows []Row) []Row {
			rows[5].Payload = []byte(`{"outcome":"failed"}`)
			rows[5].Hash = Hash(rows[5].Prev, 4, 5, rows[5].Payload)
			return rows
		}, []found{{Unlinked, 4, 6}}},
		{"a removed record", func(rows []Row) []Row { return slices.Delete(rows, 5, 6) }, []found{{Removed, 4, 5}}},
		{"several removed records", func(rows []Row) []Row { return slices.Delete(rows, 3, 7) }, []found{{Removed, 4, 3}}},
		{"a removed record and the next ones numbered anew", func(rows []Row) []Row {
			rows = slices.Delete(rows, 8, 9)
			rows[8].Seq = 8
			return rows
		}, []found{{Altered, 4, 8}, {Unlinked, 4, 8}}},
		{"two records that changed places", func(rows []Row) []Row {
			rows[5], rows[6] = rows[6], rows[5]
			return rows
		}, []found{{Reordered, 4, 5}}},
		{"a record that was moved to the end", func(rows []Row) []Row {
			return append(slices.Delete(slices.Clone(rows), 2, 3), rows[2])
		}, []found{{Reordered, 4, 2}}},
		{"a foreign record moved to the end", func(rows []Row) []Row {
			r := NewLinker(4, &Head{1, rows[1].Hash}).Next([]byte("forged"))
			return append(slices.Delete(rows, 2, 3), r)
		}, []found{{Reordered, 4, 2}, {Unlinked, 4, 2}}},
		{"a copied record", func(rows []Row) []Row { return slices.Insert(rows, 5, rows[4]) }, []found{{Repeated, 4, 4}}},
		{"the oldest records removed", func(rows []Row) []Row { return rows[3:] }, []found{{WrongStart, 4, 3}}},
		{"a chain that begins in the middle of another", func(rows []Row) []Row {
			l := &Linker{chain: 4, prev: rows[9].Hash}
			return []Row{l.Next([]byte("a")), l.Next([]byte("b"))}
		}, []found{{WrongStart, 4, 0}}},
		{"a record of another chain", func(rows []Row) []Row {
			rows[5].Chain = 7
			return rows
		}, []found{{Removed, 4, 5}, {Altered, 7, 5}, {WrongStart, 7, 5}}},
		{"the newest records removed show only against a head", func(rows []Row) []Row { return rows[:7] }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := Verify(all(c.edit(records(4, 10))))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, findings(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAKnownHeadShowsTruncationAndReplacement(t *testing.T) {
	t.Parallel()
	rows := records(4, 10)
	rewritten := slices.Clone(rows[:5])
	l := NewLinker(4, &Head{4, rows[4].Hash})
	for range 5 {
		rewritten = append(rewritten, l.Next([]byte("forged")))
	}
	for _, c := range []struct {
		name string
		rows []Row
		want []found
	}{
		{"whole", rows, nil},
		{"newest removed", rows[:9], []found{{Truncated, 4, 9}}},
		{"all removed", nil, []found{{Truncated, 4, 9}}},
		{"rewritten to the end", rewritten, []found{{Replaced, 4, 9}}},
	} {
		var v Verifier
		v.Expect(4, 3, rows[3].Hash) // an older head as well
		v.Expect(4, 9, rows[9].Hash)
		got, err := v.Verify(all(c.rows))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, findings(got)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestTheEndOfALogIsVerifiedFromAKnownHead(t *testing.T) {
	t.Parallel()
	rows := records(4, 10)
	text, err := json.Marshal(Head{5, rows[5].Hash}) // as an earlier report printed it
	if err != nil {
		t.Fatal(err)
	}
	var head Head
	if err := json.Unmarshal(text, &head); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		rows []Row
		want []found
	}{
		{"whole", rows[6:], nil},
		{"one missing", rows[7:], []found{{Removed, 4, 6}}},
	} {
		var v Verifier
		v.Begin(4, head)
		got, err := v.Verify(all(c.rows))
		if diff := cmp.Diff(c.want, findings(got)); diff != "" || err != nil {
			t.Errorf("%s: %v %s", c.name, err, diff)
		}
	}
	for _, bad := range []string{`{"seq":1,"hash":"zz"}`, `{"seq":1,"hash":"00"}`, `{"seq":-1}`, `3`} {
		if json.Unmarshal([]byte(bad), &head) == nil {
			t.Errorf("%s was read as a head", bad)
		}
	}
}

func TestAReadErrorEndsTheVerification(t *testing.T) {
	t.Parallel()
	broken := errors.New("connection lost")
	got, err := Verify(func(yield func(Row, error) bool) {
		if yield(records(1, 1)[0], nil) {
			yield(Row{}, broken)
		}
	})
	if !errors.Is(err, broken) || got.Rows != 1 {
		t.Errorf("got %d rows and %v", got.Rows, err)
	}
}

func TestAReportIsBounded(t *testing.T) {
	t.Parallel()
	rows := records(1, 2*MaxFindings)
	for i := range rows {
		rows[i].Payload = nil
	}
	got, _ := Verify(all(rows))
	if len(got.Findings) != MaxFindings || got.Omitted != MaxFindings {
		t.Errorf("got %d findings and %d omitted", len(got.Findings), got.Omitted)
	}
}

// FuzzVerify applies edits to a log: each three bytes are what to do, and to which
// two records. A log that is no longer the same must not pass against its head,
// and the same log must.
func FuzzVerify(f *testing.F) {
	f.Add([]byte{0, 3, 4})
	f.Add([]byte{1, 3, 4, 2, 0, 7, 3, 5, 5, 4, 1, 1, 5, 1, 9})
	f.Fuzz(func(t *testing.T, edits []byte) {
		original := records(2, 12)
		rows := slices.Clone(original)
		for ; len(edits) >= 3 && len(rows) > 0; edits = edits[3:] {
			i, j := int(edits[1])%len(rows), int(edits[2])%len(rows)
			switch edits[0] % 6 {
			case 0:
				rows[i], rows[j] = rows[j], rows[i]
			case 1:
				rows = slices.Delete(rows, i, i+1)
			case 2:
				rows = slices.Insert(rows, i, rows[j])
			case 3:
				rows[i].Payload = append([]byte{edits[2]}, rows[i].Payload...)
			case 4:
				rows[i].Seq = binary.BigEndian.Uint64(rows[j].Hash[:])
			case 5:
				rows[i].Hash = Hash(rows[i].Prev, rows[i].Chain, rows[i].Seq, rows[i].Payload)
			}
		}
		var v Verifier
		v.Expect(2, 11, original[11].Hash)
		got, err := v.Verify(all(rows))
		if err != nil {
			t.Fatal(err)
		}
		if same := cmp.Equal(original, rows); same != got.Intact() {
			t.Fatalf("the log is the same: %v, but the findings are %v", same, got.Findings)
		}
	})
}

// go test -bench Verify -benchmem ./handlers/audit.
func BenchmarkVerify100k(b *testing.B) {
	rows := records(1, 100_000)
	pad := make([]byte, 600) // as long as a usual event
	l := NewLinker(1, nil)
	for i := range rows {
		rows[i] = l.Next(pad)
	}
	b.ReportAllocs()
	for b.Loop() {
		if got, _ := Verify(all(rows)); !got.Intact() {
			b.Fatal(got.Findings)
		}
	}
}

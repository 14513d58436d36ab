package clickhouse

import (
	"bytes"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/ClickHouse/ch-go/proto"
	chcolumn "github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/google/go-cmp/cmp"
)

// The driver's own reader must see what a column of ours writes, for every width
// of a dictionary's places and after a column was used before.
func TestDriverReadsTheDictionary(t *testing.T) {
	t.Parallel()
	var n names
	for _, size := range []int{0, 1, 255, 256, 65_535, 65_536, 3} { // and an empty word
		want := []string{"", ""}
		n.Reset()
		n.Append("")
		n.Append("")
		buf := []byte("word-00000")
		for i := range size {
			copy(buf[5:], fmt.Sprintf("%05d", i))
			for range 2 { // the memory of a word is used for the next one
				n.Append(string(buf))
				want = append(want, string(buf))
			}
		}
		if got := readNames(t, &n, len(want)); !slices.Equal(got, want) {
			t.Errorf("%d words: the driver reads %d others", size, len(got))
		}
	}
}

func TestDictionaryKeepsNoMemoryOfTheRecord(t *testing.T) {
	t.Parallel()
	var n names
	record := []byte("acme")
	n.Append(unsafe.String(&record[0], len(record)))
	copy(record, "evil")
	n.Append(unsafe.String(&record[0], len(record)))
	n.Append("acme")
	if diff := cmp.Diff([]string{"acme", "evil", "acme"}, readNames(t, &n, 3)); diff != "" {
		t.Errorf("(-appended +read):\n%s", diff)
	}
}

func readNames(t *testing.T, n *names, rows int) []string {
	t.Helper()
	var b proto.Buffer
	n.EncodeColumn(&b)
	to, err := chcolumn.Type(kindName).Column("x", &chcolumn.ServerContext{})
	if err != nil {
		t.Fatal(err)
	}
	if err := to.Decode(proto.NewReader(bytes.NewReader(b.Buf)), rows); err != nil {
		t.Fatal(err)
	}
	out := make([]string, to.Rows())
	for i := range out {
		out[i], _ = to.Row(i, false).(string)
	}
	return out
}

func TestAmountIsReadExactlyOrRefused(t *testing.T) {
	t.Parallel()
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(38), nil)
	check := func(n *big.Int, padding int) {
		t.Helper()
		b := bigEndian(n, padding)
		got, err := amount(b)
		if fits := n.CmpAbs(limit) < 0; fits != (err == nil) {
			t.Fatalf("%v as %x: %v", n, b, err)
		} else if !fits {
			return
		}
		back := new(big.Int).Lsh(big.NewInt(int64(got.High)), 64)
		back.Add(back, new(big.Int).SetUint64(got.Low))
		if back.Cmp(n) != 0 {
			t.Fatalf("%v as %x was read as %v", n, b, back)
		}
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	for bits := range 140 {
		for padding := range 12 {
			n := new(big.Int).Lsh(big.NewInt(rnd.Int64()), uint(max(bits-63, 0)))
			n.Rsh(n, uint(max(63-bits, 0)))
			check(n, padding)
			check(n.Neg(n), padding)
		}
	}
	for d := range int64(3) {
		n := new(big.Int).Add(limit, big.NewInt(d-1))
		check(n, 0)
		check(n.Neg(n), 3)
	}
	if got, err := amount(nil); err != nil || got != (proto.Decimal128{}) {
		t.Errorf("no bytes were read as %v, %v", got, err)
	}
}

// bigEndian is two's complement with so many bytes of padding.
func bigEndian(n *big.Int, padding int) []byte {
	size := n.BitLen()/8 + 1 + padding
	if n.Sign() < 0 {
		n = new(big.Int).Add(n, new(big.Int).Lsh(big.NewInt(1), uint(8*size)))
	}
	return n.FillBytes(make([]byte, size))
}

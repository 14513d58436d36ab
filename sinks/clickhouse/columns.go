package clickhouse

import (
	"errors"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/ch-go/proto"
)

// column is one column of a block's rows, in the form in which ClickHouse takes
// it (Native). Its type is spelled as ClickHouse spells it.
type column struct {
	name, kind string
	data       columnData
}

// columnData is what a column holds. The columns of ch-go are such, and so are
// those below, which take values without keeping the memory that they are in.
type columnData interface {
	Reset()
	EncodeColumn(b *proto.Buffer)
}

// The types of most columns.
const (
	kindMoment  = "DateTime64(3, 'UTC')"
	kindName    = "LowCardinality(String)"
	kindLabels  = "Map(LowCardinality(String), String)"
	kindNames   = "Array(LowCardinality(String))"
	kindAmount  = "Decimal(38, 12)"
	kindAmounts = "Array(Decimal(38, 12))"
)

// names is a LowCardinality(String): a dictionary, and for each row a place in it.
type names struct {
	places map[string]uint32
	words  proto.ColStr // the dictionary; an empty one first, as ClickHouse has it
	rows   []uint32

	last      string // most rows repeat the row before
	lastPlace uint32
}

// Append adds a row.
func (n *names) Append(s string) {
	if s != n.last {
		n.last, n.lastPlace = n.place(s)
	}
	n.rows = append(n.rows, n.lastPlace)
}

// place returns the place of s in the dictionary, and s without the memory that it
// came in.
func (n *names) place(s string) (string, uint32) {
	if s == "" {
		return "", 0
	}
	if at, ok := n.places[s]; ok {
		return n.words.Row(int(at)), at
	}
	if n.places == nil {
		n.places = map[string]uint32{}
	}
	if n.words.Rows() == 0 {
		n.words.Append("")
	}
	s = strings.Clone(s)
	at := uint32(n.words.Rows())
	n.words.Append(s)
	n.places[s] = at
	return s, at
}

// Reset empties the column.
func (n *names) Reset() {
	clear(n.places)
	n.words.Reset()
	n.rows, n.last, n.lastPlace = n.rows[:0], "", 0
}

// Flags of a dictionary that stands whole in front of its block
// (SerializationLowCardinality in ClickHouse), and the widths of places.
const (
	ownDictionary = 1<<9 | 1<<10
	places8       = 0
	places16      = 1
	places32      = 2
)

// EncodeColumn appends dictionary and places. Of no rows it appends nothing, as
// in an array whose rows are all empty.
func (n *names) EncodeColumn(b *proto.Buffer) {
	if len(n.rows) == 0 {
		return
	}
	if n.words.Rows() == 0 {
		n.words.Append("")
	}
	size, width := n.words.Rows(), uint64(places8)
	switch {
	case size > 1<<16:
		width = places32
	case size > 1<<8:
		width = places16
	}
	b.PutUInt64(ownDictionary | width)
	b.PutUInt64(uint64(size))
	n.words.EncodeColumn(b)
	b.PutUInt64(uint64(len(n.rows)))
	for _, at := range n.rows {
		switch width {
		case places8:
			b.PutUInt8(uint8(at))
		case places16:
			b.PutUInt16(uint16(at))
		default:
			b.PutUInt32(at)
		}
	}
}

// list is an Array: where each row ends, and what the rows hold one behind the
// other. Columns of equal lengths may share their ends.
type list struct {
	ends *proto.ColUInt64
	of   columnData
}

// Reset empties the column.
func (l list) Reset() {
	l.ends.Reset()
	l.of.Reset()
}

// EncodeColumn appends ends and contents.
func (l list) EncodeColumn(b *proto.Buffer) {
	l.ends.EncodeColumn(b)
	l.of.EncodeColumn(b)
}

// labels is a Map(LowCardinality(String), String).
type labels struct {
	ends   proto.ColUInt64
	keys   names
	values proto.ColStr
	order  []string
}

// Append adds a row, the same for the same labels.
func (l *labels) Append(m map[string]string) {
	l.order = slices.AppendSeq(l.order[:0], maps.Keys(m))
	slices.Sort(l.order)
	for _, k := range l.order {
		l.keys.Append(k)
		l.values.Append(m[k])
	}
	clear(l.order)
	l.ends.Append(uint64(len(l.keys.rows)))
}

// Reset empties the column.
func (l *labels) Reset() {
	l.ends.Reset()
	l.keys.Reset()
	l.values.Reset()
}

// EncodeColumn appends ends, keys and values.
func (l *labels) EncodeColumn(b *proto.Buffer) {
	l.ends.EncodeColumn(b)
	l.keys.EncodeColumn(b)
	l.values.EncodeColumn(b)
}

// moments is a DateTime64(3): milliseconds since 1970, 0 where there is no moment.
type moments struct{ proto.ColInt64 }

// Append adds a row.
func (m *moments) Append(t time.Time) {
	if t.IsZero() {
		m.ColInt64.Append(0)
		return
	}
	m.ColInt64.Append(t.UnixMilli())
}

// amounts is a Decimal(38, 12).
type amounts []proto.Decimal128

// Reset empties the column.
func (a *amounts) Reset() { *a = (*a)[:0] }

// EncodeColumn appends the values, the lowest byte first.
func (a *amounts) EncodeColumn(b *proto.Buffer) {
	for _, v := range *a {
		b.PutUInt64(v.Low)
		b.PutUInt64(v.High)
	}
}

var errAmount = errors.New("amount of more than 38 digits")

// amount reads the unscaled value of a decimal as Avro has it: two's complement,
// the highest byte first.
func amount(b []byte) (proto.Decimal128, error) {
	negative := len(b) > 0 && b[0]&0x80 != 0
	var sign byte
	var v proto.Decimal128
	if negative {
		sign, v = 0xff, proto.Decimal128{Low: ^uint64(0), High: ^uint64(0)}
	}
	for ; len(b) > 16; b = b[1:] {
		if b[0] != sign || (b[1]&0x80 != 0) != negative {
			return v, errAmount
		}
	}
	for _, x := range b {
		v.High = v.High<<8 | v.Low>>56
		v.Low = v.Low<<8 | uint64(x)
	}
	size := v
	if negative {
		var borrow uint64
		size.Low, borrow = bits.Sub64(0, v.Low, 0)
		size.High, _ = bits.Sub64(0, v.High, borrow)
	}
	if size.High > tenTo38.High || size.High == tenTo38.High && size.Low >= tenTo38.Low {
		return v, errAmount
	}
	return v, nil
}

// tenTo38 is 10^38, the first that Decimal(38, 12) can't hold.
var tenTo38 = proto.Decimal128{High: 0x4b3b4ca85a86c47a, Low: 0x098a224000000000}

func count(n int64) uint64 { return uint64(max(n, 0)) }

// between returns milliseconds; 0 where one of the moments is unknown.
func between(from, to time.Time) uint64 {
	if from.IsZero() || to.Before(from) {
		return 0
	}
	return uint64(to.Sub(from).Milliseconds())
}

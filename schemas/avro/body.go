package avro

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
)

// errBody says that there is no such value where it should be.
var errBody = errors.New("the bytes end early or are no such value")

// body writes or reads the Avro body of a record without reflection: each field in
// the order of the schema, by a call with its address. One function for each type of
// record serves both directions, so that they can't differ. While it writes, what it
// is given is only looked at, and others may look at it too.
//
// It reads all that the schema allows, in memory of the size of what has been read
// and not of what is promised.
type body struct {
	buf     []byte // what is written so far, or what is read
	at      int    // where the next value begins, when reading
	reading bool
	nested  int // tool results around the value

	err   error // why a value can't be written or read; nothing good comes after it
	where int   // where that was

	// What is kept for the next record: the memory of short strings, from which more
	// are cut, and memory to write into.
	short   strings.Builder
	scratch []byte
}

const (
	// maxNested is how deep tool results may be in each other. One in another is no
	// valid request.
	maxNested = 32
	// shortString is the length in bytes of those that share their memory, and
	// shortMemory what as many as fit share: as much is kept while one of them lives.
	shortString = 64
	shortMemory = 512
	// maxScratch is the size in bytes of the largest memory that is kept to write into.
	maxScratch = 64 << 10
	// fewKeys is the size of a map whose keys are put in order without memory of their own.
	fewKeys = 8
)

// reset leaves nothing of the record but what is kept.
func (b *body) reset() {
	b.buf, b.at, b.reading, b.nested, b.err, b.where = nil, 0, false, 0, nil, 0
}

// fail keeps the first mistake. Nothing is left to read then.
func (b *body) fail(err error) {
	if b.err == nil {
		b.err, b.where = err, b.at
	}
	b.at = len(b.buf)
}

// mistake says what is wrong and where.
func (b *body) mistake() error {
	return fmt.Errorf("at byte %d of %d: %w", b.where, len(b.buf), b.err)
}

func (b *body) left() int { return len(b.buf) - b.at }

// appendLong appends n as Avro's zig-zag number of variable length.
func appendLong(dst []byte, n int64) []byte {
	if u := uint64(n)<<1 ^ uint64(n>>63); u < 0x80 {
		return append(dst, byte(u))
	}
	return binary.AppendVarint(dst, n)
}

func (b *body) putLong(n int64) { b.buf = appendLong(b.buf, n) }

func (b *body) getLong() int64 {
	if b.at < len(b.buf) && b.buf[b.at] < 0x80 {
		u := int64(b.buf[b.at])
		b.at++
		return u>>1 ^ -(u & 1)
	}
	n, size := binary.Varint(b.buf[b.at:])
	if size <= 0 {
		b.fail(errBody)
		return 0
	}
	b.at += size
	return n
}

// take returns the next n bytes of what is read; they are not copied.
func (b *body) take(n int64) []byte {
	if n < 0 || n > int64(b.left()) {
		b.fail(errBody)
		return nil
	}
	taken := b.buf[b.at : b.at+int(n)]
	b.at += int(n)
	return taken
}

func (b *body) putText(s string) {
	b.buf = append(appendLong(b.buf, int64(len(s))), s...)
}

func (b *body) getText() string {
	taken := b.take(b.getLong())
	switch {
	case len(taken) == 0:
		return ""
	case len(taken) > shortString:
		return string(taken)
	}
	if b.short.Cap()-b.short.Len() < len(taken) {
		b.short.Reset()
		b.short.Grow(shortMemory)
	}
	start := b.short.Len()
	b.short.Write(taken)
	return b.short.String()[start:]
}

func (b *body) putRaw(raw []byte) {
	b.buf = append(appendLong(b.buf, int64(len(raw))), raw...)
}

func (b *body) getRaw() []byte { return append([]byte{}, b.take(b.getLong())...) }

func (b *body) putBoolean(v bool) {
	var x byte
	if v {
		x = 1
	}
	b.buf = append(b.buf, x)
}

// getBoolean takes any byte but 1 for false, as the library does.
func (b *body) getBoolean() bool {
	taken := b.take(1)
	return len(taken) == 1 && taken[0] == 1
}

func (b *body) putDouble(v float64) {
	b.buf = binary.LittleEndian.AppendUint64(b.buf, math.Float64bits(v))
}

func (b *body) getDouble() float64 {
	taken := b.take(8)
	if taken == nil {
		return 0
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(taken))
}

func (b *body) putAmount(d decimal.Decimal) {
	if n, ok := unscaleSmall(d, schemas.MoneyScale); ok {
		b.buf = appendSmallTwosComplement(appendLong(b.buf, int64(smallSize(n))), n)
		return
	}
	n, err := unscale(d, schemas.MoneyScale, moneyPrecision)
	if err != nil {
		b.fail(err)
		return
	}
	b.putRaw(twosComplement(n))
}

func (b *body) getAmount() decimal.Decimal {
	d, err := rescale(b.take(b.getLong()), schemas.MoneyScale, moneyPrecision)
	if err != nil {
		b.fail(err)
	}
	return d
}

// putMoment writes microseconds, for which some moments are too far away.
func (b *body) putMoment(t time.Time) {
	n := t.UnixMicro()
	if time.UnixMicro(n).Unix() != t.Unix() {
		b.fail(errBody)
		return
	}
	b.putLong(n)
}

func (b *body) getMoment() time.Time { return time.UnixMicro(b.getLong()).UTC() }

// putBranch begins a union of null and something.
func (b *body) putBranch(value bool) {
	if value {
		b.buf = append(b.buf, 2)
		return
	}
	b.buf = append(b.buf, 0)
}

func (b *body) getBranch() (value bool) {
	start := b.at
	n := b.getLong()
	if n < 0 || n > 1 || b.at-start > binary.MaxVarintLen32 {
		b.fail(errBody)
	}
	return n == 1
}

// getCount returns how many items the next block of a list or map holds, 0 at its
// end. Each takes at least one byte.
func (b *body) getCount() int {
	n := b.getLong()
	if n < 0 { // the size of the block in bytes follows, for readers that skip it
		n = -n
		b.getLong()
	}
	if n < 0 || n > int64(b.left()) {
		b.fail(errBody)
		return 0
	}
	return int(n)
}

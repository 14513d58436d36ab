package clickhouse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kgo"
)

// block is a stretch of one partition, column by column: the rows of one batch.
// While it is the newest of its partition and not sealed, the reader appends to
// it; then it only goes to ClickHouse, as often as that takes.
type block struct {
	rows        rows
	n           int
	first, last int64     // offsets of the first and the last row
	since       time.Time // when the first row came
	sealed      bool
	traces      []string // traceparents of sampled records, at most maxTraces

	topic     names
	partition proto.ColUInt32
	offset    proto.ColUInt64
	columns   []column        // of rows, and the three above
	texts     []*proto.ColStr // of the columns
}

// The most text that a block and all blocks hold, about: rows are of any size.
const (
	maxBlock = 32 << 20
	maxHeld  = 256 << 20
)

// maxTraces is how many traces an insert is told of. More would be no use to people.
const maxTraces = 128

func newBlock(t *table) *block {
	b := &block{rows: t.empty()}
	b.columns = append(b.rows.columns(),
		column{"src_topic", kindName, &b.topic},
		column{"src_partition", "UInt32", &b.partition},
		column{"src_offset", "UInt64", &b.offset},
	)
	for _, c := range b.columns {
		if text := textOf(c.data); text != nil {
			b.texts = append(b.texts, text)
		}
	}
	return b
}

func textOf(data columnData) *proto.ColStr {
	switch c := data.(type) {
	case *proto.ColStr:
		return c
	case *labels:
		return &c.values
	case list:
		return textOf(c.of)
	}
	return nil
}

// size returns the bytes of text in the block, without names.
func (b *block) size() int {
	n := 0
	for _, t := range b.texts {
		n += len(t.Buf)
	}
	return n
}

// full reports whether the block is as large as a batch should be.
func (b *block) full(maxRows int) bool { return b.n >= maxRows || b.size() >= maxBlock }

// block returns an empty block.
func (t *table) block() *block {
	if b, ok := t.spare.Get().(*block); ok {
		return b
	}
	return newBlock(t)
}

// free takes a block back whose rows nobody needs any more.
func (t *table) free(b *block) {
	for _, c := range b.columns {
		c.data.Reset()
	}
	b.n, b.first, b.last, b.sealed = 0, 0, 0, false
	b.traces = b.traces[:0]
	t.spare.Put(b)
}

// add appends the row of a record, or nothing and returns why.
func (b *block) add(ctx context.Context, r *kgo.Record) error {
	if err := b.rows.add(ctx, r); err != nil {
		return err
	}
	if b.n == 0 {
		b.first, b.since = r.Offset, time.Now()
	}
	b.n, b.last = b.n+1, r.Offset
	b.topic.Append(r.Topic)
	b.partition.Append(uint32(r.Partition))
	b.offset.Append(uint64(r.Offset))
	return nil
}

// errLayout is in the chain of errors about a table that is not as the migrations
// made it.
var errLayout = errors.New("the table has other columns than the recorder")

// copier hands a block's columns to the driver.
type copier struct {
	buf    proto.Buffer
	source *bytes.Reader
	reader *proto.Reader
}

func newCopier() *copier {
	source := bytes.NewReader(nil)
	return &copier{source: source, reader: proto.NewReader(source)}
}

// copy fills an empty batch. The driver's Append looks at each value by
// reflection, and at each word of a dictionary twice; but the columns of a batch
// can read what a server would send, in the very form that they are sent in.
func (c *copier) copy(b *block, into driver.Batch) error {
	columns := into.Columns()
	if len(columns) != len(b.columns) {
		return fmt.Errorf("%w: it has %d columns, the block %d", errLayout, len(columns), len(b.columns))
	}
	for i, from := range b.columns {
		to := columns[i]
		if to.Name() != from.name || string(to.Type()) != from.kind {
			return fmt.Errorf("%w: column %s %s is to be inserted as %s %s", errLayout, to.Name(), to.Type(), from.name, from.kind)
		}
		c.buf.Reset()
		from.data.EncodeColumn(&c.buf)
		c.source.Reset(c.buf.Buf)
		if err := to.Decode(c.reader, b.n); err != nil {
			return fmt.Errorf("%w: filling column %s: %w", errLayout, from.name, err)
		}
		if _, err := c.reader.ReadByte(); to.Rows() != b.n || !errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: column %s holds %d of %d rows, or bytes are left", errLayout, from.name, to.Rows(), b.n)
		}
	}
	return nil
}

package clickhouse

import (
	"bytes"
	"context"
	"fmt"
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

	topic     names
	partition proto.ColUInt32
	offset    proto.ColUInt64
	columns   []column // of rows, and the three above
}

func newBlock(t *table) *block {
	b := &block{rows: t.empty()}
	b.columns = append(b.rows.columns(),
		column{"src_topic", kindName, &b.topic},
		column{"src_partition", "UInt32", &b.partition},
		column{"src_offset", "UInt64", &b.offset},
	)
	return b
}

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
		return fmt.Errorf("the batch has %d columns, the block %d", len(columns), len(b.columns))
	}
	for i, from := range b.columns {
		to := columns[i]
		if to.Name() != from.name || string(to.Type()) != from.kind {
			return fmt.Errorf("column %s %s is to be inserted as %s %s", to.Name(), to.Type(), from.name, from.kind)
		}
		c.buf.Reset()
		from.data.EncodeColumn(&c.buf)
		c.source.Reset(c.buf.Buf)
		if err := to.Decode(c.reader, b.n); err != nil {
			return fmt.Errorf("filling column %s: %w", from.name, err)
		}
		if n := to.Rows(); n != b.n || c.source.Len() > 0 {
			return fmt.Errorf("column %s holds %d of %d rows, %d bytes are left", from.name, n, b.n, c.source.Len())
		}
	}
	return nil
}

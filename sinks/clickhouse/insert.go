package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"go.uber.org/zap"
)

// insertTimeout bounds one try to insert a batch.
const insertTimeout = time.Minute

// insert writes one batch as one block and tries again until ClickHouse has it,
// the partition is lost, or ctx is done. It reports whether the batch is settled.
func (r *Recorder) insert(ctx context.Context, b *batch) (bool, error) {
	if len(b.rows) == 0 {
		return true, nil
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		err := r.tryInsert(ctx, b)
		if err == nil {
			r.failing.Store(nil)
			r.inserted.Add(int64(len(b.rows)))
			r.rows.WithLabelValues(b.p.table.name).Add(float64(len(b.rows)))
			return true, nil
		}
		if ctx.Err() == nil {
			why := "inserting into " + b.p.table.name + ": " + reason(err)
			if r.failing.Swap(&why) == nil {
				r.cfg.Log.Warn("clickhouse does not take events; they wait in Kafka", zap.String("why", why))
			}
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return false, fmt.Errorf("inserting into %s: %w", b.p.table.name, errors.Join(err, ctx.Err()))
		}
		if r.gone(b.p) {
			return false, nil // announced: the next owner inserts it
		}
	}
}

// reason says why ClickHouse did not take a batch. An exception's text is left
// out: it may quote rows.
func reason(err error) string {
	var exception *clickhouse.Exception
	var network *net.OpError
	switch {
	case errors.As(err, &exception):
		return fmt.Sprintf("exception %d %s", exception.Code, exception.CodeName)
	case errors.As(err, &network):
		return network.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	return fmt.Sprintf("%T", errors.Unwrap(err))
}

func (r *Recorder) tryInsert(ctx context.Context, b *batch) error {
	ctx, cancel := context.WithTimeout(ctx, insertTimeout)
	defer cancel()
	if b.p.table.name == auditName {
		if err := r.link(ctx, b); err != nil {
			return err
		}
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"insert_deduplication_token": b.plan.token(b.p.topic, b.p.partition), "insert_deduplicate": 1,
		"deduplicate_blocks_in_dependent_materialized_views": 1, "async_insert": 0, "max_insert_block_size": 1 << 20,
		// Events of many months in one block, as after a long outage or with wrong
		// clocks, must not block the partition for ever.
		"max_partitions_per_insert_block": 0,
	}))
	block, err := r.cfg.Conn.PrepareBatch(ctx, b.p.table.insert(), driver.WithReleaseConnection())
	if err != nil {
		return fmt.Errorf("preparing: %w", err)
	}
	width := len(b.p.table.columns)
	values := make([]any, width+3)
	values[width], values[width+1] = b.p.topic, uint32(b.p.partition)
	for i := range b.rows {
		copy(values, b.rows[i].values)
		values[width+2] = uint64(b.rows[i].offset)
		if err := block.Append(values...); err != nil {
			return errors.Join(fmt.Errorf("appending: %w", err), block.Abort())
		}
	}
	if err := block.Send(); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	return nil
}

// link fills in the chain of an audit batch from the newest row below it.
func (r *Recorder) link(ctx context.Context, b *batch) error {
	if b.p.head == nil {
		h, err := loadHead(ctx, r.cfg.Conn, b.p.partition, b.rows[0].offset)
		if err != nil {
			return err
		}
		b.p.head = &h
	}
	if b.rows[0].values[auditHash] != nil {
		return nil // linked by an earlier try
	}
	h := *b.p.head
	for i := range b.rows {
		v := b.rows[i].values
		prev := h.hash
		h.hash = r.cfg.Link(prev, uint16(b.p.partition), h.next, []byte(v[auditPayload].(string)))
		v[auditSeq], v[auditPrev], v[auditHash] = h.next, string(prev[:]), string(h.hash[:])
		h.next++
	}
	b.p.head = &h
	return nil
}

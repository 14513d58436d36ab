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
func (r *Recorder) insert(ctx context.Context, b *batch) (done bool, err error) {
	if b.block == nil {
		return true, nil
	}
	if len(b.block.traces) > 0 {
		var ended func(error)
		ctx, ended = r.cfg.Tracer.Insert(ctx, b.p.table.name, b.p.topic, b.p.partition, b.block.n, b.block.traces)
		defer func() { ended(err) }()
	}
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		err := r.tryInsert(ctx, b)
		if err == nil {
			r.failing.Store(nil)
			r.inserted.Add(int64(b.block.n))
			r.rows.WithLabelValues(b.p.table.name).Add(float64(b.block.n))
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
	case errors.Is(err, errLayout):
		return errLayout.Error()
	}
	return fmt.Sprintf("%T", errors.Unwrap(err))
}

func (r *Recorder) tryInsert(ctx context.Context, b *batch) error {
	ctx, cancel := context.WithTimeout(ctx, insertTimeout)
	defer cancel()
	if t, ok := b.block.rows.(*auditRows); ok {
		if err := r.link(ctx, b, t); err != nil {
			return err
		}
	}
	ctx = clickhouse.Context(ctx, clickhouse.WithColumnNamesAndTypes(b.p.table.types), clickhouse.WithSettings(clickhouse.Settings{
		"insert_deduplication_token": b.plan.token(b.p.topic, b.p.partition), "insert_deduplicate": 1,
		"deduplicate_blocks_in_dependent_materialized_views": 1, "async_insert": 0, "max_insert_block_size": 1 << 20,
		// Events of many months in one block, as after a long outage or with wrong
		// clocks, must not block the partition for ever.
		"max_partitions_per_insert_block": 0,
	}))
	into, err := r.cfg.Conn.PrepareBatch(ctx, b.p.table.insert, driver.WithReleaseConnection())
	if err != nil {
		return fmt.Errorf("preparing: %w", err)
	}
	c, ok := r.copiers.Get().(*copier)
	if !ok {
		c = newCopier()
	}
	if err := c.copy(b.block, into); err != nil {
		return errors.Join(err, into.Abort())
	}
	r.copiers.Put(c)
	if err := into.Send(); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	return nil
}

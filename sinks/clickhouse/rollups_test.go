package clickhouse

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// batchOf is one batch of a partition as a recorder inserts it, of the three
// tables that rollups are made of.
var batchOf = map[string]string{
	"requests": `INSERT INTO requests (event_time, request_id, tenant, model, outcome, endpoint, stream, attempts, e2e_ms, src_topic, src_partition, src_offset)
SELECT toDateTime64('2026-03-04 23:59:00', 3, 'UTC') + number * 7, toString(number), toString(number % 3), 'm', if(number % 9 = 0, 'timeout', 'ok'), 'e', number % 2, 1 + number % 2, number, 'requests', PARTITION_, FIRST_ + number FROM numbers(100)`,
	"attempts": `INSERT INTO attempts (event_time, attempt, endpoint, provider, provider_model, outcome, latency_ms, first_token_ms, input_tokens, src_topic, src_partition, src_offset)
SELECT toDateTime64('2026-03-04 23:59:00', 3, 'UTC') + number * 7, 1 + number % 2, 'e', 'p', 'pm', 'ok', number, intDiv(number, 2), 3, 'attempts', PARTITION_, FIRST_ + number FROM numbers(100)`,
	"costs": `INSERT INTO costs (event_time, cost_id, tenant, labels, state, amount, currency, cache_read, src_topic, src_partition, src_offset)
SELECT toDateTime64('2026-03-04 23:59:00', 3, 'UTC') + number * 7, toString(number), 'acme', map('key', toString(number % 4)), 'priced', toDecimal128(number, 12) / 1000000, 'USD', number, 'costs', PARTITION_, FIRST_ + number FROM numbers(100)`,
}

// record inserts a batch, again and again until ClickHouse takes it, and with
// twice once more, as a recorder does that was killed before it knew.
func record(ctx context.Context, conn driver.Conn, table string, partition, batch int, twice bool) error {
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"insert_deduplication_token": fmt.Sprintf("%s/%d/%d", table, partition, batch), "deduplicate_blocks_in_dependent_materialized_views": 1, "async_insert": 0,
	}))
	sql := strings.NewReplacer("PARTITION_", strconv.Itoa(partition), "FIRST_", strconv.Itoa(100*batch)).Replace(batchOf[table])
	done := 0
	for ctx.Err() == nil {
		if err := conn.Exec(ctx, sql); err != nil {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		if done++; done == 2 || !twice {
			return nil
		}
	}
	return ctx.Err()
}

func agree(t *testing.T, conn driver.Conn) {
	t.Helper()
	found, err := Differences(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range found {
		t.Errorf("%s: only in the %s: %s", d.Rollup, d.In, d.Group)
	}
}

// Tables are full, and recorders write, repeat and are killed while a newer one
// adds rollups.
func TestRollupsAreAddedToTablesInUse(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	all, err := Migrations()
	if err != nil {
		t.Fatal(err)
	}
	var older []Migration
	for _, m := range all {
		if m.Version < 10 {
			older = append(older, m)
		}
	}
	if _, err := bring(t.Context(), h.dsn, older); err != nil {
		t.Fatal(err)
	}
	const partitions, before, after = 2, 2, 2
	sent := map[string]*atomic.Int64{}
	for table := range batchOf {
		sent[table] = new(atomic.Int64)
	}
	over := make(chan struct{}) // the migration
	var recorders sync.WaitGroup
	first := make(chan struct{}, partitions*len(batchOf)) // a value when a recorder has its batches of before
	for table := range batchOf {
		for p := range partitions {
			recorders.Go(func() {
				left := after
				for b := 0; left > 0; b++ {
					if err := record(t.Context(), h.direct, table, p, b, true); err != nil {
						t.Errorf("%s/%d: %v", table, p, err)
						break
					}
					sent[table].Add(1)
					if b+1 == before {
						first <- struct{}{}
					}
					select {
					case <-over:
						left--
					default:
					}
				}
				if err := record(t.Context(), h.direct, table, p, 0, false); err != nil { // it was done all the time
					t.Errorf("%s/%d: %v", table, p, err)
				}
			})
		}
	}
	for range cap(first) {
		<-first
	}
	done, err := bring(t.Context(), h.dsn, all)
	close(over)
	recorders.Wait()
	if err != nil || len(done) != len(all)-len(older) {
		t.Fatalf("applied %d of %d, error %v", len(done), len(all)-len(older), err)
	}
	for table, n := range sent {
		if rows := h.number(t, "SELECT count() FROM "+table); rows != 100*uint64(n.Load()) {
			t.Errorf("%s holds %d rows, want %d", table, rows, 100*n.Load())
		}
	}
	agree(t, h.direct)
	// A process that was killed before it noted its step takes it again.
	if err := h.direct.Exec(t.Context(), "TRUNCATE TABLE schema_migrations"); err != nil {
		t.Fatal(err)
	}
	if _, err := bring(t.Context(), h.dsn, all); err != nil {
		t.Fatal(err)
	}
	agree(t, h.direct)
}

func TestDifferencesOfARollupAreFound(t *testing.T) {
	t.Parallel()
	h := migrated(t)
	for table := range batchOf {
		if err := record(t.Context(), h.direct, table, 0, 0, true); err != nil {
			t.Fatal(err)
		}
	}
	agree(t, h.direct)
	// Another recorder that began on the empty tables comes to the same step late.
	if err := h.direct.Exec(t.Context(), "TRUNCATE TABLE schema_migrations"); err != nil {
		t.Fatal(err)
	}
	if _, err := Migrate(t.Context(), h.dsn); err != nil {
		t.Fatal(err)
	}
	agree(t, h.direct)
	for _, r := range Rollups() {
		if n := h.number(t, "SELECT count() FROM "+r.Name); n == 0 {
			t.Errorf("%s is empty", r.Name)
		}
		if err := h.direct.Exec(t.Context(), "INSERT INTO "+r.Name+" SELECT * FROM "+r.Name+" LIMIT 1 SETTINGS insert_deduplicate = 0"); err != nil {
			t.Fatal(err)
		}
	}
	found, err := Differences(t.Context(), h.direct)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, d := range found {
		seen[d.Rollup] = true
	}
	for _, r := range Rollups() {
		if !seen[r.Name] {
			t.Errorf("a doubled row of %s is not noticed", r.Name)
		}
	}
}

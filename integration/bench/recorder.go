package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/integration"
	"github.com/sira-ai/sira/sinks/clickhouse"
)

// batchRows is the recorder's batch.
const batchRows = 20_000

// recorder measures how many rows a second the recorder moves from the topic of
// costs into its table and rollup, and how many the driver alone inserts of the
// same rows, from memory, in batches of the same length.
func (b *bench) recorder(ctx context.Context) error {
	if _, err := b.Start(ctx, "clickhouse", "clickhouse", nil); err != nil {
		return err
	}
	n := 4 * b.requests
	cfg, err := b.loadCosts(ctx, n)
	if err != nil {
		return err
	}
	doc := own("rec", concurrency)
	if b.profile != "" {
		addr, err := integration.FreeAddr(ctx)
		if err != nil {
			return err
		}
		doc["http"] = integration.Document{"addr": addr}
		go (&bench{profile: b.profile + ".recorder"}).keepProfile(ctx, addr)
	}
	p, err := b.Start(ctx, "rec", "recorder", doc)
	if err != nil {
		return err
	}
	defer p.Kill()
	conn, _, err := clickhouse.Open(cfg.ClickHouseDSN())
	if err != nil {
		return err
	}
	defer conn.Close()
	o := &b.out
	if o.RecorderPS, err = recorded(ctx, conn, n); err != nil {
		return fmt.Errorf("%w\n%s", err, p.Tail())
	}
	if err := p.Stop(time.Minute); err != nil {
		return err
	}
	if o.InsertPS, err = inserted(ctx, cfg, conn); err != nil {
		return err
	}
	o.RatioRec = quotient(o.RecorderPS, o.InsertPS)
	say("recorder %.0f rows/s with %.1f us of CPU a row, bare inserts %.0f rows/s, ratio %.2f",
		o.RecorderPS, float64(p.CPU().Microseconds())/float64(n), o.InsertPS, o.RatioRec)
	return nil
}

// loadCosts fills a topic with n costs, by repeating what Sira wrote for a
// thousand requests.
func (b *bench) loadCosts(ctx context.Context, n int) (app.Config, error) {
	if err := b.instant(ctx); err != nil {
		return app.Config{}, err
	}
	seed, err := b.load(ctx, "seed", 1000)
	if err != nil {
		return seed, err
	}
	worker, err := b.startWorker(ctx, "seed", concurrency)
	if err != nil {
		return seed, err
	}
	if _, err := b.follow(ctx, seed, worker, 1000); err != nil {
		return seed, err
	}
	if err := worker.Stop(time.Minute); err != nil {
		return seed, err
	}
	var costs [][]byte
	err = integration.EachCommitted(ctx, seed.Client(), seed.Topic(app.TopicCosts), func(r *kgo.Record) error {
		costs = append(costs, r.Value)
		return nil
	})
	if err != nil {
		return seed, err
	}
	cfg, err := b.load(ctx, "rec", 0)
	if err != nil {
		return cfg, err
	}
	cl, err := cfg.Client().NewClient(nil, nil, kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		return cfg, err
	}
	defer cl.Close()
	first := new(kgo.FirstErrPromise)
	for i := range n {
		cl.Produce(ctx, &kgo.Record{Topic: cfg.Topic(app.TopicCosts), Value: costs[i%len(costs)]}, first.Promise())
	}
	return cfg, errors.Join(cl.Flush(ctx), first.Err())
}

// recorded waits until the table holds n rows and returns how many there were a
// second between the first batches and the end.
func recorded(ctx context.Context, conn driver.Conn, n int) (float64, error) {
	var from time.Time
	var at uint64
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		var rows uint64
		if err := conn.QueryRow(ctx, "SELECT count() FROM costs").Scan(&rows); err != nil {
			return 0, fmt.Errorf("counting: %w", err)
		}
		if from.IsZero() && rows > 0 {
			from, at = time.Now(), rows
		}
		if rows >= uint64(n) {
			return quotient(float64(rows-at), time.Since(from).Seconds()), nil
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, errors.New("the recorder did not catch up in two minutes")
}

// inserted copies the table's rows into memory and inserts them into a database
// with the same tables and rollups.
func inserted(ctx context.Context, cfg app.Config, conn driver.Conn) (float64, error) {
	columns, rows, err := fetch(ctx, conn)
	if err != nil {
		return 0, err
	}
	dsn := cfg.ClickHouseDSN() + "_bare" // the DSN ends with the database
	if _, err := clickhouse.Migrate(ctx, dsn); err != nil {
		return 0, err
	}
	bare, _, err := clickhouse.Open(dsn)
	if err != nil {
		return 0, err
	}
	defer bare.Close()
	began := time.Now()
	for len(rows) > 0 {
		part := rows[:min(len(rows), batchRows)]
		rows = rows[len(part):]
		batch, err := bare.PrepareBatch(ctx, "INSERT INTO costs ("+strings.Join(columns, ", ")+")")
		if err != nil {
			return 0, fmt.Errorf("preparing batch: %w", err)
		}
		for _, row := range part {
			if err := batch.Append(row...); err != nil {
				return 0, errors.Join(fmt.Errorf("appending: %w", err), batch.Abort())
			}
		}
		if err := batch.Send(); err != nil {
			return 0, fmt.Errorf("inserting: %w", err)
		}
	}
	took := time.Since(began)
	var n uint64
	if err := bare.QueryRow(ctx, "SELECT count() FROM costs").Scan(&n); err != nil {
		return 0, fmt.Errorf("counting: %w", err)
	}
	return float64(n) / took.Seconds(), nil
}

// fetch reads the whole table of costs as the driver's own values.
func fetch(ctx context.Context, conn driver.Conn) (columns []string, out [][]any, err error) {
	rows, err := conn.Query(ctx, "SELECT * FROM costs")
	if err != nil {
		return nil, nil, fmt.Errorf("reading costs: %w", err)
	}
	defer rows.Close()
	types := rows.ColumnTypes()
	for rows.Next() {
		into := make([]any, len(types))
		for i, t := range types {
			into[i] = reflect.New(t.ScanType()).Interface()
		}
		if err := rows.Scan(into...); err != nil {
			return nil, nil, fmt.Errorf("reading costs: %w", err)
		}
		for i := range into {
			into[i] = reflect.ValueOf(into[i]).Elem().Interface()
		}
		out = append(out, into)
	}
	return rows.Columns(), out, rows.Err()
}

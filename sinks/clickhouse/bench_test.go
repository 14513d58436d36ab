package clickhouse

import (
	"fmt"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// benchRows is a number of full batches, so that none waits for its time.
const benchRows = 120_000

// Rows per second from Kafka to ClickHouse, next to those of the bare driver for
// the same rows in blocks of the same size. Rollups are kept up to date in both:
//
//	go test ./sinks/clickhouse -run '^$' -bench Rows -benchtime 3x
func BenchmarkRowsRecorder(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		r := newRig(b, 2)
		for i := range benchRows {
			send(r, "results", int32(i%2), r.codecs.Result, result(fmt.Sprintf("r%06d", i), base.Add(time.Duration(i)*time.Millisecond)))
		}
		if err := r.client.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
		run := r.record("a", func(c *RecorderConfig) { c.MaxWait = time.Second })
		for run.held.Load() == 0 && r.inserts.Load() == 0 {
			<-time.After(time.Millisecond)
		}
		b.StartTimer()
		for run.inserted.Load() < benchRows {
			<-time.After(time.Millisecond)
		}
		b.StopTimer()
		run.stop()
		r.drop()
		b.StartTimer()
	}
	b.ReportMetric(float64(benchRows*b.N)/b.Elapsed().Seconds(), "rows/s")
}

func BenchmarkRowsBareDriver(b *testing.B) {
	r := newRig(b, 2)
	insert := newTables(topics, r.codecs)["results"].insert
	rows := make([][]any, benchRows)
	for i := range rows {
		e := result(fmt.Sprintf("r%06d", i), base.Add(time.Duration(i)*time.Millisecond))
		rows[i] = []any{
			e.CompletedAt, e.RequestID, e.Tenant, e.Labels, string(e.Op), e.Lane, e.Model, e.Route, "ok",
			e.Target.Provider, e.Target.Model, e.Target.Endpoint, e.Target.Region, e.Stream, uint16(2), uint16(1),
			uint64(5), uint64(100), uint64(95), string(e.Cost.State), e.ConfigVersion, e.Origin, "results", uint32(i % 2), uint64(i),
		}
	}
	for b.Loop() {
		for at := 0; at < len(rows); at += 20_000 {
			block, err := r.conn.PrepareBatch(b.Context(), insert, driver.WithReleaseConnection())
			if err != nil {
				b.Fatal(err)
			}
			for _, values := range rows[at:min(at+20_000, len(rows))] {
				if err := block.Append(values...); err != nil {
					b.Fatal(err)
				}
			}
			if err := block.Send(); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(benchRows*b.N)/b.Elapsed().Seconds(), "rows/s")
}

// drop empties the tables for the next round of a benchmark.
func (r *rig) drop() {
	for table := range tables {
		if err := r.direct.Exec(r.t.Context(), "TRUNCATE TABLE "+table); err != nil {
			r.t.Fatal(err)
		}
	}
}

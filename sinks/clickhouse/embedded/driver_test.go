package embedded

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"
)

// connect opens clickhouse-go, which gets the server's answers by its own code paths and not by ours.
func connect(tb testing.TB, s *Server, db string, method clickhouse.CompressionMethod) driver.Conn {
	tb.Helper()
	conn, err := clickhouse.Open(&clickhouse.Options{
		Protocol:    clickhouse.HTTP,
		Addr:        []string{s.Addr()},
		Auth:        clickhouse.Auth{Database: db, Username: "default"},
		Compression: &clickhouse.Compression{Method: method},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := conn.Close(); err != nil {
			tb.Error(err)
		}
	})
	return conn
}

type row struct {
	Time   time.Time         `ch:"time"`
	ID     uuid.UUID         `ch:"id"`
	Tenant string            `ch:"tenant"`
	Text   string            `ch:"text"`
	Kind   string            `ch:"kind"`
	Hash   string            `ch:"hash"`
	Amount decimal.Decimal   `ch:"amount"`
	Tokens uint64            `ch:"tokens"`
	Tags   map[string]string `ch:"tags"`
	List   []string          `ch:"list"`
	Maybe  *string           `ch:"maybe"`
	Flag   bool              `ch:"flag"`
}

const rowTable = `CREATE TABLE facts (
	time DateTime64(3, 'UTC'), id UUID, tenant LowCardinality(String), text String, kind Enum8('usage' = 1, 'refund' = 2),
	hash FixedString(4), amount Decimal(38, 12), tokens UInt64, tags Map(LowCardinality(String), String), list Array(String),
	maybe Nullable(String), flag Bool
) ENGINE = MergeTree ORDER BY (tenant, time) SETTINGS non_replicated_deduplication_window = 1000`

func someRow(i int) row {
	r := row{
		Time:   time.Date(2026, 11, 23, 10, 0, 0, i%1000*int(time.Millisecond), time.UTC),
		ID:     uuid.NewSHA1(uuid.Nil, fmt.Append(nil, i)),
		Tenant: fmt.Sprintf("tenant-%d", i%7),
		Text:   "line one\nline two\r\n\x00\t'\\\" \xff",
		Kind:   "refund",
		Hash:   "\n\x00;'",
		Amount: decimal.RequireFromString("-12345678901234567890123456.000000000001"),
		Tokens: 1<<64 - 1,
		Tags:   map[string]string{"app": "x", "": "\n"},
		List:   []string{"a", "", "\n"},
		Flag:   true,
	}
	if i%2 == 1 {
		r.Maybe = &r.Tenant
	}
	return r
}

func insertRows(tb testing.TB, conn driver.Conn, token string, from, n int) {
	tb.Helper()
	ctx := clickhouse.Context(tb.Context(), clickhouse.WithSettings(clickhouse.Settings{
		"async_insert": 0, "insert_deduplication_token": token,
	}))
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO facts")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = batch.Close() }()
	for i := from; i < from+n; i++ {
		r := someRow(i)
		if err := batch.AppendStruct(&r); err != nil {
			tb.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		tb.Fatal(err)
	}
}

func TestClickHouseGoReadsWhatItWrote(t *testing.T) {
	t.Parallel()
	s := serve(t, ServerConfig{})
	for name, method := range map[string]clickhouse.CompressionMethod{
		"none": clickhouse.CompressionNone, "lz4": clickhouse.CompressionLZ4, "zstd": clickhouse.CompressionZSTD,
		"gzip": clickhouse.CompressionGZIP,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := connect(t, s, database(t, s.engine), method)
			if err := conn.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := conn.Exec(t.Context(), rowTable); err != nil {
				t.Fatal(err)
			}
			insertRows(t, conn, "", 0, 2)
			var got []row
			if err := conn.Select(t.Context(), &got, "SELECT * FROM facts WHERE kind = $1 ORDER BY time", "refund"); err != nil {
				t.Fatal(err)
			}
			want := []row{someRow(0), someRow(1)}
			same := cmp.Comparer(func(a, b decimal.Decimal) bool { return a.Equal(b) })
			if diff := cmp.Diff(want, got, same); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParametersOfClickHouseGo(t *testing.T) {
	t.Parallel()
	s := serve(t, ServerConfig{})
	conn := connect(t, s, "default", clickhouse.CompressionLZ4)
	ctx := clickhouse.Context(t.Context(), clickhouse.WithParameters(clickhouse.Parameters{"n": "40", "s": "x'y"}))
	var n uint16
	var text string
	if err := conn.QueryRow(ctx, "SELECT {n:UInt8} + 2, {s:String}").Scan(&n, &text); err != nil {
		t.Fatal(err)
	}
	if n != 42 || text != "x'y" {
		t.Errorf("got %d, %q", n, text)
	}
}

func TestExceptionReachesClickHouseGo(t *testing.T) {
	t.Parallel()
	s := serve(t, ServerConfig{})
	for _, method := range []clickhouse.CompressionMethod{clickhouse.CompressionNone, clickhouse.CompressionLZ4} {
		conn := connect(t, s, "default", method)
		err := conn.Exec(t.Context(), "SELECT * FROM no_such_table")
		var exception *clickhouse.Exception
		if !errors.As(err, &exception) || exception.Code != 60 {
			t.Errorf("%v: got %v, want code 60", method, err)
		}
	}
}

// A sink that is not sure whether its batch arrived sends it again with the same token.
func TestSameTokenTwiceIsOneCopyInTableAndView(t *testing.T) {
	t.Parallel()
	s := serve(t, ServerConfig{})
	db := database(t, s.engine)
	conn := connect(t, s, db, clickhouse.CompressionLZ4)
	for _, sql := range []string{
		rowTable,
		`CREATE TABLE totals (tenant LowCardinality(String), n SimpleAggregateFunction(sum, UInt64),
			amount SimpleAggregateFunction(sum, Decimal(38, 12)))
			ENGINE = AggregatingMergeTree ORDER BY tenant SETTINGS non_replicated_deduplication_window = 1000`,
		"CREATE MATERIALIZED VIEW totals_view TO totals AS SELECT tenant, count() AS n, sum(facts.amount) AS amount FROM facts GROUP BY tenant",
	} {
		if err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, token := range []string{"batch-1", "batch-1", "batch-2", "batch-1"} {
		insertRows(t, conn, token, 0, 10)
	}
	var rows, viewed uint64
	var equal bool
	err := conn.QueryRow(t.Context(), `SELECT (SELECT count() FROM facts), (SELECT sum(n) FROM totals),
		(SELECT sum(amount) FROM facts) = (SELECT sum(amount) FROM totals)`).Scan(&rows, &viewed, &equal)
	if err != nil {
		t.Fatal(err)
	}
	if rows != 20 || viewed != 20 || !equal {
		t.Errorf("table %d, view %d, want 20 each; sums equal: %v", rows, viewed, equal)
	}
}

func TestLargeBatchArrivesAsOnePart(t *testing.T) {
	t.Parallel()
	s := serve(t, ServerConfig{})
	db := database(t, s.engine)
	conn := connect(t, s, db, clickhouse.CompressionLZ4)
	if err := conn.Exec(t.Context(), "CREATE TABLE t (n UInt64, s String) ENGINE = MergeTree ORDER BY n"); err != nil {
		t.Fatal(err)
	}
	const want = 300_000
	batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO t")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = batch.Close() }()
	for i := range uint64(want) {
		if err := batch.Append(i, "some text\nof two lines"); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
	var rows, sum, parts uint64
	if err := conn.QueryRow(t.Context(), "SELECT count(), sum(n), uniqExact(_part) FROM t").Scan(&rows, &sum, &parts); err != nil {
		t.Fatal(err)
	}
	if rows != want || sum != want*(want-1)/2 || parts != 1 {
		t.Errorf("%d rows, sum %d, %d parts", rows, sum, parts)
	}
}

// BenchmarkInsert measures clickhouse-go, HTTP, spool file and engine together, 12 columns a row:
//
//	go test -run '^$' -bench Insert -benchtime 2s ./sinks/clickhouse/embedded
func BenchmarkInsert(b *testing.B) {
	const batch = 20_000
	for name, method := range map[string]clickhouse.CompressionMethod{
		"none": clickhouse.CompressionNone, "lz4": clickhouse.CompressionLZ4,
	} {
		b.Run(name, func(b *testing.B) {
			s := serve(b, ServerConfig{})
			conn := connect(b, s, database(b, s.engine), method)
			if err := conn.Exec(b.Context(), rowTable); err != nil {
				b.Fatal(err)
			}
			n := 0
			for b.Loop() {
				insertRows(b, conn, fmt.Sprint("batch-", n), n*batch, batch)
				n++
			}
			b.ReportMetric(float64(n*batch)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// BenchmarkSelect measures what a small query costs besides itself:
//
//	go test -run '^$' -bench Select -benchtime 2s ./sinks/clickhouse/embedded
func BenchmarkSelect(b *testing.B) {
	e := sharedEngine(b)
	for b.Loop() {
		if _, err := e.Query(b.Context(), []byte("SELECT 1"), ""); err != nil {
			b.Fatal(err)
		}
	}
}

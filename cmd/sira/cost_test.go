package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/cost/ledger"
	"github.com/sira-ai/sira/sinks/clickhouse"
	"github.com/sira-ai/sira/sinks/clickhouse/embedded"
)

// alone runs the calling test in a process of its own, because an engine lives
// once in a process. It reports whether this is that process.
func alone(t *testing.T) bool {
	t.Helper()
	if _, err := embedded.Find(); errors.Is(err, embedded.ErrNoLibrary) && os.Getenv("CI") == "" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	const mark = "SIRA_TEST_ALONE"
	if os.Getenv(mark) == t.Name() {
		return true
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mark+"="+t.Name())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// engine serves ClickHouse with all tables and returns a connection and the path
// of a document that says where it is.
func engine(t *testing.T) (driver.Conn, string) {
	t.Helper()
	e, err := embedded.Open(t.Context(), embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	server, err := embedded.Serve(context.WithoutCancel(t.Context()), embedded.ServerConfig{Addr: "127.0.0.1:0"}, e)
	if err != nil {
		t.Fatal(err)
	}
	dsn := "http://default:@" + server.Addr() + "/sira"
	if _, err := clickhouse.Migrate(t.Context(), dsn); err != nil {
		t.Fatal(err)
	}
	conn, _, err := clickhouse.Open(dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _, _ = conn.Close(), server.Close(), e.Close() })
	return conn, document(t, fmt.Sprintf("clickhouse: {dsn: %q}\nproviders:\n  - {name: main, kind: openai, api_key: x}\n", dsn))
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// costRows are 3,000 costs of two tenants over three days at 3 and 7 dollars for a
// million tokens, and ten that are unpriced.
const costRows = `INSERT INTO costs (event_time, cost_id, request_id, tenant, labels, model, provider, provider_model, outcome, state, amount, currency,
input_tokens, output_tokens, attempts, line_kind, line_attempt, line_provider, line_model, line_state, line_amount, line_price, src_topic, src_partition, src_offset)
SELECT toDateTime64('2026-11-16 00:00:00', 3, 'UTC') + number * 86, toString(number), toString(number), if(number % 3 = 0, 'acme', 'other'), map('team', if(number % 2 = 0, 'red', 'blue')),
 'fast', 'main', if(number % 300 = 7, 'new', 'm') AS pm, 'ok', if(number % 300 = 7, 'unpriced', 'priced') AS s, if(s = 'unpriced', toDecimal128(0, 12), toDecimal128(number * 7 + 1, 12) * 3 / 1000000 + toDecimal128(number % 11, 12) * 7 / 1000000) AS paid,
 if(s = 'unpriced', '', 'USD'), number * 7 + 1, number % 11, 1, ['usage'], [1], ['main'], [pm], [s], [paid], [if(s = 'unpriced', '', 'openai/m@2026-01-01')], 'costs', number % 2, intDiv(number, 2)
FROM numbers(3000)`

const (
	oldBook = "prices:\n  - {provider: openai, model: m, from: 2026-01-01, currency: USD, input: 3, output: 7}\n"
	newBook = "prices:\n  - {provider: openai, model: m, from: 2026-01-01, currency: USD, input: 1.1, output: 7.000001}\n  - {provider: openai, model: new, from: 2026-01-01, currency: USD, input: 2, output: 2}\n"
)

func TestCorrectedPricesReconcileToTheLastDigit(t *testing.T) {
	if !alone(t) {
		return
	}
	conn, config := engine(t)
	if err := conn.Exec(t.Context(), costRows); err != nil {
		t.Fatal(err)
	}
	must := func(code int, args ...string) string {
		t.Helper()
		got, out, errs := sira(t, append(args, "--config", config)...)
		if got != code {
			t.Fatalf("sira %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), got, code, out, errs)
		}
		return out
	}
	old, fixed := write(t, "old.yaml", oldBook), write(t, "fixed.yaml", newBook)
	week := []string{"--from", "2026-11-16", "--to", "2026-11-23"}
	statement := append([]string{"cost", "statement", "--format", "json", "--by", "tenant,team"}, week...)
	before := must(exitOK, statement...)

	var want decimal.Decimal // of the priced ones, then with those whose price arrived
	for n := range int64(3000) {
		if n%300 != 7 {
			want = want.Add(decimal.New((n*7+1)*-19, -7)).Add(decimal.New(n%11, -12))
		}
	}
	replay := append([]string{"cost", "replay", "--json", "--book", fixed, "--old", old}, week...)
	if got := change(t, must(exitOK, replay...), "change"); !got.Equal(want) {
		t.Errorf("the difference is %s, want %s", got, want)
	}
	for n := int64(7); n < 3000; n += 300 {
		want = want.Add(decimal.New((n*7+1+n%11)*2, -6))
	}
	apply := append(replay, "--totals", "--apply", "--reason", "a test")
	if got := change(t, must(exitOK, apply...), "change"); !got.Equal(want) {
		t.Errorf("with what was unpriced: %s, want %s", got, want)
	}
	if got := change(t, must(exitOK, apply...), "change"); !got.IsZero() {
		t.Errorf("applied twice, the difference is %s", got)
	}

	after := must(exitOK, statement...)
	if got := total(t, after).Sub(total(t, before)); !got.Equal(want) {
		t.Errorf("statements differ by %s, want %s", got, want)
	}
	if got := change(t, must(exitOK, append([]string{"cost", "show", "--json", "--by", "team"}, week...)...), "spent"); !got.Equal(total(t, after)) {
		t.Errorf("the ledger has %s, the statement %s", got, total(t, after))
	}
	// What comes in later does not change a statement that is made again.
	late := strings.ReplaceAll(costRows, "FROM numbers(3000)", "FROM numbers(3000, 5)")
	if err := conn.Exec(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	like := write(t, "before.json", before)
	if again := must(exitOK, "cost", "statement", "--like", like, "--format", "json"); again != before {
		t.Errorf("made again, the statement is\n%s\nit was\n%s", again, before)
	}
	if csv := must(exitOK, append([]string{"cost", "statement", "--by", "label:team", "--tenant", "acme"}, week...)...); !strings.HasPrefix(csv, "label:team,currency,exact,") || strings.Count(csv, "\n") != 3 {
		t.Errorf("as CSV:\n%s", csv)
	}
	invoices(t, conn, must, week)
}

// A price that arrives settles what was unpriced with all that was used, and one
// that is fixed changes a cost of several attempts and units by the exact
// difference, without anybody's word for the totals and without the old book.
func TestRecordedUsageIsPricedAgainExactly(t *testing.T) {
	if !alone(t) {
		return
	}
	conn, config := engine(t)
	err := conn.Exec(t.Context(), `INSERT INTO costs (event_time, cost_id, tenant, model, provider, provider_model, state, amount, currency, attempts,
line_kind, line_attempt, line_provider, line_model, line_state, line_amount, line_price, line_usage)
VALUES ('2026-11-16 00:00:00', 'r/0/1', 'acme', 'draws', 'main', 'draws', 'unpriced', 0, '', 1, ['usage'], [1], ['main'], ['draws'], ['unpriced'], [0], [''],
 ['{"input_tokens":0,"output_tokens":0,"source":"reported","units":{"images":"3"}}']),
('2026-11-16 00:00:01', 'r/0/2', 'acme', 'draws', 'main', 'draws', 'estimated', 0.093000000007, 'USD', 2,
 ['failed_attempt', 'usage'], [1, 2], ['main', 'main'], ['draws', 'draws'], ['estimated', 'priced'], [0.000000000007, 0.093], ['', ''],
 ['{"input_tokens":0,"output_tokens":0,"source":"partial","units":{"images":"0.0000000001"}}', '{"input_tokens":0,"output_tokens":0,"source":"reported","units":{"images":"3.1"}}'])`)
	if err != nil {
		t.Fatal(err)
	}
	book := write(t, "book.yaml", "prices:\n  - {provider: openai, model: draws, from: 2026-01-01, currency: USD, units: {images: 0.04}}\n")
	args := []string{"cost", "replay", "--book", book, "--from", "2026-11-16", "--to", "2026-11-17", "--apply", "--json", "--config", config}
	code, out, errs := sira(t, args...)
	if got := change(t, out, "change"); code != exitOK || !got.Equal(decimal.RequireFromString("0.150999999997")) {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

func invoices(t *testing.T, conn driver.Conn, must func(int, ...string) string, week []string) {
	t.Helper()
	var booked decimal.Decimal
	if err := conn.QueryRow(t.Context(), "SELECT sum(amount) FROM ledger WHERE provider_model = 'm'").Scan(&booked); err != nil {
		t.Fatal(err)
	}
	good := write(t, "good.csv", "Model,Currency,Amount\nm,USD,"+booked.StringFixed(2)+"\nnew,USD,0.19\n")
	args := append([]string{"cost", "reconcile", good, "--provider", "main", "--tolerance", "1", "--import", "INV-1"}, week...)
	if out := must(exitOK, args...); !strings.Contains(out, "agrees") {
		t.Error(out)
	}
	must(exitOK, args...)
	var lines uint64
	if err := conn.QueryRow(t.Context(), "SELECT count() FROM invoices FINAL").Scan(&lines); err != nil || lines != 2 {
		t.Errorf("imported twice there are %d lines, error %v", lines, err)
	}
	bad := write(t, "bad.csv", "model,currency,amount\nm,USD,1000\nunheard,USD,5\n")
	out := must(exitFinding, append([]string{"cost", "reconcile", bad, "--provider", "main"}, week...)...)
	for _, finding := range []ledger.Finding{ledger.Drifts, ledger.NotBooked, ledger.NotInvoiced} {
		if !strings.Contains(out, string(finding)) {
			t.Errorf("no %s in\n%s", finding, out)
		}
	}
}

// change adds up a field of JSON lines.
func change(t *testing.T, out, field string) (sum decimal.Decimal) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(out))
	for d.More() {
		var line map[string]any
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		sum = sum.Add(decimal.RequireFromString(fmt.Sprint(line[field])))
	}
	return sum
}

// total adds up the exact amounts of a statement.
func total(t *testing.T, text string) (sum decimal.Decimal) {
	t.Helper()
	var s ledger.Statement
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	for _, r := range s.Rows {
		sum = sum.Add(r.Exact)
	}
	return sum
}

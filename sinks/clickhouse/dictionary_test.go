package clickhouse

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write docs/data-dictionary.md anew")

const dictionaryFile = "../../docs/data-dictionary.md"

// example is a question that the dictionary answers in SQL.
type example struct {
	title, sql string
	want       [][]string // on the rows of exampleRows
}

var examples = []example{
	{
		"Median and 99th percentile of end-to-end time by model, last day",
		`SELECT model, count() AS requests, quantileExact(0.5)(e2e_ms) AS p50_ms, quantileExact(0.99)(e2e_ms) AS p99_ms
FROM requests
WHERE event_time > now() - INTERVAL 1 DAY AND outcome = 'ok'
GROUP BY model
ORDER BY requests DESC`,
		[][]string{{"fast", "100", "51", "100"}, {"slow", "1", "9000", "9000"}},
	},
	{
		"Spend of each tenant this month, with what could not be priced",
		`SELECT tenant, currency, sum(amount) AS spent, sumIf(n, state = 'estimated') AS estimated, sumIf(n, state = 'unpriced') AS unpriced
FROM costs_1h
WHERE hour >= toStartOfMonth(now())
GROUP BY tenant, currency
ORDER BY spent DESC`,
		[][]string{{"acme", "USD", "0.000000000006", "1", "0"}, {"other", "", "0", "0", "1"}},
	},
	{
		"Health of the endpoints in the last hour; a percentile is the upper edge of its bucket",
		`WITH buckets AS
(
    SELECT endpoint, bucket, sum(calls) AS calls
    FROM attempts_1m
    ARRAY JOIN mapKeys(latency_hist) AS bucket, mapValues(latency_hist) AS calls
    WHERE minute > now() - INTERVAL 1 HOUR
    GROUP BY endpoint, bucket
),
ranked AS
(
    SELECT endpoint, bucket, sum(calls) OVER (PARTITION BY endpoint ORDER BY bucket) AS below, sum(calls) OVER (PARTITION BY endpoint) AS total
    FROM buckets
),
latency AS
(
    SELECT endpoint, round(exp2((minIf(bucket, below >= 0.5 * total) + 1) / 8) - 1) AS p50_ms,
           round(exp2((minIf(bucket, below >= 0.99 * total) + 1) / 8) - 1) AS p99_ms
    FROM ranked
    GROUP BY endpoint
)
SELECT endpoint, sum(n) AS calls, round(sumIf(n, outcome != 'ok') / calls, 3) AS failing, any(p50_ms) AS p50, any(p99_ms) AS p99
FROM attempts_1m
INNER JOIN latency USING (endpoint)
WHERE minute > now() - INTERVAL 1 HOUR
GROUP BY endpoint
ORDER BY endpoint`,
		[][]string{{"openai-eu", "100", "0.1", "53", "107"}},
	},
	{
		"Why traffic was moved away from an endpoint, and when it came back, last day",
		`SELECT event_time, provider, endpoint, source, from_share, to_share, round(probability, 2) AS probability, reasons
FROM health
WHERE kind = 'share' AND applied AND event_time > now() - INTERVAL 1 DAY
ORDER BY event_time DESC
LIMIT 1 BY event_id`,
		[][]string{{"2099-01-01 00:00:00.000", "openai", "openai-eu", "analyst", "100", "5", "0.83", "[first_token_rise: 1.8 times the usual]"}},
	},
}

// exampleRows is what the examples are asked about.
var exampleRows = []string{
	`INSERT INTO requests (event_time, tenant, model, outcome, e2e_ms) SELECT now64(3), 'acme', 'fast', 'ok', number + 1 FROM numbers(100)`,
	`INSERT INTO requests (event_time, tenant, model, outcome, e2e_ms) SELECT now64(3), 'acme', 'slow', 'ok', 9000`,
	`INSERT INTO costs (event_time, tenant, state, amount, currency) VALUES (now64(3), 'acme', 'priced', 0.000000000001, 'USD'), (now64(3), 'acme', 'estimated', 0.000000000005, 'USD'), (now64(3), 'other', 'unpriced', 0, '')`,
	`INSERT INTO health (event_time, event_id, kind, provider, endpoint, source, applied, from_share, to_share, probability, reasons) VALUES ('2099-01-01 00:00:00', 'openai/openai-eu#1', 'share', 'openai', 'openai-eu', 'analyst', true, 100, 5, 0.8312, ['first_token_rise: 1.8 times the usual'])`,
	`INSERT INTO attempts (event_time, endpoint, provider, outcome, latency_ms) SELECT now64(3), 'openai-eu', 'openai', if(number % 10 = 0, 'timeout', 'ok'), number + 1 FROM numbers(100)`,
}

func TestExamplesOfTheDictionaryAnswerTheirQuestions(t *testing.T) {
	t.Parallel()
	h := migrated(t)
	for _, sql := range exampleRows {
		if err := h.direct.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range examples {
		if diff := cmp.Diff(e.want, h.table(t, e.sql)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", e.title, diff)
		}
	}
}

// table returns an answer as text.
func (h *house) table(t *testing.T, sql string) [][]string {
	t.Helper()
	var columns []string
	rows, err := h.direct.Query(t.Context(), "SELECT toString(tuple(*)) FROM ("+sql+")")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var out [][]string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		columns = strings.Split(strings.Trim(strings.ReplaceAll(text, "'", ""), "()"), ",")
		out = append(out, columns)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestDataDictionaryIsUpToDate(t *testing.T) {
	t.Parallel()
	want, err := dictionary()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(dictionaryFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(dictionaryFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/data-dictionary.md is stale; run go test ./sinks/clickhouse -run Dictionary -update\n%s", diff)
	}
}

var (
	tableHead  = regexp.MustCompile(`^CREATE TABLE IF NOT EXISTS (\w+)`)
	addition   = regexp.MustCompile(`^ALTER TABLE (\w+)\n`)
	added      = regexp.MustCompile(`(?m)^    ADD COLUMN IF NOT EXISTS (\w+)\s+(.+?) COMMENT '([^']*)'.*$`)
	columnLine = regexp.MustCompile(`(?m)^    (\w+)\s+(.+?) COMMENT '([^']*)'.*$`)
	view       = regexp.MustCompile(`(?s)^CREATE VIEW IF NOT EXISTS (\w+) .*\n\)\nCOMMENT '([^']*)'$`)
	sorting    = regexp.MustCompile(`(?m)^ORDER BY (.+)$`)
)

const dictionaryIntro = `# Data dictionary

What Sira keeps in ClickHouse. The recorder moves every event from Kafka into its table exactly once; materialized views
keep the rollups up to date in the same insert, so a rollup always adds up to its table. The columns src_topic,
src_partition and src_offset name the Kafka record of a row: they prove that nothing is missing or doubled.

Rollups are merged in the background. Always aggregate them: sum(n), not n. Times are UTC, amounts are exact decimals, and
an unpriced cost is unknown, not zero.

This file is made from the migrations in sinks/clickhouse/migrations by
` + "`go test ./sinks/clickhouse -run Dictionary -update`" + `.

## Examples
`

const dictionaryViews = `
## Views

Ask these rather than rollups: their names and columns stay when the tables behind them change. [Ten questions](questions.md) shows
them at work. The views ledger and ledger_entries are the costs with all adjustments, see [costs](costs.md).

| View | Holds |
| --- | --- |
`

// dictionary is the text of docs/data-dictionary.md.
func dictionary() (string, error) {
	all, err := Migrations()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(dictionaryIntro)
	for _, e := range examples {
		fmt.Fprintf(&b, "\n%s:\n\n```sql\n%s\n```\n", e.title, e.sql)
	}
	b.WriteString("\n## Tables\n")
	later := map[string]string{}
	for _, m := range all {
		for _, s := range m.Statements {
			if head := addition.FindStringSubmatch(s); head != nil {
				for _, c := range added.FindAllStringSubmatch(s, -1) {
					later[head[1]] += fmt.Sprintf("| %s | `%s` | %s |\n", c[1], c[2], c[3])
				}
			}
		}
	}
	for _, m := range all {
		for _, s := range m.Statements {
			head := tableHead.FindStringSubmatch(s)
			if head == nil {
				continue
			}
			kind := "Table"
			switch {
			case strings.Contains(s, "AggregatingMergeTree"):
				kind = "Rollup"
			case strings.Contains(s, "event_time"):
				kind = "Fact table"
			}
			fmt.Fprintf(&b, "\n### %s\n\n%s, sorted by `%s`.\n\n| Column | Type | Meaning |\n| --- | --- | --- |\n", head[1], kind, sorting.FindStringSubmatch(s)[1])
			for _, c := range columnLine.FindAllStringSubmatch(s, -1) {
				fmt.Fprintf(&b, "| %s | `%s` | %s |\n", c[1], c[2], c[3])
			}
			b.WriteString(later[head[1]])
		}
	}
	b.WriteString(dictionaryViews)
	for _, m := range all {
		for _, s := range m.Statements {
			if v := view.FindStringSubmatch(s); v != nil {
				fmt.Fprintf(&b, "| %s | %s |\n", v[1], v[2])
			}
		}
	}
	return b.String(), nil
}

// The dictionary is read from the text of the migrations; the engine must agree.
func TestDataDictionaryNamesEveryColumn(t *testing.T) {
	t.Parallel()
	h := migrated(t)
	text, err := dictionary()
	if err != nil {
		t.Fatal(err)
	}
	rows, err := h.direct.Query(t.Context(), `SELECT table, name, comment FROM system.columns WHERE database = currentDatabase()
		AND table IN (SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree' AND name != 'schema_migrations')`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	seen := 0
	for ; rows.Next(); seen++ {
		var table, name, comment string
		if err := rows.Scan(&table, &name, &comment); err != nil {
			t.Fatal(err)
		}
		_, section, _ := strings.Cut(text, "\n### "+table+"\n")
		section, _, _ = strings.Cut(section, "\n### ")
		if comment == "" || !strings.Contains(section, "\n| "+name+" | ") || !strings.Contains(section, "| "+comment+" |\n") {
			t.Errorf("%s.%s is not in the dictionary, or has no comment", table, name)
		}
	}
	if err := rows.Err(); err != nil || seen < 100 {
		t.Errorf("%d columns, error %v", seen, err)
	}
}

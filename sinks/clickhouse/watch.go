package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/shopspring/decimal"
)

// The questions behind alerts. Names of columns come from closed sets; values are
// written as literals.

// Scope says which requests a question is about.
type Scope struct {
	By      []string // columns: an answer for each combination of their values
	Models  []string // only these; nil: all
	Tenants []string
	Ignore  []string // outcomes that count for nothing
	Now     time.Time
}

func (s *Scope) where() string {
	var sql string
	if len(s.Models) > 0 {
		sql += " AND model IN (" + texts(s.Models) + ")"
	}
	if len(s.Tenants) > 0 {
		sql += " AND tenant IN (" + texts(s.Tenants) + ")"
	}
	return sql
}

// keys is the values of By as one array, which needs no scan for each set of columns.
func (s *Scope) keys() string {
	if len(s.By) == 0 {
		return "CAST([], 'Array(String)')"
	}
	parts := make([]string, len(s.By))
	for i, c := range s.By {
		parts[i] = "toString(" + c + ")"
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func (s *Scope) labels(keys []string) map[string]string {
	out := make(map[string]string, len(keys))
	for i, k := range keys {
		out[s.By[i]] = k
	}
	return out
}

// Tally is how many requests were bad, and how many there were, within windows that
// end now.
type Tally struct {
	Labels   map[string]string
	Bad, All []uint64 // for each window that was asked for
}

// CountBad counts requests within windows from the requests themselves. A request is
// bad if it failed or, where within is above 0, took longer.
func CountBad(ctx context.Context, conn driver.Conn, s Scope, within time.Duration, windows []time.Duration) ([]Tally, error) {
	bad := "outcome != 'ok'"
	if within > 0 {
		bad += fmt.Sprintf(" OR e2e_ms > %d", within.Milliseconds())
	}
	now, longest := s.Now.UnixMilli(), slices.Max(windows)
	var bads, alls []string
	for _, w := range windows {
		inside := fmt.Sprintf("toUnixTimestamp64Milli(event_time) >= %d", now-w.Milliseconds())
		bads = append(bads, fmt.Sprintf("countIf((%s) AND %s)", bad, inside))
		alls = append(alls, fmt.Sprintf("countIf(%s)", inside))
	}
	sql := fmt.Sprintf(`SELECT %s AS keys, [%s], [%s] FROM requests
WHERE event_time >= fromUnixTimestamp64Milli(%d, 'UTC') AND event_time < fromUnixTimestamp64Milli(%d, 'UTC')%s%s GROUP BY keys ORDER BY count() DESC LIMIT 10000`,
		s.keys(), strings.Join(bads, ", "), strings.Join(alls, ", "), now-longest.Milliseconds(), now, ignored(s.Ignore), s.where())
	return s.tallies(ctx, conn, sql)
}

// CountBadByHour counts requests within windows of whole hours from the rollup; the
// hour that runs comes on top. Of a bucket of times that within is in, all were in
// time. Only model and tenant can be told apart.
func CountBadByHour(ctx context.Context, conn driver.Conn, s Scope, within time.Duration, windows []time.Duration) ([]Tally, error) {
	now, longest := s.Now.Truncate(time.Hour).Unix(), slices.Max(windows)
	slow := "toUInt64(0)"
	if within > 0 {
		slow = fmt.Sprintf("toUInt64(arraySum(mapValues(mapFilter((k, v) -> k > least(255, floor(8 * log2(%d + 1))), e2e_hist))))", within.Milliseconds())
	}
	var bads, alls []string
	for _, w := range windows {
		inside := fmt.Sprintf("toUnixTimestamp(hour) >= %d", now-int64(w.Seconds()))
		bads = append(bads, fmt.Sprintf("sumIf(if(outcome != 'ok', n, %s), %s)", slow, inside))
		alls = append(alls, fmt.Sprintf("sumIf(n, %s)", inside))
	}
	sql := fmt.Sprintf(`SELECT %s AS keys, [%s], [%s] FROM requests_1h
WHERE hour >= toDateTime(%d, 'UTC') AND hour <= toDateTime(%d, 'UTC')%s%s GROUP BY keys ORDER BY sum(n) DESC LIMIT 10000`,
		s.keys(), strings.Join(bads, ", "), strings.Join(alls, ", "), now-int64(longest.Seconds()), now, ignored(s.Ignore), s.where())
	return s.tallies(ctx, conn, sql)
}

func ignored(codes []string) string {
	if len(codes) == 0 {
		return ""
	}
	return " AND outcome NOT IN (" + texts(codes) + ")"
}

func texts(all []string) string {
	literals := make([]string, len(all))
	for i, s := range all {
		literals[i] = text(s)
	}
	return strings.Join(literals, ", ")
}

// text returns a literal of SQL.
func text(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

func (s *Scope) tallies(ctx context.Context, conn driver.Conn, sql string) ([]Tally, error) {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("counting requests: %w", err)
	}
	defer rows.Close()
	var out []Tally
	for rows.Next() {
		var keys []string
		var t Tally
		if err := rows.Scan(&keys, &t.Bad, &t.All); err != nil {
			return nil, fmt.Errorf("counting requests: %w", err)
		}
		t.Labels = s.labels(keys)
		out = append(out, t)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("counting requests: %w", err)
	}
	return out, nil
}

// Steps is a measure in equal steps; steps without any data are left out.
type Steps struct {
	Labels map[string]string
	At     []time.Time // starts of steps, in order
	Value  []float64
}

// measures are what a step of each measure is, and from which table.
var measures = map[string]struct{ table, value string }{
	"requests":            {"requests", "toFloat64(count())"},
	"failing_percent":     {"requests", "100 * countIf(outcome != 'ok') / count()"},
	"latency_p50_ms":      {"requests", "toFloat64(quantileIf(0.5)(e2e_ms, outcome = 'ok'))"},
	"latency_p99_ms":      {"requests", "toFloat64(quantileIf(0.99)(e2e_ms, outcome = 'ok'))"},
	"spend":               {"costs", "toFloat64(sum(amount))"},
	"failure_probability": {"metrics", "max(value)"}, // of endpoints, over all workers
}

// Measure returns a measure in steps from the one that from is in up to the one that
// s.Now is in, without that. currency is for spend.
func Measure(ctx context.Context, conn driver.Conn, s Scope, measure, currency string, from time.Time, step time.Duration) ([]Steps, error) {
	m, ok := measures[measure]
	if !ok {
		return nil, fmt.Errorf("there is no measure %q", measure)
	}
	where := s.where()
	switch m.table {
	case "requests":
		where = ignored(s.Ignore) + where
	case "costs":
		where = " AND currency = " + text(currency) + where
	case "metrics":
		where = " AND name = 'endpoint_failure_probability'"
	}
	size := int64(step.Seconds())
	sql := fmt.Sprintf(`SELECT %s AS keys, toInt64(intDiv(toUnixTimestamp(event_time), %d) * %d) AS at, %s FROM %s
WHERE event_time >= toDateTime64(%d, 3, 'UTC') AND event_time < toDateTime64(%d, 3, 'UTC')%s GROUP BY keys, at ORDER BY keys, at`,
		s.keys(), size, size, m.value, m.table, from.Unix()/size*size, s.Now.Unix()/size*size, where)
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", measure, err)
	}
	defer rows.Close()
	var out []Steps
	last := ""
	for rows.Next() {
		var keys []string
		var at int64
		var v float64
		if err := rows.Scan(&keys, &at, &v); err != nil {
			return nil, fmt.Errorf("reading %s: %w", measure, err)
		}
		if key := strings.Join(keys, "\x00"); len(out) == 0 || key != last {
			out, last = append(out, Steps{Labels: s.labels(keys)}), key
		}
		n := &out[len(out)-1]
		n.At, n.Value = append(n.At, time.Unix(at, 0).UTC()), append(n.Value, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", measure, err)
	}
	return out, nil
}

// BudgetState is what the owner of a budget decided last.
type BudgetState struct {
	At              time.Time
	Spent, Reserved decimal.Decimal
}

// LastOfBudget returns the last decision about a budget since from, and whether
// there is one.
func LastOfBudget(ctx context.Context, conn driver.Conn, budget string, from time.Time) (BudgetState, bool, error) {
	rows, err := conn.Query(ctx, `SELECT event_time, spent, reserved FROM budget_events WHERE budget = ? AND event_time >= fromUnixTimestamp64Milli(?)
ORDER BY event_time DESC, seq DESC LIMIT 1`, budget, from.UnixMilli())
	if err != nil {
		return BudgetState{}, false, fmt.Errorf("reading budget %s: %w", budget, err)
	}
	defer rows.Close()
	var s BudgetState
	found := rows.Next()
	if found {
		if err := rows.Scan(&s.At, &s.Spent, &s.Reserved); err != nil {
			return s, false, fmt.Errorf("reading budget %s: %w", budget, err)
		}
	}
	if err := rows.Err(); err != nil {
		return s, false, fmt.Errorf("reading budget %s: %w", budget, err)
	}
	return s, found, nil
}

// having is a condition on the labels of a cost.
func having(labels map[string]string) string {
	parts := make([]string, 0, len(labels))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, " AND labels["+text(k)+"] = "+text(labels[k]))
	}
	return strings.Join(parts, "")
}

// SpendByHour returns what was spent in each hour, adjustments included, from the
// first hour that has anything up to to. Empty tenant and labels mean all.
func SpendByHour(ctx context.Context, conn driver.Conn, tenant string, labels map[string]string, currency string, from, to time.Time) ([]float64, error) {
	from, to = from.Truncate(time.Hour), to.Truncate(time.Hour)
	var dims string
	if tenant != "" {
		dims = " AND tenant = " + text(tenant)
	}
	source := "SELECT hour AS h, costs_1h.amount AS paid FROM costs_1h WHERE currency = %[1]s AND hour >= toDateTime(%[2]d, 'UTC') AND hour < toDateTime(%[3]d, 'UTC')%[4]s"
	if len(labels) > 0 { // the rollup does not know them
		dims += having(labels)
		source = "SELECT toStartOfHour(event_time) AS h, costs.amount AS paid FROM costs WHERE currency = %[1]s AND event_time >= toDateTime64(%[2]d, 3, 'UTC') AND event_time < toDateTime64(%[3]d, 3, 'UTC')%[4]s"
	}
	sql := fmt.Sprintf("SELECT toUnixTimestamp(h), toFloat64(sum(paid)) FROM ("+source+
		" UNION ALL SELECT toStartOfHour(event_time) AS h, adjustments.amount AS paid FROM adjustments FINAL WHERE currency = %[1]s AND event_time >= toDateTime64(%[2]d, 3, 'UTC') AND event_time < toDateTime64(%[3]d, 3, 'UTC')%[4]s) GROUP BY h",
		text(currency), from.Unix(), to.Unix(), dims)
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("reading spending by the hour: %w", err)
	}
	defer rows.Close()
	series := make([]float64, int(to.Sub(from)/time.Hour))
	first := len(series)
	for rows.Next() {
		var at uint32
		var v float64
		if err := rows.Scan(&at, &v); err != nil {
			return nil, fmt.Errorf("reading spending by the hour: %w", err)
		}
		if i := int(time.Unix(int64(at), 0).Sub(from) / time.Hour); i >= 0 && i < len(series) {
			series[i] = max(0, v)
			first = min(first, i)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading spending by the hour: %w", err)
	}
	return series[first:], nil
}

package clickhouse

import (
	"context"
	"fmt"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Rollup says what a rollup has to add up to: for each group its sums equal those
// of the table that it is made of.
type Rollup struct {
	Name, Source string
	Groups       []Pair
	Sums         []Pair
}

// Pair is the same value in SQL over the rollup and over its source.
type Pair struct{ Rollup, Source string }

// Rollups returns all rollups. States of quantiles are no sums; rows that are in
// n are in them.
func Rollups() []Rollup {
	same := func(names ...string) []Pair {
		out := make([]Pair, len(names))
		for i, n := range names {
			out[i] = Pair{n, n}
		}
		return out
	}
	sums := func(source string, names ...string) []Pair {
		out := []Pair{{"sum(n)", "count()"}}
		for _, n := range names {
			of, from, ok := strings.Cut(n, "=")
			if !ok {
				from = source + "." + of
			}
			out = append(out, Pair{"sum(r." + of + ")", "sum(" + from + ")"})
		}
		return out
	}
	minute, hour, day := Pair{"minute", "toStartOfMinute(event_time)"}, Pair{"hour", "toStartOfHour(event_time)"}, Pair{"day", "toDate(event_time)"}
	call := append(same("endpoint", "provider", "outcome"), Pair{"model", "provider_model"})
	counted := func(column string) Pair { return Pair{"sum(arraySum(mapValues(" + column + ")))", "count()"} }
	attempts := sums("attempts", "again=toUInt64(attempt > 1)", "latency_sum=latency_ms", "first_n=toUInt64(first_token_ms > 0)", "input_tokens", "cached_tokens", "output_tokens")
	return []Rollup{
		{
			"attempts_1m", "attempts", append([]Pair{minute}, call...),
			append(sums("attempts", "latency_sum=latency_ms", "input_tokens", "output_tokens"), Pair{"max(latency_max)", "max(latency_ms)"}, counted("latency_hist")),
		},
		{"attempts_1h", "attempts", append([]Pair{hour}, call...), attempts},
		{"attempts_1d", "attempts", append([]Pair{day}, call...), attempts},
		{"costs_1h", "costs", append([]Pair{hour}, same("tenant", "provider", "model", "currency", "state")...), sums("costs", "amount", "input_tokens", "output_tokens")},
		{
			"costs_1d", "costs",
			append([]Pair{day, {"team", "labels['team']"}, {"project", "labels['project']"}, {"key", "labels['key']"}}, same("tenant", "model", "provider", "provider_model", "currency", "state")...),
			sums("costs", "amount", "input_tokens", "cache_read", "cache_write", "output_tokens"),
		},
		{"requests_1h", "requests", append([]Pair{hour}, same("tenant", "model", "outcome")...), append(sums("requests", "e2e_sum=e2e_ms"), counted("e2e_hist"))},
		{
			"requests_1d", "requests", append([]Pair{day}, same("tenant", "model", "outcome")...),
			sums("requests", "streamed=toUInt64(stream)", "again=toUInt64(requests.attempts > 1)", "attempts", "fallbacks", "queue_sum=queue_ms", "e2e_sum=e2e_ms"),
		},
		{"requests_models_1d", "requests", append([]Pair{day}, same("model", "outcome")...), sums("requests", "e2e_sum=e2e_ms")},
		{"requests_list", "requests", same("src_topic", "src_partition", "src_offset", "request_id", "tenant", "event_time", "outcome"), []Pair{{"count()", "count()"}, {"sum(e2e_ms)", "sum(e2e_ms)"}}},
	}
}

// Difference is a group whose sums in the rollup are not those of its source.
type Difference struct {
	Rollup string
	Group  string // groups and sums, as ClickHouse prints a tuple
	In     string // "rollup" or "source": the only place where it is so
}

// Differences compares every group of every rollup with its source and returns
// those that differ, at most ten of a rollup. It reads the tables whole. Nothing
// may be inserted meanwhile.
func Differences(ctx context.Context, conn driver.Conn) ([]Difference, error) {
	var out []Difference
	for _, r := range Rollups() {
		side := func(name, from string, of func(Pair) string) string {
			var values, groups []string
			for _, p := range r.Groups {
				values, groups = append(values, of(p)), append(groups, of(p))
			}
			for _, p := range r.Sums {
				values = append(values, of(p))
			}
			return "SELECT '" + name + "' AS place, toString(tuple(" + strings.Join(values, ", ") + ")) AS line FROM " + from + " GROUP BY " + strings.Join(groups, ", ")
		}
		sql := "SELECT line, any(place) FROM (" + side("rollup", r.Name+" AS r", func(p Pair) string { return p.Rollup }) + " UNION ALL " +
			side("source", r.Source, func(p Pair) string { return p.Source }) + ") GROUP BY line HAVING count() != 2 ORDER BY line LIMIT 10"
		rows, err := conn.Query(ctx, sql)
		if err != nil {
			return nil, fmt.Errorf("comparing %s with %s: %w", r.Name, r.Source, err)
		}
		for rows.Next() {
			d := Difference{Rollup: r.Name}
			if err := rows.Scan(&d.Group, &d.In); err != nil {
				return nil, fmt.Errorf("comparing %s with %s: %w", r.Name, r.Source, err)
			}
			out = append(out, d)
		}
		if err := rows.Err(); err != nil {
			return nil, fmt.Errorf("comparing %s with %s: %w", r.Name, r.Source, err)
		}
	}
	return out, nil
}

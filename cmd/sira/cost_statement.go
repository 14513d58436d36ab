package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/handlers/cost/ledger"
)

// stating is what a statement is made of.
type stating struct {
	period

	by                            []string
	currency, rates, format, like string
	asOf                          string
}

func (c *cli) costStatementCommand() *cobra.Command {
	var p period
	var o stating
	cmd := &cobra.Command{
		Use: "statement", Short: "Make a chargeback statement: CSV, JSON or a page to print", Args: cobra.NoArgs,
		Long: `Adds up the ledger of a period with the adjustments booked until --as-of. With
--currency amounts are converted with the reference rate of their day: --rates names
a file in the form of the European Central Bank's eurofxref-hist.csv. Each row is
rounded once, half to even; totals add up the rounded rows.

A statement names the offsets that it was made from. --like makes a statement again
from the same offsets and adjustments, whatever came in since: the digest is the
same, or something was changed.`,
		Example: `  sira cost statement --from 2026-10-01 --to 2026-11-01 --tenant acme --by team,model --format html > acme.html
  sira cost statement --from 2026-10-01 --to 2026-11-01 --currency EUR --rates eurofxref-hist.csv --format json > october.json
  sira cost statement --like october.json --rates eurofxref-hist.csv --format json | cmp - october.json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.period = p
			if c.json {
				o.format = "json"
			}
			s, rates, err := o.prepare(time.Now())
			if err != nil {
				return err
			}
			conn, _, err := c.house()
			if err != nil {
				return err
			}
			defer conn.Close()
			if err := state(cmd.Context(), conn, &o.period, s, rates); err != nil {
				return err
			}
			return writeStatement(cmd.OutOrStdout(), s, o.format)
		},
	}
	p.flags(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&o.by, "by", []string{"tenant", "model"}, "dimensions: day, tenant, model, provider, provider_model, team, project, user, key, label:NAME")
	f.StringVar(&o.currency, "currency", "", "currency of settlement (default: each in its own)")
	f.StringVar(&o.rates, "rates", "", "file of exchange rates")
	f.StringVar(&o.format, "format", "csv", "csv, json or html")
	f.StringVar(&o.asOf, "as-of", "", "moment until which adjustments count (default: now)")
	f.StringVar(&o.like, "like", "", "JSON of a statement that is to be made again")
	return cmd
}

// prepare returns the empty statement that the flags ask for.
func (o *stating) prepare(now time.Time) (*ledger.Statement, *ledger.Rates, error) {
	if o.format != "csv" && o.format != "json" && o.format != "html" {
		return nil, nil, usageError{fmt.Errorf("--format %q: write csv, json or html", o.format)}
	}
	s := &ledger.Statement{By: o.by, Currency: o.currency}
	if o.like != "" {
		if err := o.repeat(s); err != nil {
			return nil, nil, usageError{err}
		}
	} else {
		if err := o.parse(now); err != nil {
			return nil, nil, err
		}
		asOf, err := moment(o.asOf, now.UTC())
		if err != nil {
			return nil, nil, usageError{err}
		}
		s.AsOf = asOf.UTC().Format("2006-01-02T15:04:05.000Z")
	}
	s.Tenant, s.From, s.To = o.tenant, o.begin.UTC().Format(time.RFC3339), o.end.UTC().Format(time.RFC3339)
	if o.rates == "" {
		return s, nil, nil
	}
	f, err := os.Open(o.rates)
	if err != nil {
		return nil, nil, usageError{fmt.Errorf("reading exchange rates: %w", err)}
	}
	defer f.Close()
	rates, err := ledger.ReadRates(f)
	if err != nil {
		return nil, nil, usageError{err}
	}
	return s, rates, nil
}

// repeat takes all but the numbers from an earlier statement.
func (o *stating) repeat(s *ledger.Statement) error {
	text, err := os.ReadFile(o.like)
	if err != nil {
		return fmt.Errorf("reading statement: %w", err)
	}
	var earlier ledger.Statement
	if err := json.Unmarshal(text, &earlier); err != nil {
		return fmt.Errorf("reading statement from %s: write what --format json printed: %w", o.like, err)
	}
	s.AsOf, s.By, s.Currency, s.Sources = earlier.AsOf, earlier.By, earlier.Currency, earlier.Sources
	o.tenant, o.from, o.to = earlier.Tenant, earlier.From, earlier.To
	if len(earlier.Sources) == 0 {
		return errors.New("reading statement: it names no sources")
	}
	return o.parse(time.Now())
}

// state fills a statement from the ledger.
func state(ctx context.Context, conn driver.Conn, p *period, s *ledger.Statement, rates *ledger.Rates) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	exprs, err := dimensions(s.By)
	if err != nil {
		return err
	}
	var sources string
	if len(s.Sources) == 0 {
		if s.Sources, err = spans(ctx, conn, p); err != nil {
			return err
		}
	} else {
		sources = " AND " + within(s.Sources)
	}
	asOf, err := time.Parse(time.RFC3339, s.AsOf)
	if err != nil {
		return usageError{fmt.Errorf("as_of: %w", err)}
	}
	portions, err := readPortions(ctx, conn, exprs, p, sources, asOf)
	if err != nil {
		return err
	}
	return s.Fill(portions, rates)
}

// within limits booked entries to the offsets of an earlier statement, and
// adjustments to costs that it had.
func within(spans []ledger.Span) string {
	var list []string
	for _, s := range spans {
		list = append(list, fmt.Sprintf("src_topic = %s AND src_partition = %d AND src_offset BETWEEN %d AND %d", quoted(s.Topic), s.Partition, s.First, s.Last))
	}
	some := "(" + strings.Join(list, " OR ") + ")"
	return "(seq = 0 AND " + some + " OR seq > 0 AND cost_id IN (SELECT cost_id FROM costs WHERE " + some + "))"
}

func spans(ctx context.Context, conn driver.Conn, p *period) ([]ledger.Span, error) {
	rows, err := conn.Query(ctx, "SELECT src_topic, src_partition, min(src_offset), max(src_offset), count() FROM costs WHERE "+p.where()+" GROUP BY src_topic, src_partition ORDER BY src_topic, src_partition")
	if err != nil {
		return nil, fmt.Errorf("reading offsets of the ledger: %w", err)
	}
	defer rows.Close()
	var out []ledger.Span
	for rows.Next() {
		var s ledger.Span
		if err := rows.Scan(&s.Topic, &s.Partition, &s.First, &s.Last, &s.Entries); err != nil {
			return nil, fmt.Errorf("reading offsets of the ledger: %w", err)
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// readPortions adds up entries by day, dimensions and currency. A request counts
// as unpriced or estimated by its newest entry.
func readPortions(ctx context.Context, conn driver.Conn, exprs []string, p *period, sources string, asOf time.Time) ([]ledger.Portion, error) {
	keys := "[" + strings.Join(mapped(exprs, func(e string) string { return "toString(" + e + ")" }), ", ") + "]"
	if len(exprs) == 0 {
		keys = "CAST([], 'Array(String)')"
	}
	where := fmt.Sprintf("%s AND (seq = 0 OR booked_at <= fromUnixTimestamp64Milli(%d, 'UTC'))%s", p.where(), asOf.UnixMilli(), sources)
	rows, err := conn.Query(ctx, `SELECT day, dims, currency, sum(amounts[currency]) AS total,
sum(last = currency) AS requests, sum(last = currency AND now_is = 'estimated') AS estimated, sum(last = currency AND now_is = 'unpriced') AS unpriced,
sumIf(input, last = currency) AS input, sumIf(output, last = currency) AS output
FROM (SELECT toStartOfDay(any(e.event_time)) AS day, any(`+keys+`) AS dims, sumMap(map(toString(e.currency), e.amount)) AS amounts,
  argMax(e.state, e.seq) AS now_is, argMax(toString(e.currency), e.seq) AS last, sum(e.input_tokens) AS input, sum(e.output_tokens) AS output
  FROM ledger_entries AS e WHERE `+where+` GROUP BY e.cost_id)
ARRAY JOIN mapKeys(amounts) AS currency
GROUP BY day, dims, currency
HAVING requests > 0 OR total != 0
ORDER BY day, dims, currency`)
	if err != nil {
		return nil, fmt.Errorf("reading ledger: %w", err)
	}
	defer rows.Close()
	var out []ledger.Portion
	for rows.Next() {
		var q ledger.Portion
		if err := rows.Scan(&q.Day, &q.Keys, &q.Currency, &q.Amount, &q.Requests, &q.Estimated, &q.Unpriced, &q.Input, &q.Output); err != nil {
			return nil, fmt.Errorf("reading ledger: %w", err)
		}
		out = append(out, q)
	}
	return out, rows.Err()
}

func mapped(in []string, f func(string) string) []string {
	out := make([]string, len(in))
	for i, s := range in {
		out[i] = f(s)
	}
	return out
}

func writeStatement(w io.Writer, s *ledger.Statement, format string) error {
	switch format {
	case "html":
		return s.WriteHTML(w)
	case "json":
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(s)
	}
	return s.WriteCSV(w)
}

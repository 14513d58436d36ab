package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/sinks/clickhouse"
)

func (c *cli) sqlCommand() *cobra.Command {
	return &cobra.Command{
		Use: "sql QUERY", Short: "Ask ClickHouse", Args: cobra.ExactArgs(1),
		Long: `Runs one query against the configured ClickHouse and prints the rows. The tables are
described in docs/data-dictionary.md.`,
		Example: `  sira sql "SELECT model, outcome, count() FROM requests GROUP BY ALL"
  sira sql --json "SELECT tenant, sum(amount) AS spend FROM costs_1h GROUP BY tenant"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := c.config()
			if err != nil {
				return err
			}
			conn, _, err := clickhouse.Open(cfg.ClickHouseDSN())
			if err != nil {
				return usageError{err}
			}
			defer conn.Close()
			return c.query(cmd.Context(), cmd.OutOrStdout(), conn, args[0])
		},
	}
}

// query runs a query and prints a table, or a JSON object for each row.
func (c *cli) query(ctx context.Context, w io.Writer, conn driver.Conn, sql string) error {
	names, rows, err := fetch(ctx, conn, sql)
	if err != nil {
		return err
	}
	if c.json {
		for _, row := range rows {
			object := make(map[string]any, len(names))
			for i, n := range names {
				object[n] = row[i]
			}
			if err := printJSON(w, object); err != nil {
				return err
			}
		}
		return nil
	}
	return printTable(w, names, rows)
}

// fetch returns all rows of a query.
func fetch(ctx context.Context, conn driver.Conn, sql string) ([]string, [][]any, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, nil, fmt.Errorf("asking clickhouse: %w", err)
	}
	defer rows.Close()
	names := rows.Columns()
	var out [][]any
	for rows.Next() {
		targets := make([]any, len(rows.ColumnTypes()))
		for i, t := range rows.ColumnTypes() {
			targets[i] = reflect.New(t.ScanType()).Interface()
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, nil, fmt.Errorf("reading rows: %w", err)
		}
		row := make([]any, len(targets))
		for i, t := range targets {
			row[i] = reflect.ValueOf(t).Elem().Interface()
		}
		out = append(out, row)
	}
	if err := rows.Err(); err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, fmt.Errorf("reading rows: %w", err)
	}
	return names, out, nil
}

// printTable aligns numbers to the right and text to the left.
func printTable(w io.Writer, names []string, rows [][]any) error {
	if len(names) == 0 {
		_, err := fmt.Fprintln(w, "no rows")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(names, "\t"))
	rule := make([]string, len(names))
	for i, n := range names {
		rule[i] = strings.Repeat("-", len(n))
	}
	fmt.Fprintln(t, strings.Join(rule, "\t"))
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, v := range row {
			cells[i] = cell(v)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

func cell(v any) string {
	switch x := v.(type) {
	case time.Time:
		return x.UTC().Format("2006-01-02 15:04:05.000")
	case float64:
		return strings.TrimSuffix(fmt.Sprintf("%.2f", x), ".00")
	case []byte:
		return string(x)
	}
	if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer {
		if r.IsNil() {
			return "NULL"
		}
		return cell(r.Elem().Interface())
	}
	return fmt.Sprint(v)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/shopspring/decimal"
	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/handlers/cost/forecast"
)

func (c *cli) forecastCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "forecast", Short: "Forecast spending and load"}
	cmd.AddCommand(c.forecastSeriesCommand("spend"), c.forecastSeriesCommand("load"), c.forecastBacktestCommand())
	return cmd
}

// forecasting is what is forecast, by the hour.
type forecasting struct {
	what, tenant, currency string
	weeks                  int
	budget                 decimal.Decimal
	cfg                    forecast.Config
}

func (c *cli) forecastSeriesCommand(what string) *cobra.Command {
	o := forecasting{what: what}
	long := map[string]string{
		"spend": "Forecasts spending by the hour from the adjusted ledger of one currency. With --budget it says\nwhen that much more will be spent: the day that is expected, and the earliest and latest.",
		"load":  "Forecasts requests by the hour.",
	}[what]
	cmd := &cobra.Command{
		Use: what, Short: "Forecast " + what + " by the hour", Args: cobra.NoArgs,
		Long: long + `

Several models are tried on the past and the best one speaks; the intervals are what
its past forecasts were off by. docs/forecast.md tells how good they are. The hour
that has not ended yet is left out.`,
		Example: "  sira forecast " + what + " --tenant acme\n  sira forecast " + what + " --season 168 --horizon 336 --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.cfg.Validate(); err != nil {
				return usageError{err}
			}
			conn, _, err := c.house()
			if err != nil {
				return err
			}
			defer conn.Close()
			end := time.Now().UTC().Truncate(time.Hour)
			series, err := o.read(cmd.Context(), conn, end)
			if err != nil {
				return err
			}
			f, err := forecast.Make(series, o.cfg)
			if errors.Is(err, forecast.ErrTooShort) {
				return usageError{fmt.Errorf("there is too little to forecast from: %w", err)}
			}
			if err != nil {
				return err
			}
			return c.printForecast(cmd.OutOrStdout(), f, &o, end)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.tenant, "tenant", "", "only this tenant")
	f.IntVar(&o.weeks, "weeks", 8, "weeks of the past to learn from")
	f.IntVar(&o.cfg.Season, "season", 24, "hours after which things repeat: 24, or 168 with at least three weeks of past")
	f.IntVar(&o.cfg.Horizon, "horizon", 24, "hours to look ahead")
	f.Float64Var(&o.cfg.Level, "level", 0.9, "share of cases that an interval is to hold in")
	if what == "spend" {
		f.StringVar(&o.currency, "currency", "USD", "currency of the costs")
		f.TextVar(&o.budget, "budget", decimal.Decimal{}, "`amount` that is left to spend; says when it will be used up")
	}
	return cmd
}

// read returns the series by the hour until end, from the first hour that has
// anything.
func (o *forecasting) read(ctx context.Context, conn driver.Conn, end time.Time) ([]float64, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	begin := end.AddDate(0, 0, -7*o.weeks)
	tenant := ""
	if o.tenant != "" {
		tenant = " AND tenant = " + quoted(o.tenant)
	}
	between := func(column string) string {
		return fmt.Sprintf("%s >= toDateTime(%d, 'UTC') AND %s < toDateTime(%d, 'UTC')%s", column, begin.Unix(), column, end.Unix(), tenant)
	}
	sql := "SELECT toUnixTimestamp(hour), toFloat64(sum(n)) FROM requests_1h WHERE " + between("hour") + " GROUP BY hour"
	if o.what == "spend" {
		sql = "SELECT toUnixTimestamp(h), toFloat64(sum(paid)) FROM (SELECT hour AS h, costs_1h.amount AS paid FROM costs_1h WHERE currency = " + quoted(o.currency) + " AND " + between("hour") +
			" UNION ALL SELECT toStartOfHour(event_time) AS h, adjustments.amount AS paid FROM adjustments FINAL WHERE currency = " + quoted(o.currency) + " AND " + between("event_time") + ") GROUP BY h"
	}
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, fmt.Errorf("reading %s by the hour: %w", o.what, err)
	}
	defer rows.Close()
	series := make([]float64, int(end.Sub(begin)/time.Hour))
	first := len(series)
	for rows.Next() {
		var at uint32
		var v float64
		if err := rows.Scan(&at, &v); err != nil {
			return nil, fmt.Errorf("reading %s by the hour: %w", o.what, err)
		}
		if i := int(time.Unix(int64(at), 0).Sub(begin) / time.Hour); i >= 0 && i < len(series) {
			series[i] = math.Max(0, v)
			first = min(first, i)
		}
	}
	return series[first:], rows.Err()
}

// foretold is a forecast as it is printed.
type foretold struct {
	What     string             `json:"what"`
	From     time.Time          `json:"from"`
	Hours    []forecast.Point   `json:"hours"`
	Sums     []forecast.Point   `json:"sums"`
	Model    string             `json:"model"`
	Scores   []forecast.Score   `json:"scores"`
	Origins  int                `json:"origins"`
	Credible bool               `json:"calibrated"`
	Gone     map[string]*string `json:"exhausted,omitempty"` // earliest, expected, latest; null: not within the horizon
}

func (c *cli) printForecast(w io.Writer, f *forecast.Forecast, o *forecasting, end time.Time) error {
	gone := exhaustion(f, o.budget, end)
	if c.json {
		return printJSON(w, foretold{o.what, end, f.Points, f.Sums, f.Model, f.Scores, f.Origins, f.Calibrated, gone})
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "UNTIL\tEXPECTED\tLOW\tHIGH\tSUM\tLOW\tHIGH\t")
	step := max(1, len(f.Points)/24)
	for h := step - 1; h < len(f.Points); h += step {
		p, s := f.Points[h], f.Sums[h]
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t\n", end.Add(time.Duration(h+1)*time.Hour).Format("2006-01-02 15:04"),
			brief(p.Expected), brief(p.Low), brief(p.High), brief(s.Expected), brief(s.Low), brief(s.High))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	expected := make([]float64, len(f.Points))
	for i, p := range f.Points {
		expected[i] = p.Expected
	}
	fmt.Fprintf(w, "%s\n%s, of %d past forecasts; intervals of %.0f %%", sparkline(expected), f.Model, f.Origins, 100*o.cfg.Level)
	if !f.Calibrated {
		fmt.Fprint(w, ", not calibrated yet: the past is short")
	}
	fmt.Fprintln(w)
	if gone != nil {
		for _, when := range []string{"earliest", "expected", "latest"} {
			at := "not within the horizon"
			if gone[when] != nil {
				at = *gone[when]
			}
			fmt.Fprintf(w, "used up, %s: %s\n", when, at)
		}
	}
	return nil
}

// exhaustion says when a budget is used up, or nil without one.
func exhaustion(f *forecast.Forecast, budget decimal.Decimal, end time.Time) map[string]*string {
	if !budget.IsPositive() {
		return nil
	}
	e := f.Exhausts(budget.InexactFloat64()) // a forecast is a guess, not an amount
	out := make(map[string]*string, 3)
	for when, steps := range map[string]int{"earliest": e.Earliest, "expected": e.Expected, "latest": e.Latest} {
		out[when] = nil
		if steps > 0 {
			at := end.Add(time.Duration(steps) * time.Hour).Format(time.RFC3339)
			out[when] = &at
		}
	}
	return out
}

func brief(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.4g", v)
}

// sparkline draws a series in one line of at most 72 characters.
func sparkline(values []float64) string {
	const width = 72
	marks := []rune("▁▂▃▄▅▆▇█")
	top := 0.0
	for _, v := range values {
		top = math.Max(top, v)
	}
	var b strings.Builder
	for i := range min(width, len(values)) {
		v := values[i*len(values)/min(width, len(values))]
		k := 0
		if top > 0 {
			k = min(len(marks)-1, int(v/top*float64(len(marks))))
		}
		b.WriteRune(marks[k])
	}
	return b.String()
}

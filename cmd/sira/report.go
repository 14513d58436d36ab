package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/cmd/sira/report"
	"github.com/sira-ai/sira/handlers/cost/forecast"
	"github.com/sira-ai/sira/sinks/clickhouse"
)

func (c *cli) reportCommand() *cobra.Command {
	var p period
	var out, currency string
	cmd := &cobra.Command{
		Use: "report", Short: "Write one HTML page on what happened: outcomes, times, money, alerts, predictions", Args: cobra.NoArgs,
		Long: `Writes one page with charts that needs nothing from elsewhere: outcomes by model and
provider, end-to-end times, spending by tenant and its forecast, alerts, and what was
predicted of endpoints.`,
		Example: "  sira report\n  sira report --from 2026-11-01 --to 2026-12-01 --tenant acme --out november.html",
		RunE: func(cmd *cobra.Command, _ []string) error {
			now := time.Now()
			if p.from == "" && p.to == "" {
				p.from = now.Add(-24 * time.Hour).UTC().Format(time.RFC3339)
			}
			if err := p.parse(now); err != nil {
				return err
			}
			conn, _, err := c.house()
			if err != nil {
				return err
			}
			defer conn.Close()
			ctx, cancel := limited(cmd.Context())
			defer cancel()
			d := &report.Data{From: p.begin.UTC(), To: p.end.UTC(), Made: now.UTC(), Version: version, Tenant: p.tenant}
			g := gathering{ctx, conn, &p}
			if err := errors.Join(g.outcomes(d), g.latency(d), g.spend(d), g.forecast(d, currency), g.alerts(d), g.outlook(d), g.shifts(d)); err != nil {
				return err
			}
			return c.writeReport(cmd, d, out)
		},
	}
	p.flags(cmd)
	cmd.Flags().Lookup("from").Usage = "first day or moment, UTC (default: 24 h ago)"
	cmd.Flags().StringVar(&out, "out", "sira-report.html", "`file` to write; - for stdout")
	cmd.Flags().StringVar(&currency, "currency", "USD", "currency of the forecast")
	return cmd
}

func (c *cli) writeReport(cmd *cobra.Command, d *report.Data, out string) (err error) {
	if out == "-" {
		return report.Write(cmd.OutOrStdout(), d)
	}
	f, err := os.Create(out)
	if err != nil {
		return usageError{fmt.Errorf("--out: %w", err)}
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := report.Write(f, d); err != nil {
		return err
	}
	if c.json {
		return printJSON(cmd.OutOrStdout(), map[string]any{"file": out, "requests": d.Requests, "failed": d.Failed, "alerts": len(d.Alerts)})
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %d requests, %d failed, %d alerts\n", out, d.Requests, d.Failed, len(d.Alerts))
	return err
}

// gathering asks ClickHouse for the parts of a report.
type gathering struct {
	ctx  context.Context //nolint:containedctx // lives as long as one call of the command
	conn driver.Conn
	p    *period
}

// each calls scan for every row of an answer.
func (g *gathering) each(what, sql string, scan func(driver.Rows) error) error {
	rows, err := g.conn.Query(g.ctx, sql)
	if err != nil {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return fmt.Errorf("reading %s: %w", what, err)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading %s: %w", what, err)
	}
	return nil
}

// most is how many models, providers, tenants or endpoints a chart shows: those with
// the most of it.
const most = 12

func (g *gathering) outcomes(d *report.Data) error {
	read := func(what, table, column string) ([]report.Outcomes, error) {
		var out []report.Outcomes
		where := g.p.where()
		sql := fmt.Sprintf(`SELECT toString(%[1]s) AS name, outcome, count() AS n FROM %[2]s WHERE %[3]s AND %[1]s IN (SELECT %[1]s FROM %[2]s WHERE %[3]s GROUP BY %[1]s ORDER BY count() DESC LIMIT %[4]d)
GROUP BY name, outcome ORDER BY sum(n) OVER (PARTITION BY name) DESC, name, outcome = 'ok' DESC, n DESC`, column, table, where, most)
		err := g.each(what, sql, func(rows driver.Rows) error {
			var name, outcome string
			var n uint64
			if err := rows.Scan(&name, &outcome, &n); err != nil {
				return err
			}
			if len(out) == 0 || out[len(out)-1].Name != name {
				out = append(out, report.Outcomes{Name: name})
			}
			last := &out[len(out)-1]
			last.Counts = append(last.Counts, report.Count{Outcome: outcome, N: n})
			return nil
		})
		return out, err
	}
	var err1, err2 error
	d.Models, err1 = read("requests", "requests", "model")
	d.Provider, err2 = read("attempts", "attempts", "provider")
	err3 := g.each("requests", "SELECT count(), countIf(outcome != 'ok') FROM requests WHERE "+g.p.where(), func(rows driver.Rows) error {
		return rows.Scan(&d.Requests, &d.Failed)
	})
	return errors.Join(err1, err2, err3)
}

// step cuts the period into about 120 parts of whole minutes.
func (g *gathering) step() int64 {
	return max(60, int64(g.p.end.Sub(g.p.begin).Seconds())/120/60*60)
}

func (g *gathering) latency(d *report.Data) error {
	sql := fmt.Sprintf(`SELECT model, toInt64(intDiv(toUnixTimestamp(event_time), %[1]d) * %[1]d) AS at, toFloat64(quantile(0.5)(e2e_ms)), toFloat64(quantile(0.99)(e2e_ms))
FROM requests WHERE %[2]s AND outcome = 'ok' AND model IN (SELECT model FROM requests WHERE %[2]s AND outcome = 'ok' GROUP BY model ORDER BY count() DESC LIMIT 6)
GROUP BY model, at ORDER BY model, at`, g.step(), g.p.where())
	return g.each("end-to-end times", sql, func(rows driver.Rows) error {
		var model string
		var at int64
		var p50, p99 float64
		if err := rows.Scan(&model, &at, &p50, &p99); err != nil {
			return err
		}
		if n := len(d.Latency); n == 0 || d.Latency[n-1].Model != model {
			d.Latency = append(d.Latency, report.Latency{Model: model})
		}
		l := &d.Latency[len(d.Latency)-1]
		l.At, l.P50, l.P99 = append(l.At, time.Unix(at, 0)), append(l.P50, p50), append(l.P99, p99)
		return nil
	})
}

func (g *gathering) spend(d *report.Data) error {
	sql := `SELECT tenant, currency, toString(sum(l.amount)) AS exact, toFloat64(sum(l.amount)) AS spent, count() FROM ledger AS l WHERE ` + g.p.where() +
		fmt.Sprintf(" AND currency != '' GROUP BY tenant, currency ORDER BY spent DESC, tenant LIMIT %d", most)
	err := g.each("spending", sql, func(rows driver.Rows) error {
		var s report.Spend
		if err := rows.Scan(&s.Tenant, &s.Currency, &s.Amount, &s.Value, &s.Requests); err != nil {
			return err
		}
		d.Spend = append(d.Spend, s)
		return nil
	})
	unpriced := g.each("spending", "SELECT count() FROM ledger WHERE state = 'unpriced' AND "+g.p.where(), func(rows driver.Rows) error { return rows.Scan(&d.Unpriced) })
	return errors.Join(err, unpriced)
}

// forecast looks a day ahead from the end of the period.
func (g *gathering) forecast(d *report.Data, currency string) error {
	end := g.p.end.UTC().Truncate(time.Hour)
	past, err := clickhouse.SpendByHour(g.ctx, g.conn, g.p.tenant, nil, currency, end.AddDate(0, 0, -7*8), end)
	if err != nil {
		return err
	}
	cfg := forecast.Config{Season: 24, Horizon: 24, Level: 0.9}
	if err := cfg.Validate(); err != nil {
		return err
	}
	f, err := forecast.Make(past, cfg)
	if errors.Is(err, forecast.ErrTooShort) {
		d.NoFuture = fmt.Sprintf("%d hours of spending in %s are too few; it takes three days", len(past), currency)
		return nil
	}
	if err != nil {
		return fmt.Errorf("forecasting: %w", err)
	}
	total := f.Sums[len(f.Sums)-1]
	out := &report.Forecast{
		Currency: currency, From: end, Past: past[max(0, len(past)-3*24):], Sum: total.Expected, SumLow: total.Low, SumHigh: total.High, Model: f.Model, Calibrated: f.Calibrated,
	}
	for _, p := range f.Points {
		out.Expected, out.Low, out.High = append(out.Expected, p.Expected), append(out.Low, p.Low), append(out.High, p.High)
	}
	d.Forecast = out
	return nil
}

func (g *gathering) alerts(d *report.Data) error {
	all, err := clickhouse.NewAlerts(g.conn).Past(g.ctx, g.p.begin, 200)
	if err != nil {
		return err
	}
	for i := range all {
		if all[i].FiredAt.Before(g.p.end) && (g.p.tenant == "" || all[i].Labels["tenant"] == "" || all[i].Labels["tenant"] == g.p.tenant) {
			d.Alerts = append(d.Alerts, all[i])
		}
	}
	return nil
}

// span is the condition of tables without tenants.
func (g *gathering) span() string {
	p := *g.p
	p.tenant = ""
	return p.where()
}

func (g *gathering) outlook(d *report.Data) error {
	sql := fmt.Sprintf(`SELECT endpoint, toInt64(intDiv(toUnixTimestamp(event_time), %[1]d) * %[1]d) AS at, max(value) FROM metrics
WHERE %[2]s AND name = 'endpoint_failure_probability' AND endpoint IN
(SELECT endpoint FROM metrics WHERE %[2]s AND name = 'endpoint_failure_probability' GROUP BY endpoint ORDER BY max(value) DESC LIMIT 6) GROUP BY endpoint, at ORDER BY endpoint, at`, g.step(), g.span())
	return g.each("predictions", sql, func(rows driver.Rows) error {
		var endpoint string
		var at int64
		var p float64
		if err := rows.Scan(&endpoint, &at, &p); err != nil {
			return err
		}
		if n := len(d.Outlook); n == 0 || d.Outlook[n-1].Endpoint != endpoint {
			d.Outlook = append(d.Outlook, report.Outlook{Endpoint: endpoint})
		}
		o := &d.Outlook[len(d.Outlook)-1]
		o.At, o.P = append(o.At, time.Unix(at, 0)), append(o.P, p)
		return nil
	})
}

func (g *gathering) shifts(d *report.Data) error {
	sql := `SELECT event_time, provider, endpoint, if(kind = 'share', concat('share ', toString(from_share), ' % to ', toString(to_share), ' %', if(applied, '', ', only observed')),
concat('breaker ', from_state, ' to ', to_state)) AS what, probability, reasons FROM health WHERE ` + g.span() + " ORDER BY event_time DESC LIMIT 1 BY event_id LIMIT 200"
	return g.each("changes of endpoints", sql, func(rows driver.Rows) error {
		var s report.Shift
		if err := rows.Scan(&s.At, &s.Provider, &s.Endpoint, &s.What, &s.Probability, &s.Reasons); err != nil {
			return err
		}
		d.Shifts = append(d.Shifts, s)
		return nil
	})
}

package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/sinks/clickhouse"
)

func (c *cli) costCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "cost", Short: "Allocate, correct and reconcile what was spent"}
	cmd.AddCommand(c.costShowCommand(), c.costReplayCommand(), c.costStatementCommand(), c.costReconcileCommand())
	return cmd
}

// period is which costs a command is about.
type period struct {
	from, to, tenant string
	begin, end       time.Time
}

func (p *period) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.from, "from", "", "first day or moment, UTC (default: first of this month)")
	f.StringVar(&p.to, "to", "", "day or moment after the last (default: now)")
	f.StringVar(&p.tenant, "tenant", "", "only this tenant")
}

// parse reads the flags.
func (p *period) parse(now time.Time) error {
	now = now.UTC()
	var err1, err2 error
	p.begin, err1 = moment(p.from, time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC))
	p.end, err2 = moment(p.to, now)
	if err := errors.Join(err1, err2); err != nil {
		return usageError{err}
	}
	if !p.begin.Before(p.end) {
		return usageError{fmt.Errorf("--from %s is not before --to %s", p.begin.Format(time.RFC3339), p.end.Format(time.RFC3339))}
	}
	return nil
}

// where is the condition on a table with event_time and tenant.
func (p *period) where() string {
	sql := fmt.Sprintf("event_time >= fromUnixTimestamp64Milli(%d, 'UTC') AND event_time < fromUnixTimestamp64Milli(%d, 'UTC')", p.begin.UnixMilli(), p.end.UnixMilli())
	if p.tenant != "" {
		sql += " AND tenant = " + quoted(p.tenant)
	}
	return sql
}

// quoted returns a text as a literal of SQL.
func quoted(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

// days cuts the period at midnight, UTC.
func (p *period) days() []period {
	var out []period
	for at := p.begin; at.Before(p.end); {
		next := at.UTC().Truncate(24*time.Hour).AddDate(0, 0, 1)
		if next.After(p.end) {
			next = p.end
		}
		out = append(out, period{tenant: p.tenant, begin: at, end: next})
		at = next
	}
	return out
}

// ledgerColumns are the dimensions that are columns; team, project, user and key
// are labels with names of their own.
var (
	ledgerColumns = []string{"tenant", "model", "provider", "provider_model"}
	ledgerLabels  = []string{"team", "project", "user", "key"}
	labelName     = regexp.MustCompile(`^[A-Za-z0-9_.:/-]{1,200}$`)
)

// dimensions turns names such as tenant, team and label:env into SQL.
func dimensions(names []string) ([]string, error) {
	out := make([]string, len(names))
	for i, name := range names {
		label, ok := strings.CutPrefix(name, "label:")
		switch {
		case slices.Contains(ledgerColumns, name):
			out[i] = name
		case name == "day":
			out[i] = "toString(toDate(event_time))"
		case ok && labelName.MatchString(label):
			out[i] = "labels['" + label + "']"
		case slices.Contains(ledgerLabels, name):
			out[i] = "labels['" + name + "']"
		default:
			return nil, usageError{fmt.Errorf("%q is no dimension: write day, %s, %s, or label:NAME", name, strings.Join(ledgerColumns, ", "), strings.Join(ledgerLabels, ", "))}
		}
	}
	return out, nil
}

// house connects to the configured ClickHouse.
func (c *cli) house() (driver.Conn, app.Config, error) {
	cfg, err := c.config()
	if err != nil {
		return nil, cfg, err
	}
	conn, _, err := clickhouse.Open(cfg.ClickHouseDSN())
	if err != nil {
		return nil, cfg, usageError{err}
	}
	return conn, cfg, nil
}

func (c *cli) costShowCommand() *cobra.Command {
	var p period
	var by []string
	cmd := &cobra.Command{
		Use: "show", Short: "Show what was spent, by tenant, team, project, user, key or label", Args: cobra.NoArgs,
		Long: `Adds up the ledger with all its adjustments. Unpriced requests are counted beside the
money: their price is unknown, not zero.`,
		Example: "  sira cost show --by team,model\n  sira cost show --from 2026-11-01 --to 2026-12-01 --by tenant,label:env --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.parse(time.Now()); err != nil {
				return err
			}
			exprs, err := dimensions(by)
			if err != nil {
				return err
			}
			conn, _, err := c.house()
			if err != nil {
				return err
			}
			defer conn.Close()
			list := make([]string, len(exprs))
			for i, e := range exprs {
				list[i] = fmt.Sprintf("%s AS `%s`", e, by[i])
			}
			keys := strings.Join(append(exprs, "currency"), ", ")
			sql := "SELECT " + strings.Join(append(list, "currency"), ", ") + `, sum(l.amount) AS spent, count() AS requests,
countIf(state = 'estimated') AS estimated, countIf(state = 'unpriced') AS unpriced, sum(l.input_tokens) AS input, sum(l.output_tokens) AS output
FROM ledger AS l WHERE ` + p.where() + " GROUP BY " + keys + " ORDER BY spent DESC, " + keys
			return c.query(cmd.Context(), cmd.OutOrStdout(), conn, sql)
		},
	}
	p.flags(cmd)
	cmd.Flags().StringSliceVar(&by, "by", []string{"tenant", "model"}, "dimensions: day, tenant, model, provider, provider_model, team, project, user, key, label:NAME")
	return cmd
}

// limited bounds a question to ClickHouse.
func limited(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 10*time.Minute)
}

package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/alert"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/sinks/clickhouse"
)

func (c *cli) alertsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "alerts", Short: "Show, silence and try alerts",
		Long: `Shows what the analyst found with the rules under alerts: of the configuration, and
keeps people from being told of it for a while. See docs/alerts.md.`,
		Example: "  sira alerts list\n  sira alerts silence rule=answers model=gpt-4o --for 2h --comment 'the provider knows'\n  sira alerts test chat",
	}
	cmd.AddCommand(c.alertsListCommand(), c.alertsSilenceCommand(), c.alertsUnsilenceCommand(), c.alertsTestCommand())
	return cmd
}

// shownAlert is an alert as it is printed.
type shownAlert struct {
	schemas.Alert

	Silenced bool `json:"silenced"`
}

func (c *cli) alertsListCommand() *cobra.Command {
	var past time.Duration
	var silences bool
	cmd := &cobra.Command{
		Use: "list", Short: "List alerts that fire, and those that are over since --past", Args: cobra.NoArgs,
		Example: "  sira alerts list\n  sira alerts list --past 168h --json\n  sira alerts list --silences",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if past < 0 {
				return usageError{fmt.Errorf("--past %s: write a duration above zero, such as 24h", past)}
			}
			conn, _, err := c.house()
			if err != nil {
				return err
			}
			defer conn.Close()
			ctx, cancel := limited(cmd.Context())
			defer cancel()
			table, now := clickhouse.NewAlerts(conn), time.Now()
			quiet, err := table.Silences(ctx, now)
			if err != nil {
				return err
			}
			if silences {
				return c.printSilences(cmd.OutOrStdout(), quiet)
			}
			all, err := table.Past(ctx, now.Add(-past), 1000)
			if err != nil {
				return err
			}
			return c.printAlerts(cmd.OutOrStdout(), marked(all, quiet, now), now)
		},
	}
	cmd.Flags().DurationVar(&past, "past", 24*time.Hour, "how long alerts may be over to be listed")
	cmd.Flags().BoolVar(&silences, "silences", false, "list the silences instead")
	return cmd
}

// marked says which alerts nobody is told of. A silence that can't be read silences
// nothing.
func marked(all []schemas.Alert, quiet []schemas.AlertSilence, now time.Time) []shownAlert {
	var ready []alert.Silence
	for _, s := range quiet {
		if parsed, err := alert.ParseSilence(s); err == nil {
			ready = append(ready, parsed)
		}
	}
	out := make([]shownAlert, len(all))
	for i := range all {
		out[i] = shownAlert{all[i], all[i].State == schemas.AlertFiring && alert.Silenced(ready, &all[i], now)}
	}
	return out
}

func (c *cli) printAlerts(w io.Writer, all []shownAlert, now time.Time) error {
	rows := make([][]any, 0, len(all))
	for i := range all {
		a := &all[i]
		if c.json {
			if err := printJSON(w, a); err != nil {
				return err
			}
			continue
		}
		state, lasted := string(a.State), now.Sub(a.FiredAt)
		if a.State == schemas.AlertResolved {
			lasted = a.ResolvedAt.Sub(a.FiredAt)
		}
		if a.Silenced {
			state = "silenced"
		}
		rows = append(rows, []any{state, a.Severity, a.Rule, pairs(a.Labels), a.FiredAt.UTC().Format("2006-01-02 15:04"), lasted.Round(time.Second).String(), a.Summary})
	}
	if c.json {
		return nil
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "no alerts")
		return err
	}
	return printTable(w, []string{"state", "severity", "rule", "about", "since", "for", "summary"}, rows)
}

func (c *cli) printSilences(w io.Writer, all []schemas.AlertSilence) error {
	rows := make([][]any, 0, len(all))
	for _, s := range all {
		if c.json {
			if err := printJSON(w, s); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []any{s.ID, strings.Join(s.Matchers, " "), s.Until.UTC().Format("2006-01-02 15:04"), s.Author, s.Comment})
	}
	if c.json {
		return nil
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "no silences")
		return err
	}
	return printTable(w, []string{"id", "matchers", "until", "author", "comment"}, rows)
}

func (c *cli) alertsSilenceCommand() *cobra.Command {
	var lasts time.Duration
	var s schemas.AlertSilence
	cmd := &cobra.Command{
		Use: "silence MATCHER...", Short: "Tell nobody of some alerts for a while", Args: cobra.MinimumNArgs(1),
		Long: `Writes a silence and prints its id. All matchers have to match: name=value,
name!=value, name=~regexp or name!~regexp, with the labels of the alert, or rule, kind
or severity, as names. Alerts go on meanwhile, and people are told of what is left at
the end.`,
		Example: "  sira alerts silence rule=answers model=gpt-4o --for 2h --comment 'the provider knows'\n  sira alerts silence 'model=~gpt-.*' severity=ticket",
		RunE: func(cmd *cobra.Command, args []string) error {
			if lasts < time.Minute || lasts > 90*24*time.Hour {
				return usageError{fmt.Errorf("--for %s: write 1m to 2160h", lasts)}
			}
			now := time.Now().UTC().Truncate(time.Millisecond)
			s.ID, s.Matchers, s.From, s.Until = newID(), args, now, now.Add(lasts)
			if s.Author == "" {
				s.Author = whoami()
			}
			if _, err := alert.ParseSilence(s); err != nil {
				return usageError{err}
			}
			return c.writeSilence(cmd, s)
		},
	}
	f := cmd.Flags()
	f.DurationVar(&lasts, "for", time.Hour, "how long")
	f.StringVar(&s.Comment, "comment", "", "why")
	f.StringVar(&s.Author, "author", "", "who asks for it (default: the login)")
	return cmd
}

func (c *cli) writeSilence(cmd *cobra.Command, s schemas.AlertSilence) error {
	conn, _, err := c.house()
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := limited(cmd.Context())
	defer cancel()
	if err := clickhouse.NewAlerts(conn).Silence(ctx, s); err != nil {
		return err
	}
	if c.json {
		return printJSON(cmd.OutOrStdout(), s)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s until %s\n", s.ID, s.Until.UTC().Format(time.RFC3339))
	return err
}

// newID returns a name that nobody has yet.
func newID() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails, by its documentation
	return hex.EncodeToString(b[:])
}

func whoami() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
}

func (c *cli) alertsUnsilenceCommand() *cobra.Command {
	return &cobra.Command{
		Use: "unsilence ID", Short: "End a silence now", Args: cobra.ExactArgs(1),
		Example: "  sira alerts list --silences\n  sira alerts unsilence 4f2a9c01b7de",
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, _, err := c.house()
			if err != nil {
				return err
			}
			defer conn.Close()
			ctx, cancel := limited(cmd.Context())
			defer cancel()
			now := time.Now()
			all, err := clickhouse.NewAlerts(conn).Silences(ctx, now)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(all, func(s schemas.AlertSilence) bool { return s.ID == args[0] })
			if i < 0 {
				return usageError{fmt.Errorf("there is no silence %q; `sira alerts list --silences` shows them", args[0])}
			}
			all[i].Until = now.UTC().Truncate(time.Millisecond)
			return c.writeSilence(cmd, all[i])
		},
	}
}

func (c *cli) alertsTestCommand() *cobra.Command {
	var rules bool
	cmd := &cobra.Command{
		Use: "test [RECEIVER...]", Short: "Tell receivers of an alert that is none, or look at the rules once",
		Long: `Sends an alert with the rule sira_test to the named receivers, or to all, and at once
that it is over. With --rules nobody is told: every rule is looked at once, and what it
finds is printed. Exit code 3 if a receiver could not be told, or a rule not be looked
at.`,
		Example: "  sira alerts test\n  sira alerts test chat\n  sira alerts test --rules --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := c.config()
			if err != nil {
				return err
			}
			if rules {
				return c.tryRules(cmd, cfg)
			}
			return c.tryReceivers(cmd, cfg, args)
		},
	}
	cmd.Flags().BoolVar(&rules, "rules", false, "look at the rules once, and tell nobody")
	return cmd
}

// trial is what became of telling a receiver or looking at a rule.
type trial struct {
	Receiver string          `json:"receiver,omitempty"`
	Rule     string          `json:"rule,omitempty"`
	OK       bool            `json:"ok"`
	Error    string          `json:"error,omitempty"`
	Found    []alert.Finding `json:"found,omitempty"`
}

var (
	errNoReceivers = errors.New("the configuration has no receivers of alerts; add some under alerts.receivers, see docs/alerts.md")
	errNoRules     = errors.New("the configuration has no alert rules; add some under alerts, see docs/alerts.md")
)

func (c *cli) tryReceivers(cmd *cobra.Command, cfg app.Config, names []string) error {
	senders, err := cfg.AlertSenders()
	if err != nil {
		return usageError{err}
	}
	if len(senders) == 0 {
		return usageError{errNoReceivers}
	}
	known := cfg.Alerts.Tellers()
	for _, n := range names {
		if senders[n] == nil {
			return usageError{fmt.Errorf("there is no receiver %q; see alerts.receivers of the configuration", n)}
		}
	}
	var done []trial
	for _, r := range known {
		if len(names) > 0 && !slices.Contains(names, r.Name) {
			continue
		}
		t := trial{Receiver: r.Name, OK: true}
		if err := tryReceiver(cmd.Context(), senders[r.Name], r.Name); err != nil {
			t.OK, t.Error = false, err.Error()
		}
		done = append(done, t)
	}
	return c.printTrials(cmd.OutOrStdout(), done)
}

// tryReceiver tells of an alert, and that it is over.
func tryReceiver(ctx context.Context, s alert.Sender, name string) error {
	now := time.Now().UTC()
	labels := map[string]string{"model": "none"}
	a := schemas.Alert{
		ID: alert.ID("sira_test", labels), Rule: "sira_test", Kind: alert.KindSelf, Severity: alert.Ticket, Labels: labels, State: schemas.AlertFiring, Level: 1,
		Summary: "somebody tries whether alerts arrive; there is nothing to do", Since: now, SeenAt: now, FiredAt: now,
	}
	n := schemas.AlertNotice{ID: "alert_test_" + newID(), Receiver: name, Group: map[string]string{"rule": a.Rule}, Time: now, Until: now.Add(time.Minute), Firing: []schemas.Alert{a}}
	if err := s.Send(ctx, &n); err != nil {
		return err
	}
	a.State, a.ResolvedAt = schemas.AlertResolved, time.Now().UTC()
	n.ID, n.Firing, n.Resolved = "alert_test_"+newID(), nil, []schemas.Alert{a}
	return s.Send(ctx, &n)
}

func (c *cli) tryRules(cmd *cobra.Command, cfg app.Config) error {
	if !cfg.Alerts.On() {
		return usageError{errNoRules}
	}
	conn, _, err := clickhouse.Open(cfg.ClickHouseDSN())
	if err != nil {
		return usageError{err}
	}
	defer conn.Close()
	look, err := app.NewAlertLooker(&cfg, conn)
	if err != nil {
		return err
	}
	ctx, cancel := limited(cmd.Context())
	defer cancel()
	var done []trial
	for _, r := range cfg.Alerts.Rules() {
		t := trial{Rule: r.Name, OK: true}
		if t.Found, err = look.Look(ctx, r.Name, time.Now()); err != nil {
			t.OK, t.Error = false, err.Error()
		}
		done = append(done, t)
	}
	return c.printTrials(cmd.OutOrStdout(), done)
}

// printTrials prints all and returns a finding if one did not work.
func (c *cli) printTrials(w io.Writer, all []trial) error {
	failed := 0
	for _, t := range all {
		if !t.OK {
			failed++
		}
		if c.json {
			if err := printJSON(w, t); err != nil {
				return err
			}
			continue
		}
		what := "ok"
		if !t.OK {
			what = t.Error
		} else if t.Rule != "" {
			what = fmt.Sprintf("%d found", len(t.Found))
		}
		fmt.Fprintf(w, "%s%s: %s\n", t.Receiver, t.Rule, what)
		for _, f := range t.Found {
			fmt.Fprintf(w, "  %s %s\n", pairs(f.Labels), f.Summary)
		}
	}
	if failed > 0 {
		return findingError{fmt.Errorf("%d of %d did not work", failed, len(all))}
	}
	return nil
}

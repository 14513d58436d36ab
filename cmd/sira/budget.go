package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/shopspring/decimal"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/cost/budget"
	"github.com/sira-ai/sira/handlers/cost/budget/office"
)

func (c *cli) budgetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "budget", Aliases: []string{"budgets"}, Short: "Show budgets and what is left of them",
		Long: `Shows the budgets of the configuration with what their owners keep in Kafka: what is
settled in the present window and what is set aside for calls under way. See docs/budgets.md.`,
		Example: "  sira budget list\n  sira budget show acme-month",
	}
	var tenant string
	list := &cobra.Command{
		Use: "list", Short: "List all budgets with what is left of each", Args: cobra.NoArgs,
		Example: "  sira budget list\n  sira budget list --tenant acme --json",
		RunE:    func(cmd *cobra.Command, _ []string) error { return c.budgetList(cmd, tenant) },
	}
	list.Flags().StringVar(&tenant, "tenant", "", "only budgets of this tenant, and those of all tenants together")
	show := &cobra.Command{
		Use: "show ID", Short: "Show one budget: its rules, its owner and who holds money", Args: cobra.ExactArgs(1),
		Example: "  sira budget show acme-month\n  sira budget show acme-month --json",
		RunE:    func(cmd *cobra.Command, args []string) error { return c.budgetShow(cmd, args[0]) },
	}
	cmd.AddCommand(list, show)
	return cmd
}

// standing is a budget as the commands show it.
type standing struct {
	ID       string               `json:"id"`
	Tenant   string               `json:"tenant,omitempty"`
	Labels   map[string]string    `json:"labels,omitempty"`
	Mode     budget.Mode          `json:"mode"`
	Window   budget.Window        `json:"window"`
	Zone     string               `json:"zone"`
	From     time.Time            `json:"from"` // of the present window
	To       time.Time            `json:"to"`
	Currency string               `json:"currency"`
	Limit    decimal.Decimal      `json:"limit"`
	Spent    decimal.Decimal      `json:"spent"`
	Reserved decimal.Decimal      `json:"reserved"`
	Left     decimal.Decimal      `json:"left"` // below zero: the limit is exceeded
	Used     decimal.Decimal      `json:"used_percent"`
	Warn     []int                `json:"warn"`
	Warned   int                  `json:"warned,omitempty"` // percent that was passed in this window
	Calls    int                  `json:"calls"`            // that hold money
	Owner    string               `json:"owner,omitempty"`
	Since    time.Time            `json:"owner_since,omitzero"`
	Holders  []office.Reservation `json:"holders,omitempty"`
}

// stand joins a budget's rules with what its owner kept. Spending of an earlier
// window counts no more.
func stand(b *budget.Config, a *office.Account, now time.Time) (standing, error) {
	zone, err := time.LoadLocation(b.Zone)
	if err != nil {
		return standing{}, fmt.Errorf("budget %q: %w", b.ID, err)
	}
	from, to := b.Window.Bounds(now, zone)
	s := standing{
		ID: b.ID, Tenant: b.Tenant, Labels: b.Labels, Mode: b.Mode, Window: b.Window, Zone: b.Zone, From: from, To: to, Currency: b.Currency,
		Limit: b.Limit, Reserved: a.Reserved, Warn: b.Warn, Calls: len(a.Open), Owner: a.Owner, Since: a.Since, Holders: a.Open,
	}
	if !a.Window.Before(from) {
		s.Spent, s.Warned = a.Spent, a.Warning
	}
	s.Left = s.Limit.Sub(s.Spent).Sub(s.Reserved)
	s.Used = s.Spent.Add(s.Reserved).Mul(decimal.NewFromInt(100)).DivRound(s.Limit, 1)
	return s, nil
}

// standings returns the budgets of the configuration, in its order.
func (c *cli) standings(ctx context.Context) ([]standing, error) {
	cfg, err := c.config()
	if err != nil {
		return nil, err
	}
	if len(cfg.Budgets) == 0 {
		return nil, usageError{errors.New("the configuration has no budgets; add some under budgets:, see docs/budgets.md")}
	}
	accounts, err := readAccounts(ctx, cfg)
	if err != nil {
		return nil, err
	}
	out := make([]standing, len(cfg.Budgets))
	for i := range cfg.Budgets {
		a := accounts[cfg.Budgets[i].ID]
		if out[i], err = stand(&cfg.Budgets[i], &a, time.Now()); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func readAccounts(ctx context.Context, cfg app.Config) (map[string]office.Account, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	client := func(opts ...kgo.Opt) (*kgo.Client, error) { return cfg.Client().NewClient(zap.NewNop(), nil, opts...) }
	cl, err := client()
	if err != nil {
		return nil, err
	}
	err = ping(ctx, cl, cfg)
	cl.Close()
	if err != nil {
		return nil, err
	}
	return office.Read(ctx, client, cfg.BudgetTopics().State)
}

func (c *cli) budgetList(cmd *cobra.Command, tenant string) error {
	all, err := c.standings(cmd.Context())
	if err != nil {
		return err
	}
	rows := [][]any{}
	for i := range all {
		s := &all[i]
		if tenant != "" && s.Tenant != "" && s.Tenant != tenant {
			continue
		}
		if c.json {
			s.Holders = nil
			if err := printJSON(cmd.OutOrStdout(), s); err != nil {
				return err
			}
			continue
		}
		rows = append(rows, []any{s.ID, who(s), s.Mode, s.Window, s.Limit.String() + " " + s.Currency, s.Spent.String(), s.Reserved.String(), s.Left.String(), s.Used.String() + " %"})
	}
	if c.json {
		return nil
	}
	return printTable(cmd.OutOrStdout(), []string{"id", "covers", "mode", "window", "limit", "spent", "reserved", "left", "used"}, rows)
}

// who says whose spending counts.
func who(s *standing) string {
	parts := []string{"all tenants"}
	if s.Tenant != "" {
		parts[0] = s.Tenant
	}
	for _, k := range slices.Sorted(maps.Keys(s.Labels)) {
		parts = append(parts, k+"="+s.Labels[k])
	}
	return strings.Join(parts, " ")
}

func (c *cli) budgetShow(cmd *cobra.Command, id string) error {
	all, err := c.standings(cmd.Context())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(s standing) bool { return s.ID == id })
	if i < 0 {
		return usageError{fmt.Errorf("there is no budget %q; `sira budget list` shows them", id)}
	}
	if c.json {
		return printJSON(cmd.OutOrStdout(), &all[i])
	}
	return printBudget(cmd.OutOrStdout(), &all[i])
}

// shownHolders is how many calls are listed for people.
const shownHolders = 20

func printBudget(w io.Writer, s *standing) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "budget\t%s\ncovers\t%s\nmode\t%s\n", s.ID, who(s), s.Mode)
	fmt.Fprintf(t, "window\t%s, %s to %s (%s)\n", s.Window, s.From.Format(time.RFC3339), s.To.Format(time.RFC3339), s.Zone)
	fmt.Fprintf(t, "limit\t%s %s\nspent\t%s\nreserved\t%s by %d calls\nleft\t%s\nused\t%s %%\n", s.Limit, s.Currency, s.Spent, s.Reserved, s.Calls, s.Left, s.Used)
	fmt.Fprintf(t, "warns at\t%s %%\n", strings.Trim(strings.ReplaceAll(fmt.Sprint(s.Warn), " ", ", "), "[]"))
	if s.Warned > 0 {
		fmt.Fprintf(t, "warned\t%d %% was passed in this window\n", s.Warned)
	}
	if s.Owner != "" {
		fmt.Fprintf(t, "owner\t%s since %s\n", s.Owner, s.Since.Format(time.RFC3339))
	}
	for i, h := range s.Holders {
		if i == shownHolders {
			fmt.Fprintf(t, "\tand %d more; --json shows all\n", len(s.Holders)-i)
			break
		}
		fmt.Fprintf(t, "holds\t%s until %s: %s\n", h.Amount, h.Until.Format(time.RFC3339), h.Call)
	}
	return t.Flush()
}

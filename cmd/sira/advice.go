package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/shopspring/decimal"
	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/cmd/sira/advice"
	"github.com/sira-ai/sira/handlers/cost"
)

// counsel is one piece of advice as it is printed.
type counsel struct {
	Kind     string          `json:"kind"`
	Tenant   string          `json:"tenant"`
	Subject  string          `json:"subject"`
	Instead  string          `json:"instead"`
	Requests uint64          `json:"requests"`
	Currency string          `json:"currency"`
	Spent    decimal.Decimal `json:"spent"`
	Saving   decimal.Decimal `json:"saving"` // of what was spent in the period
	Evidence string          `json:"evidence"`
}

// advising are the flags of the command.
type advising struct {
	p         period
	idle, top int
	least     decimal.Decimal
	sql       bool
}

func (c *cli) adviceCommand() *cobra.Command {
	var o advising
	cmd := &cobra.Command{
		Use: "advice [KIND...]", Short: "Say where money could be saved, by how much, and why", Args: cobra.ArbitraryArgs,
		Long: `Asks the tables in ClickHouse what would have cost less in a period, by default the
last thirty days:

  model   another configured model, or the same one at another provider (route), at the
          price of today for the same tokens
  cache   requests that are equal byte for byte
  prompt  keys whose long prompts could come from the cache of the provider
  batch   requests on lanes that may wait for a day
  idle    keys that nobody uses any more

Savings are of the period; those of several pieces of advice about the same requests
do not add up. --sql prints the queries, which hold all of the reasoning. docs/advice.md
tells what each of them assumes.`,
		Example: "  sira advice\n  sira advice model batch --tenant acme --json\n  sira advice idle --idle 90 --sql",
		RunE: func(cmd *cobra.Command, kinds []string) error {
			queries, err := c.adviceQueries(&o, kinds, time.Now().UTC())
			if err != nil {
				return err
			}
			if o.sql {
				return c.printQueries(cmd.OutOrStdout(), queries)
			}
			return c.advise(cmd, queries, &o)
		},
	}
	o.p.flags(cmd)
	cmd.Flags().Lookup("from").Usage = "first day or moment, UTC (default: thirty days before --to)"
	cmd.Flags().IntVar(&o.idle, "idle", 30, "days after which a key that is not used is idle")
	cmd.Flags().IntVar(&o.top, "top", 20, "how many of a kind to show at most; 0: all")
	cmd.Flags().TextVar(&o.least, "least", decimal.NewFromInt(1), "least saving to show, in the currency of the costs")
	cmd.Flags().BoolVar(&o.sql, "sql", false, "print the queries instead of asking them")
	return cmd
}

// adviceQueries builds the queries from flags, prices and lanes.
func (c *cli) adviceQueries(o *advising, kinds []string, now time.Time) ([]advice.Query, error) {
	if err := o.p.parse(now); err != nil {
		return nil, err
	}
	if o.p.from == "" {
		o.p.begin = o.p.end.AddDate(0, 0, -30)
	}
	if o.idle < 1 {
		return nil, usageError{fmt.Errorf("--idle %d: write a number of days, such as 30", o.idle)}
	}
	book, cfg, err := c.book()
	if err != nil {
		return nil, err
	}
	own := advice.Config{From: o.p.begin, To: o.p.end, Tenant: o.p.tenant, IdleDays: o.idle, Prices: currentPrices(book, cfg, now), Lanes: map[string]string{}}
	for _, l := range cfg.Kafka.Lanes {
		if l.MaxAge >= 24*time.Hour {
			own.Lanes[l.Name] = cfg.RequestTopic(l.Name)
		}
	}
	queries, err := advice.Queries(own, kinds...)
	if err != nil {
		return nil, usageError{err}
	}
	return queries, nil
}

// batching are the kinds of providers whose batches Sira can use (docs/batches.md).
func batching(kind string) bool { return kind == "openai" || kind == "anthropic" }

// currentPrices returns the price of each configured target, of the smallest band.
// Rows for the provider's name come before rows for its kind.
func currentPrices(book *cost.Book, cfg app.Config, now time.Time) []advice.Price {
	kinds := kindsOf(cfg)
	rows := book.RowsAt(now)
	var out []advice.Price
	seen := map[[2]string]bool{}
	for _, m := range cfg.RoutingModels() {
		for _, t := range m.Targets {
			at := [2]string{t.Provider, t.Model}
			if seen[at] {
				continue
			}
			seen[at] = true
			for _, name := range []string{t.Provider, kinds[t.Provider]} {
				i := slices.IndexFunc(rows, func(r cost.PriceRow) bool { return r.Provider == name && r.Model == t.Model && r.Tier == "" })
				if i >= 0 {
					out = append(out, advice.PriceOf(t.Provider, rows[i], batching(kinds[t.Provider])))
					break
				}
			}
		}
	}
	return out
}

func (c *cli) printQueries(w io.Writer, queries []advice.Query) error {
	for _, q := range queries {
		if c.json {
			if err := printJSON(w, map[string]string{"name": q.Name, "sql": q.SQL}); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintf(w, "/* %s */\n%s;\n\n", q.Name, q.SQL); err != nil {
			return err
		}
	}
	return nil
}

// advise asks the queries and prints what they say, the largest savings first.
func (c *cli) advise(cmd *cobra.Command, queries []advice.Query, o *advising) error {
	conn, _, err := c.house()
	if err != nil {
		return err
	}
	defer conn.Close()
	var all []counsel
	for _, q := range queries {
		some, err := ask(cmd, conn, q, o)
		if err != nil {
			return err
		}
		all = append(all, some...)
	}
	slices.SortStableFunc(all, func(a, b counsel) int { return b.Saving.Cmp(a.Saving) })
	return c.printAdvice(cmd.OutOrStdout(), all, o)
}

func ask(cmd *cobra.Command, conn driver.Conn, q advice.Query, o *advising) ([]counsel, error) {
	ctx, cancel := limited(cmd.Context())
	defer cancel()
	rows, err := conn.Query(ctx, q.SQL)
	if err != nil {
		return nil, fmt.Errorf("asking for advice of kind %s: %w", q.Name, err)
	}
	defer rows.Close()
	var out []counsel
	for rows.Next() {
		var a counsel
		if err := rows.Scan(&a.Kind, &a.Tenant, &a.Subject, &a.Instead, &a.Requests, &a.Currency, &a.Spent, &a.Saving, &a.Evidence); err != nil {
			return nil, fmt.Errorf("reading advice of kind %s: %w", q.Name, err)
		}
		if a.Kind != "idle" && a.Saving.LessThan(o.least) || o.top > 0 && len(out) >= o.top {
			continue
		}
		out = append(out, a)
	}
	return out, rows.Err()
}

func (c *cli) printAdvice(w io.Writer, all []counsel, o *advising) error {
	if c.json {
		for _, a := range all {
			if err := printJSON(w, a); err != nil {
				return err
			}
		}
		return nil
	}
	if len(all) == 0 {
		_, err := fmt.Fprintf(w, "nothing to advise from %s to %s\n", o.p.begin.Format(time.DateOnly), o.p.end.Format(time.DateOnly))
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "KIND\tTENANT\tSUBJECT\tINSTEAD\tREQUESTS\tSPENT\tSAVING\t")
	for _, a := range all {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%d\t%s\t%s %s\t\n", a.Kind, a.Tenant, a.Subject, a.Instead, a.Requests, a.Spent.StringFixed(2), a.Saving.StringFixed(2), a.Currency)
		fmt.Fprintf(t, "  %s\n", strings.ReplaceAll(a.Evidence, "\t", " "))
	}
	return t.Flush()
}

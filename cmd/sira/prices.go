package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/cost"
	"github.com/sira-ai/sira/schemas"
)

func (c *cli) pricesCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "prices", Short: "Look into the price book"}
	cmd.AddCommand(c.pricesListCommand(), c.pricesShowCommand(), c.pricesCheckCommand(), c.pricesCompareCommand())
	return cmd
}

func (c *cli) pricesListCommand() *cobra.Command {
	var provider, model, at string
	cmd := &cobra.Command{
		Use: "list", Short: "List the prices in force", Args: cobra.NoArgs,
		Example: "  sira prices list --provider anthropic\n  sira prices list --model gpt-5 --at 2026-08-01 --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			book, _, err := c.book()
			if err != nil {
				return err
			}
			rows := book.Rows()
			if at != "all" {
				when, err := moment(at, time.Now())
				if err != nil {
					return usageError{fmt.Errorf("--at: %w", err)}
				}
				rows = book.RowsAt(when)
			}
			rows = slices.DeleteFunc(rows, func(r cost.PriceRow) bool {
				return provider != "" && r.Provider != provider || !strings.Contains(r.Model, model)
			})
			return c.printPrices(cmd.OutOrStdout(), rows)
		},
	}
	f := cmd.Flags()
	f.StringVar(&provider, "provider", "", "only this provider or kind")
	f.StringVar(&model, "model", "", "only models whose name contains this")
	f.StringVar(&at, "at", "", "day such as 2026-01-31, or all (default: today)")
	return cmd
}

func (c *cli) pricesShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show PROVIDER/MODEL", Short: "Show all prices of a model, past and coming ones too", Args: cobra.ExactArgs(1),
		Example: "  sira prices show anthropic/claude-sonnet-4-5",
		RunE: func(cmd *cobra.Command, args []string) error {
			provider, model, ok := strings.Cut(args[0], "/")
			if !ok {
				return usageError{fmt.Errorf("%q: write PROVIDER/MODEL, such as openai/gpt-4o", args[0])}
			}
			book, _, err := c.book()
			if err != nil {
				return err
			}
			rows := slices.DeleteFunc(book.Rows(), func(r cost.PriceRow) bool { return r.Provider != provider || r.Model != model })
			if len(rows) == 0 {
				return findingError{fmt.Errorf("the price book knows no price of %s: what it is used for is unpriced", args[0])}
			}
			return c.printPrices(cmd.OutOrStdout(), rows)
		},
	}
}

func (c *cli) pricesCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check [FILE]", Short: "Check a price book, and that it prices every configured model", Args: cobra.MaximumNArgs(1),
		Long: `Reads FILE, or the configured price book, and says all that is wrong with it, with
line and column. Then it asks for the price of every target of the configured
models today. Exit code 2 if the book can't be read, 3 if a target has no price.`,
		Example: "  sira prices check\n  sira prices check new-prices.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			book, cfg, err := c.bookAt(args)
			if err != nil {
				return err
			}
			return c.checkPrices(cmd.OutOrStdout(), book, cfg)
		},
	}
}

// unpricedTarget is a target that the book knows no price of.
type unpricedTarget struct {
	Model    string `json:"model"`
	Provider string `json:"provider"`
	Target   string `json:"provider_model"`
}

func (c *cli) checkPrices(w io.Writer, book *cost.Book, cfg app.Config) error {
	kinds := kindsOf(cfg)
	var missing []unpricedTarget
	targets := 0
	for _, m := range cfg.RoutingModels() {
		for _, t := range m.Targets {
			targets++
			target := schemas.Target{Provider: t.Provider, Kind: kinds[t.Provider], Model: t.Model}
			if !book.Knows(target, time.Now()) {
				missing = append(missing, unpricedTarget{m.Name, t.Provider, t.Model})
			}
		}
	}
	if c.json {
		if err := printJSON(w, map[string]any{"rows": len(book.Rows()), "targets": targets, "unpriced": missing}); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(w, "%d rows; %d of %d configured targets have a price\n", len(book.Rows()), targets-len(missing), targets)
		for _, m := range missing {
			fmt.Fprintf(w, "  %s: no price for %s of %s\n", m.Model, m.Target, m.Provider)
		}
	}
	if len(missing) > 0 {
		return findingError{fmt.Errorf("%d targets have no price: what they are used for is unpriced", len(missing))}
	}
	return nil
}

func (c *cli) pricesCompareCommand() *cobra.Command {
	var provider string
	var all, asYAML bool
	cmd := &cobra.Command{
		Use: "compare FILE", Short: "Compare the price book with a list in LiteLLM's form", Args: cobra.ExactArgs(1),
		Long: `Reads a list in the form of LiteLLM's model_prices_and_context_window.json and names
each price in force today on which it and the price book disagree: usual tier,
smallest size of input. With --yaml the list's rows are printed in the form of a
price book instead, to be taken over by hand. Exit code 3 if they disagree.`,
		Example: "  sira prices compare model_prices_and_context_window.json\n  sira prices compare list.json --provider openai --yaml > rows.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return usageError{err}
			}
			defer f.Close()
			theirs, err := cost.ReadLiteLLM(f)
			if err != nil {
				return usageError{err}
			}
			other := func(r cost.PriceRow) bool { return provider != "" && r.Provider != provider }
			theirs = slices.DeleteFunc(theirs, other)
			if asYAML {
				return printBook(cmd.OutOrStdout(), theirs, time.Now().UTC().Format(time.DateOnly))
			}
			book, _, err := c.book()
			if err != nil {
				return err
			}
			differences, same := cost.Compare(slices.DeleteFunc(book.RowsAt(time.Now()), other), theirs, all)
			return c.printDifferences(cmd.OutOrStdout(), differences, same)
		},
	}
	f := cmd.Flags()
	f.StringVar(&provider, "provider", "", "only this kind of provider")
	f.BoolVar(&all, "all", false, "name prices that only one of them has, too")
	f.BoolVar(&asYAML, "yaml", false, "print the list as rows of a price book")
	return cmd
}

// book returns the configured price book.
func (c *cli) book() (*cost.Book, app.Config, error) { return c.bookAt(nil) }

// bookAt returns the price book in a file or, without one, the configured one.
func (c *cli) bookAt(files []string) (*cost.Book, app.Config, error) {
	cfg, err := c.config()
	if err != nil {
		return nil, cfg, err
	}
	if len(files) > 0 && files[0] != "" {
		cfg.Prices.File = files[0]
	}
	book, err := cfg.PriceBook()
	var faults cost.Faults
	if errors.As(err, &faults) || errors.Is(err, fs.ErrNotExist) {
		err = usageError{err}
	}
	return book, cfg, err
}

// kindsOf returns the kind of each provider; simulated ones are of the kind that
// they are named after.
func kindsOf(cfg app.Config) map[string]string {
	kinds := make(map[string]string, len(cfg.Providers))
	for _, p := range cfg.Providers {
		kinds[p.Name] = p.Kind
	}
	return kinds
}

// moment reads a day, or a time in RFC 3339; empty is otherwise.
func moment(s string, otherwise time.Time) (time.Time, error) {
	if s == "" {
		return otherwise, nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q: write a day such as 2026-01-31 or a time such as 2026-01-31T12:00:00Z", s)
}

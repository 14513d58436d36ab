package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/cmd/app"
)

func (c *cli) checkCommand() *cobra.Command {
	kinds := false
	cmd := &cobra.Command{
		Use: "check [FILE]", Short: "Check a configuration document", Args: cobra.MaximumNArgs(1),
		Long: `Reads a configuration document and reports everything that is wrong with it at once,
each with file, line, column and what to write instead. Exit code 2 if anything is.

With --kinds it lists instead every kind of component that a document can name.`,
		Example: "  sira check sira.yaml\n  sira check --json sira.yaml\n  sira check --kinds",
		RunE: func(cmd *cobra.Command, args []string) error {
			if kinds {
				if len(args) > 0 {
					return usageError{errors.New("--kinds takes no file: it lists what any document can name")}
				}
				return c.printKinds(cmd.OutOrStdout())
			}
			file := c.configFile
			if len(args) == 1 {
				file = args[0]
			}
			if file == "" {
				file = "sira.yaml"
			}
			cfg, err := app.Load(file)
			var faults app.Faults
			if errors.As(err, &faults) && c.json {
				for _, f := range faults {
					if err := printJSON(cmd.OutOrStdout(), f); err != nil {
						return err
					}
				}
				return usageError{fmt.Errorf("%s has %d faults", file, len(faults))}
			}
			if err != nil {
				return usageError{err}
			}
			if _, err := cfg.PriceBook(); err != nil {
				return usageError{err}
			}
			if c.json {
				return printJSON(cmd.OutOrStdout(), map[string]any{"file": file, "version": cfg.Version, "ok": true})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is fine (version %s): %d providers, %d models, %d routes\n", file, cfg.Version, len(cfg.Providers), len(cfg.Models), len(cfg.Routes))
			return err
		},
	}
	cmd.Flags().BoolVar(&kinds, "kinds", false, "list the kinds of providers, strategies, balancers that there are")
	return cmd
}

func (c *cli) printKinds(w io.Writer) error {
	for _, k := range app.AllKinds() {
		if c.json {
			if err := printJSON(w, k); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintf(w, "%-9s %s\n          in %s\n", k.What, strings.Join(k.Kinds, " "), k.Where); err != nil {
			return err
		}
	}
	return nil
}

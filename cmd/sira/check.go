package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/cmd/app"
)

func (c *cli) checkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check [FILE]", Short: "Check a configuration document", Args: cobra.MaximumNArgs(1),
		Long: `Reads a configuration document and reports everything that is wrong with it at once,
each with file, line, column and what to write instead. Exit code 2 if anything is.`,
		Example: "  sira check sira.yaml\n  sira check --json sira.yaml",
		RunE: func(cmd *cobra.Command, args []string) error {
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
}

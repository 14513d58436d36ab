package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/pipeline/kafka"
)

func (c *cli) topicsCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "topics", Short: "Make and list Sira's topics"}
	cmd.AddCommand(&cobra.Command{
		Use: "create", Short: "Make the topics that are missing", Args: cobra.NoArgs,
		Long:    "Makes every topic of the configuration that Kafka does not have yet, and leaves the others alone.",
		Example: "  sira topics create --config sira.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.config()
			if err != nil {
				return err
			}
			cl, _, _, err := c.clients(cfg)
			if err != nil {
				return err
			}
			defer cl.Close()
			if err := ping(cmd.Context(), cl, cfg); err != nil {
				return err
			}
			created, err := kafka.EnsureTopics(cmd.Context(), cl, cfg.Topics())
			for _, name := range created {
				if c.json {
					_ = printJSON(cmd.OutOrStdout(), map[string]string{"created": name})
				} else {
					fmt.Fprintln(cmd.OutOrStdout(), "created", name)
				}
			}
			if err == nil && len(created) == 0 && !c.json {
				fmt.Fprintln(cmd.OutOrStdout(), "all topics are there")
			}
			return err
		},
	}, &cobra.Command{
		Use: "list", Short: "List the topics with what they hold", Args: cobra.NoArgs,
		Example: "  sira topics list --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.config()
			if err != nil {
				return err
			}
			cl, _, _, err := c.clients(cfg)
			if err != nil {
				return err
			}
			defer cl.Close()
			if err := ping(cmd.Context(), cl, cfg); err != nil {
				return err
			}
			var names []string
			for _, t := range cfg.Topics() {
				names = append(names, t.Name)
			}
			infos, err := kafka.ListTopics(cmd.Context(), cl, names)
			if err != nil {
				return fmt.Errorf("listing topics: %w; `sira topics create` makes missing ones", err)
			}
			var rows [][]any
			for _, t := range infos {
				if c.json {
					if err := printJSON(cmd.OutOrStdout(), t); err != nil {
						return err
					}
					continue
				}
				rows = append(rows, []any{t.Name, len(t.Partitions), t.Records(), strings.TrimSpace(t.Config["retention.ms"])})
			}
			if c.json {
				return nil
			}
			return printTable(cmd.OutOrStdout(), []string{"topic", "partitions", "records", "retention.ms"}, rows)
		},
	})
	return cmd
}

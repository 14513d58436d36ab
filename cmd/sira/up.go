package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/cmd/app"
)

func (c *cli) upCommand() *cobra.Command {
	return &cobra.Command{
		Use: "up", Short: "Run every role in one process, with embedded services", Args: cobra.NoArgs,
		Long: `Runs workers, recorder, analyst, webhooks and, unless the configuration names real ones,
an embedded Kafka broker, schema registry, ClickHouse engine and simulated
providers. Everything listens on loopback and is kept in the data folder.
Ctrl-C stops it in order: calls in flight finish first.`,
		Example: "  sira up\n  sira up --config sira.yaml --data /var/lib/sira",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.config()
			if err != nil {
				return err
			}
			return c.serve(cmd, cfg, upRoles(cfg))
		},
	}
}

// upRoles leaves out the embedded services that the configuration replaces.
func upRoles(cfg app.Config) []app.Role {
	var out []app.Role
	for _, r := range app.AllRoles() {
		switch {
		case r == app.RoleKafka && !cfg.UsesEmbeddedKafka(),
			r == app.RoleRegistry && cfg.Registry.URL != app.Embedded,
			r == app.RoleClickHouse && cfg.ClickHouse.DSN != app.Embedded:
			continue
		}
		out = append(out, r)
	}
	return out
}

func (c *cli) runCommand() *cobra.Command {
	var roles string
	cmd := &cobra.Command{
		Use: "run", Short: "Run some roles", Args: cobra.NoArgs,
		Long:    fmt.Sprintf("Runs the named roles in this process. The roles are %v;\nkafka, registry and clickhouse are the embedded services.", app.AllRoles()),
		Example: "  sira run --roles worker --config sira.yaml\n  sira run --roles worker,recorder",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.config()
			if err != nil {
				return err
			}
			list, err := app.ParseRoles(roles)
			if err != nil {
				return usageError{fmt.Errorf("--roles: %w", err)}
			}
			return c.serve(cmd, cfg, list)
		},
	}
	cmd.Flags().StringVar(&roles, "roles", "worker", "comma-separated roles")
	return cmd
}

func (c *cli) serve(cmd *cobra.Command, cfg app.Config, roles []app.Role) error {
	log, err := c.logger()
	if err != nil {
		return err
	}
	a := app.New(cfg, roles, log)
	return a.Run(cmd.Context(), func() {
		out := cmd.ErrOrStderr()
		names := make([]string, len(roles))
		for i, r := range roles {
			names[i] = string(r)
		}
		fmt.Fprintf(out, "sira %s is up: %s\n", version, strings.Join(names, ", "))
		for _, l := range a.Addresses() {
			fmt.Fprintf(out, "  %-11s %s\n", l.Name, l.Addr)
		}
	})
}

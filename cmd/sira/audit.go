package main

import (
	"context"
	"fmt"
	"iter"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/handlers/audit"
	"github.com/sira-ai/sira/sinks/clickhouse"
)

func (c *cli) auditCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "Verify the audit log"}
	cmd.AddCommand(&cobra.Command{
		Use: "verify", Short: "Find altered, removed and reordered records", Args: cobra.NoArgs,
		Long: `Reads the audit table and checks every hash chain: each record's hash covers its
content, its place and the hash of the record before. Exit code 3 if anything was
altered, removed or reordered. Removal of the newest records of a chain shows only
against the heads printed by an earlier run: keep them elsewhere.`,
		Example: "  sira audit verify\n  sira audit verify --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.config()
			if err != nil {
				return err
			}
			conn, _, err := clickhouse.Open(cfg.ClickHouseDSN())
			if err != nil {
				return usageError{err}
			}
			defer conn.Close()
			return c.verify(cmd, conn)
		},
	})
	return cmd
}

func (c *cli) verify(cmd *cobra.Command, conn driver.Conn) error {
	report, err := audit.Verify(auditRows(cmd.Context(), conn))
	if err != nil {
		return fmt.Errorf("verifying audit log: %w", err)
	}
	out := cmd.OutOrStdout()
	if c.json {
		if err := printJSON(out, report); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(out, "%d records in %d chains\n", report.Rows, report.Chains)
		for _, f := range report.Findings {
			fmt.Fprintln(out, "  ", f)
		}
	}
	if n := len(report.Findings); n > 0 {
		return findingError{fmt.Errorf("the audit log has %d findings", n)}
	}
	return nil
}

// auditRows reads the audit table in the order of the chains, as it was written:
// ordering by seq would hide records that changed places, so source offsets
// decide.
func auditRows(ctx context.Context, conn driver.Conn) iter.Seq2[audit.Row, error] {
	return func(yield func(audit.Row, error) bool) {
		rows, err := conn.Query(ctx, "SELECT chain, seq, payload, prev_hash, hash FROM audit ORDER BY chain, src_offset, seq")
		if err != nil {
			yield(audit.Row{}, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			var chain uint32
			var r audit.Row
			var payload, prev, hash string
			if err := rows.Scan(&chain, &r.Seq, &payload, &prev, &hash); err != nil {
				yield(r, err)
				return
			}
			r.Chain, r.Payload = uint16(chain), []byte(payload)
			copy(r.Prev[:], prev)
			copy(r.Hash[:], hash)
			if !yield(r, nil) {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(audit.Row{}, err)
		}
	}
}

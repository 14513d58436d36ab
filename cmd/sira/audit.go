package main

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"os"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/handlers/audit"
	"github.com/sira-ai/sira/sinks/clickhouse"
)

func (c *cli) auditCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "audit", Short: "Verify the audit log"}
	var heads string
	verify := &cobra.Command{
		Use: "verify", Short: "Find altered, removed and reordered records", Args: cobra.NoArgs,
		Long: `Reads the audit table and checks every hash chain: each record's hash covers its
content, its place and the hash of the record before. Exit code 3 if anything was
altered, removed or reordered. Removal of the newest records of a chain shows only
against the heads of an earlier run: keep what --json printed elsewhere, and give
it back with --heads.`,
		Example: "  sira audit verify\n  sira audit verify --json > heads.json\n  sira audit verify --heads heads.json",
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
			return c.verify(cmd, conn, heads)
		},
	}
	verify.Flags().StringVar(&heads, "heads", "", "file with the JSON of an earlier run; its heads must still be there")
	cmd.AddCommand(verify)
	return cmd
}

func (c *cli) verify(cmd *cobra.Command, conn driver.Conn, heads string) error {
	v := new(audit.Verifier)
	if heads != "" {
		if err := expectHeads(v, heads); err != nil {
			return usageError{err}
		}
	}
	report, err := v.Verify(auditRows(cmd.Context(), conn))
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

// expectHeads makes the heads of an earlier report part of what is checked.
func expectHeads(v *audit.Verifier, file string) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("reading heads: %w", err)
	}
	var earlier audit.Report
	if err := json.Unmarshal(b, &earlier); err != nil {
		return fmt.Errorf("reading heads from %s: write what `sira audit verify --json` printed: %w", file, err)
	}
	for chain, h := range earlier.Heads {
		v.Expect(chain, h.Seq, h.Hash)
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

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/shopspring/decimal"
	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/handlers/cost/ledger"
)

func (c *cli) costReconcileCommand() *cobra.Command {
	var p period
	var provider, invoice, tolerance string
	cmd := &cobra.Command{
		Use: "reconcile FILE", Short: "Compare a provider's invoice with the ledger", Args: cobra.ExactArgs(1),
		Long: `Reads an invoice, as CSV with the columns model, currency and amount and, if the
provider says them, input_tokens and output_tokens, and compares it with what the
ledger has for the provider in the period, by model and currency. Exit code 3 if
they drift apart by more than --tolerance percent. With --import its lines are kept
in the table invoices under that number; importing the same invoice again changes nothing.`,
		Example: `  sira cost reconcile openai-october.csv --provider openai --from 2026-10-01 --to 2026-11-01
  sira cost reconcile openai-october.csv --provider openai --from 2026-10-01 --to 2026-11-01 --import INV-2210 --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			percent, err := decimal.NewFromString(tolerance)
			if err != nil || percent.IsNegative() || provider == "" {
				return usageError{errors.New("write --provider NAME, and --tolerance as a percentage such as 0.5")}
			}
			if err := p.parse(time.Now()); err != nil {
				return err
			}
			text, err := os.ReadFile(args[0])
			if err != nil {
				return usageError{err}
			}
			lines, err := ledger.ReadInvoice(bytes.NewReader(text))
			if err != nil {
				return usageError{err}
			}
			conn, _, err := c.house()
			if err != nil {
				return err
			}
			defer conn.Close()
			if invoice != "" {
				sum := sha256.Sum256(text)
				if err := importInvoice(cmd.Context(), conn, provider, invoice, hex.EncodeToString(sum[:]), lines, &p); err != nil {
					return err
				}
			}
			booked, err := readBooked(cmd.Context(), conn, provider, &p)
			if err != nil {
				return err
			}
			return c.printDrift(cmd.OutOrStdout(), ledger.Reconcile(lines, booked, percent))
		},
	}
	p.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&provider, "provider", "", "name of the provider that sent the invoice")
	f.StringVar(&tolerance, "tolerance", "0.5", "percent by which an amount may be off")
	f.StringVar(&invoice, "import", "", "number of the invoice, to keep its lines")
	return cmd
}

// readBooked adds up billed attempts by the provider's model. The lines of a cost
// share its adjustments only where there is one line, so costs with several lines
// count as they were booked.
func readBooked(ctx context.Context, conn driver.Conn, provider string, p *period) ([]ledger.Booked, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	rows, err := conn.Query(ctx, `SELECT model, currency, sum(amount), count(), countIf(state = 'unpriced'), sum(input), sum(output)
FROM (SELECT l.line_model[i] AS model, l.currency AS currency, l.tenant AS tenant, l.event_time AS event_time,
  if(length(l.line_kind) = 1, l.amount, l.line_amount[i]) AS amount, if(length(l.line_kind) = 1, l.state, l.line_state[i]) AS state,
  if(i = length(l.line_kind), l.input_tokens, 0) AS input, if(i = length(l.line_kind), l.output_tokens, 0) AS output
  FROM ledger AS l ARRAY JOIN arrayEnumerate(l.line_kind) AS i WHERE l.line_provider[i] = `+quoted(provider)+` AND `+p.where()+`)
GROUP BY model, currency`)
	if err != nil {
		return nil, fmt.Errorf("reading ledger: %w", err)
	}
	defer rows.Close()
	var out []ledger.Booked
	for rows.Next() {
		var b ledger.Booked
		if err := rows.Scan(&b.Model, &b.Currency, &b.Amount, &b.Requests, &b.Unpriced, &b.Input, &b.Output); err != nil {
			return nil, fmt.Errorf("reading ledger: %w", err)
		}
		out = append(out, b)
	}
	return out, rows.Err()
}

func importInvoice(ctx context.Context, conn driver.Conn, provider, invoice, hash string, lines []ledger.InvoiceLine, p *period) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	batch, err := conn.PrepareBatch(ctx, `INSERT INTO invoices (provider, invoice, line, period_from, period_to, model, currency, amount, input_tokens, output_tokens, file_hash, imported_at)`)
	if err != nil {
		return fmt.Errorf("keeping invoice: %w", err)
	}
	defer func() { _ = batch.Close() }() // after Send it has nothing to do
	now := time.Now().UTC()
	for _, l := range lines {
		if err := batch.Append(provider, invoice, uint32(l.Line), p.begin, p.end, l.Model, l.Currency, l.Amount, l.Input, l.Output, hash, now); err != nil {
			return fmt.Errorf("keeping invoice: %w", err)
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("keeping invoice: %w", err)
	}
	var n uint64
	if err := conn.QueryRow(ctx, "SELECT count() FROM invoices FINAL WHERE provider = "+quoted(provider)+" AND invoice = "+quoted(invoice)).Scan(&n); err != nil {
		return fmt.Errorf("counting lines of the invoice: %w", err)
	}
	if n != uint64(len(lines)) {
		return fmt.Errorf("keeping invoice %s: %d lines are there, %d were read: another invoice has that number", invoice, n, len(lines))
	}
	return nil
}

func (c *cli) printDrift(w io.Writer, drifts []ledger.Drift) error {
	off := 0
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if !c.json {
		fmt.Fprintln(t, "MODEL\tCURRENCY\tFINDING\tINVOICED\tBOOKED\tDRIFT\tPERCENT\tUNPRICED\tINPUT DRIFT\tOUTPUT DRIFT")
	}
	for _, d := range drifts {
		if d.Finding != ledger.Agrees {
			off++
		}
		if c.json {
			if err := printJSON(w, d); err != nil {
				return err
			}
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\n", d.Model, d.Currency, d.Finding, d.Invoiced, d.Booked, d.Drift, d.Percent, d.Unpriced, d.InputDrift, d.OutputDrift)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if off > 0 {
		return findingError{fmt.Errorf("invoice and ledger do not agree on %d of %d models", off, len(drifts))}
	}
	return nil
}

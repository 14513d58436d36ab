package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/shopspring/decimal"
	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/handlers/cost"
	"github.com/sira-ai/sira/handlers/cost/ledger"
	"github.com/sira-ai/sira/schemas"
)

// replaying is how costs are priced again.
type replaying struct {
	period

	book, old, final, reason string
	totals, apply            bool
}

func (c *cli) costReplayCommand() *cobra.Command {
	var o replaying
	cmd := &cobra.Command{
		Use: "replay", Short: "Price the costs of a period again, and correct the ledger", Args: cobra.NoArgs,
		Long: `Prices every cost of the period with the price book, or with --book FILE, and prints
the difference to the ledger by tenant, model and currency, exact to the last digit.
With --apply the differences become entries of the table adjustments; what was
booked is never edited. Applied twice, nothing changes the second time.

A cost whose usage is known by its totals only is priced again if the totals come
to the amount that was booked: give the book of that time with --old. Costs that
nothing proves are counted as unproven and left alone, unless --totals says that
totals are all there was. --final FILE names usage that became known later, as lines
of JSON: {"cost_id": "…", "attempt": 1, "usage": {"input_tokens": 1, …}}.`,
		Example: `  sira cost replay --from 2026-11-16 --to 2026-11-23 --book fixed.yaml --old prices.yaml
  sira cost replay --from 2026-11-16 --book fixed.yaml --old prices.yaml --apply --reason "gpt-5 output was 8.00"`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.parse(time.Now()); err != nil {
				return err
			}
			replay, err := c.replay(&o)
			if err != nil {
				return err
			}
			conn, _, err := c.house()
			if err != nil {
				return err
			}
			defer conn.Close()
			sums := ledger.Sums{}
			for _, day := range o.days() {
				if err := replayDay(cmd.Context(), conn, replay, &o, &day, sums); err != nil {
					return err
				}
			}
			return c.printSums(cmd.OutOrStdout(), sums.List(), o.apply)
		},
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&o.book, "book", "", "price book to price with (default: the configured one)")
	f.StringVar(&o.old, "old", "", "price book that was in force when the costs were booked (default: the configured one)")
	f.StringVar(&o.final, "final", "", "file with usage that became known later")
	f.BoolVar(&o.totals, "totals", false, "take totals that nothing proves for all that was used")
	f.BoolVar(&o.apply, "apply", false, "write the adjusting entries")
	f.StringVar(&o.reason, "reason", "", "why, kept with each entry")
	return cmd
}

func (c *cli) replay(o *replaying) (*ledger.Replay, error) {
	book, cfg, err := c.bookAt([]string{o.book})
	if err != nil {
		return nil, err
	}
	old, _, err := c.bookAt([]string{o.old})
	if err != nil {
		return nil, err
	}
	r := &ledger.Replay{Book: book, Old: old, Kinds: kindsOf(cfg), Totals: o.totals}
	if o.final != "" {
		if r.Final, err = finalUsage(o.final); err != nil {
			return nil, usageError{err}
		}
	}
	return r, nil
}

// finalUsage reads usage that became known after it was booked.
func finalUsage(file string) (map[string]schemas.Usage, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading final usage: %w", err)
	}
	defer f.Close()
	out := make(map[string]schemas.Usage)
	d := json.NewDecoder(bufio.NewReader(f))
	d.DisallowUnknownFields()
	for {
		var line struct {
			CostID  string        `json:"cost_id"`
			Attempt int           `json:"attempt"`
			Usage   schemas.Usage `json:"usage"`
		}
		if err := d.Decode(&line); err == io.EOF {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading final usage from %s, entry %d: %w", file, len(out)+1, err)
		}
		out[line.CostID+"#"+strconv.Itoa(max(line.Attempt, 1))] = line.Usage
	}
}

// replayDay prices the costs of one day and, if told so, writes what has to be
// added.
func replayDay(ctx context.Context, conn driver.Conn, replay *ledger.Replay, o *replaying, day *period, sums ledger.Sums) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	var entries []ledger.Adjustment
	err := readCosts(ctx, conn, day, func(c *ledger.Cost) {
		adjustments, verdict := replay.Price(c)
		sums.Add(c, adjustments, verdict)
		if o.apply {
			entries = append(entries, adjustments...)
		}
	})
	if err != nil {
		return err
	}
	return writeAdjustments(ctx, conn, entries, replay.Book, o.reason, day)
}

const costsSQL = `SELECT event_time, cost_id, request_id, tenant, labels, model, provider, provider_model, state, amount, currency, adjustments,
input_tokens, cache_read, cache_write, output_tokens, line_attempt, line_provider, line_model, line_state, line_amount, line_price, line_usage
FROM ledger WHERE state != 'none' AND `

// readCosts calls each for every cost of a period, as it stands now. The cost is
// each's to keep.
func readCosts(ctx context.Context, conn driver.Conn, p *period, each func(*ledger.Cost)) error {
	rows, err := conn.Query(ctx, costsSQL+p.where())
	if err != nil {
		return fmt.Errorf("reading ledger: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		c, err := scanCost(rows)
		if err != nil {
			return fmt.Errorf("reading ledger: %w", err)
		}
		each(c)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading ledger: %w", err)
	}
	return nil
}

func scanCost(rows driver.Rows) (*ledger.Cost, error) {
	var (
		c                                        ledger.Cost
		state                                    string
		adjustments                              uint32
		input, read, written, output             uint64
		attempts                                 []uint16
		providers, models, states, prices, usage []string
		amounts                                  []decimal.Decimal
	)
	err := rows.Scan(&c.Time, &c.ID, &c.RequestID, &c.Tenant, &c.Labels, &c.Model, &c.Provider, &c.ProviderModel, &state, &c.Amount, &c.Currency, &adjustments,
		&input, &read, &written, &output, &attempts, &providers, &models, &states, &amounts, &prices, &usage)
	if err != nil {
		return nil, err
	}
	c.State, c.Adjustments = schemas.CostState(state), int(adjustments)
	c.InputTokens, c.CacheRead, c.CacheWrite, c.OutputTokens = int64(input), int64(read), int64(written), int64(output)
	c.Lines = make([]ledger.Line, len(attempts))
	for i := range attempts {
		l := &c.Lines[i]
		*l = ledger.Line{Attempt: int(attempts[i]), Provider: providers[i], Model: models[i], State: schemas.CostState(states[i]), Amount: amounts[i], Price: prices[i]}
		if l.Whole = i < len(usage); l.Whole && usage[i] != "" {
			l.Usage = new(schemas.Usage)
			if err := json.Unmarshal([]byte(usage[i]), l.Usage); err != nil {
				return nil, fmt.Errorf("reading usage of %s: %w", c.ID, err)
			}
		}
	}
	return &c, nil
}

const adjustmentsSQL = `INSERT INTO adjustments (event_time, cost_id, seq, request_id, tenant, labels, model, provider, provider_model, kind, state_before, state,
amount, currency, currency_after, line_price, book, reason, booked_at)`

// writeAdjustments writes the entries of one day and makes sure that all of them
// are there.
func writeAdjustments(ctx context.Context, conn driver.Conn, entries []ledger.Adjustment, book *cost.Book, reason string, day *period) error {
	if len(entries) == 0 {
		return nil
	}
	now := time.Now().UTC().Truncate(time.Millisecond)
	batch, err := conn.PrepareBatch(ctx, adjustmentsSQL)
	if err != nil {
		return fmt.Errorf("writing adjustments: %w", err)
	}
	defer func() { _ = batch.Close() }() // after Send it has nothing to do
	for i := range entries {
		a, c := &entries[i], entries[i].Cost
		err := batch.Append(c.Time, c.ID, uint32(a.Seq), c.RequestID, c.Tenant, c.Labels, c.Model, c.Provider, c.ProviderModel, a.Kind,
			string(c.State), string(a.State), a.Amount, a.Currency, a.CurrencyAfter, a.Prices, book.Hash(), reason, now)
		if err != nil {
			return fmt.Errorf("writing adjustments: %w", err)
		}
	}
	if err := batch.Send(); err != nil {
		return fmt.Errorf("writing adjustments: %w", err)
	}
	var n uint64
	sql := fmt.Sprintf("SELECT count() FROM adjustments FINAL WHERE %s AND booked_at = fromUnixTimestamp64Milli(%d, 'UTC')", day.where(), now.UnixMilli())
	if err := conn.QueryRow(ctx, sql).Scan(&n); err != nil {
		return fmt.Errorf("counting adjustments: %w", err)
	}
	if n != uint64(len(entries)) {
		return fmt.Errorf("writing adjustments: %d of %d entries of %s are there; run the same command again", n, len(entries), day.begin.Format(time.DateOnly))
	}
	return nil
}

func (c *cli) printSums(w io.Writer, sums []ledger.Sum, applied bool) error {
	if c.json {
		for _, s := range sums {
			if err := printJSON(w, s); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "TENANT\tMODEL\tCURRENCY\tCOSTS\tCHANGED\tUNPROVEN\tUNPRICED\tBEFORE\tAFTER\tDIFFERENCE")
	changed, unproven := 0, 0
	for _, s := range sums {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\t%s\n", s.Tenant, s.Model, s.Currency, s.Costs, s.Changed, s.Unproven, s.Unpriced, s.Before, s.After, s.Change)
		changed, unproven = changed+s.Changed, unproven+s.Unproven
	}
	if err := t.Flush(); err != nil {
		return err
	}
	switch {
	case applied:
		fmt.Fprintf(w, "%d costs were adjusted\n", changed)
	case changed > 0:
		fmt.Fprintf(w, "%d costs would be adjusted; write the entries with --apply\n", changed)
	default:
		fmt.Fprintln(w, "the ledger is right")
	}
	if unproven > 0 {
		_, err := fmt.Fprintf(w, "%d costs were left alone: their usage is not proven; see sira cost replay --help\n", unproven)
		return err
	}
	return nil
}

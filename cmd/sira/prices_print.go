package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/cost"
)

func (c *cli) printDifferences(w io.Writer, differences []cost.Difference, same int) error {
	if c.json {
		for _, d := range differences {
			if err := printJSON(w, d); err != nil {
				return err
			}
		}
	} else {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "PROVIDER\tMODEL\tPRICE\tOURS\tTHEIRS")
		for _, d := range differences {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", d.Provider, d.Model, d.Price, orNone(d.Ours), orNone(d.Theirs))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		fmt.Fprintf(w, "%d prices are the same, %d differ\n", same, len(differences))
	}
	if len(differences) > 0 {
		return findingError{fmt.Errorf("%d prices differ", len(differences))}
	}
	return nil
}

func orNone(d *decimal.Decimal) string {
	if d == nil {
		return "-"
	}
	return d.String()
}

func (c *cli) printPrices(w io.Writer, rows []cost.PriceRow) error {
	if c.json {
		for _, r := range rows {
			if err := printJSON(w, r); err != nil {
				return err
			}
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "PRICE\tCURRENCY\tINPUT\tOUTPUT\tCACHE READ\tCACHE WRITE\tPER\tOTHER")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", r.Version, r.Currency, column(r, "input"), column(r, "output"),
			column(r, "cache_read"), column(r, "cache_write"), r.Per, others(r))
	}
	return t.Flush()
}

func column(r cost.PriceRow, name string) string {
	if d, ok := r.Prices[name]; ok {
		return d.String()
	}
	return "-"
}

// others names the prices that have no column in the table.
func others(r cost.PriceRow) string {
	var out []string
	if d, ok := r.Prices["cache_write_1h"]; ok {
		out = append(out, "cache_write_1h="+d.String())
	}
	for _, prices := range []map[string]decimal.Decimal{r.Parts, r.Units} {
		for _, name := range slices.Sorted(maps.Keys(prices)) {
			out = append(out, name+"="+prices[name].String())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.Tiers)) {
		out = append(out, name+" x"+r.Tiers[name].String())
	}
	return strings.Join(out, " ")
}

// printBook writes rows in the form of a price book.
func printBook(w io.Writer, rows []cost.PriceRow, from string) error {
	if _, err := fmt.Fprintln(w, "prices:"); err != nil {
		return err
	}
	for _, r := range rows {
		fmt.Fprintf(w, "  - {provider: %s, model: %q, from: %s, currency: %s", r.Provider, r.Model, from, r.Currency)
		for _, name := range slices.Sorted(maps.Keys(r.Prices)) {
			fmt.Fprintf(w, ", %s: %s", name, r.Prices[name])
		}
		for _, group := range []struct {
			name   string
			prices map[string]decimal.Decimal
		}{{"parts", r.Parts}, {"units", r.Units}} {
			if len(group.prices) == 0 {
				continue
			}
			var pairs []string
			for _, name := range slices.Sorted(maps.Keys(group.prices)) {
				pairs = append(pairs, name+": "+group.prices[name].String())
			}
			fmt.Fprintf(w, ", %s: {%s}", group.name, strings.Join(pairs, ", "))
		}
		if _, err := fmt.Fprintln(w, `, source: "a list in LiteLLM's form"}`); err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/handlers/cost"
	"github.com/sira-ai/sira/handlers/provider/models"
	"github.com/sira-ai/sira/schemas"
)

func (c *cli) modelsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "models", Short: "Tell what models take, give, can do and cost",
		Long: `Reads the built-in catalogue of the providers' main models. Its facts are dated and
have sources; see docs/models.md. refresh compares it with what a provider lists.`,
		Example: "  sira models list --provider openai --can json_schema\n  sira models show gpt-4o-mini\n  sira models refresh --provider openai",
	}
	cmd.AddCommand(c.modelsListCommand(), c.modelsShowCommand(), c.modelsRefreshCommand())
	return cmd
}

// modelFilter chooses models of the catalogue.
type modelFilter struct {
	provider, operation string
	can, input, output  []string
	retired             bool
}

func (c *cli) modelsListCommand() *cobra.Command {
	var f modelFilter
	cmd := &cobra.Command{
		Use: "list", Short: "List the models of the catalogue", Args: cobra.NoArgs,
		Long: `Prints a line for each model that fits all filters. A capability that nobody knows
of does not fit. Models that their vendors refuse by now are left out unless
--retired is given.`,
		Example: `  sira models list
  sira models list --provider anthropic --json
  sira models list --operation image.edit
  sira models list --input audio --can tools --can json_schema`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			catalogue, err := models.Default()
			if err != nil {
				return err
			}
			if err := f.check(catalogue); err != nil {
				return usageError{err}
			}
			today := time.Now().UTC().Format(time.DateOnly)
			found := slices.DeleteFunc(catalogue.All(), func(m models.Model) bool { return !f.fits(&m, today) })
			return c.printModels(cmd.OutOrStdout(), found, today)
		},
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.provider, "provider", "p", "", "only of this kind of provider")
	fl.StringVar(&f.operation, "operation", "", "only those that are asked for it, such as embed")
	fl.StringSliceVar(&f.can, "can", nil, "only those that are known to do it, such as tools")
	fl.StringSliceVar(&f.input, "input", nil, "only those that take it, such as image")
	fl.StringSliceVar(&f.output, "output", nil, "only those that give it, such as audio")
	fl.BoolVar(&f.retired, "retired", false, "also those that their vendors refuse by now")
	return cmd
}

// check finds words that no model of the catalogue knows.
func (f *modelFilter) check(c *models.Catalogue) error {
	var providers, operations, inputs, outputs, can []string
	for _, m := range c.All() {
		providers = append(providers, m.Provider)
		inputs, outputs = append(inputs, m.Input...), append(outputs, m.Output...)
		for _, op := range m.Operations {
			operations = append(operations, string(op))
		}
	}
	for _, known := range models.Capabilities() {
		can = append(can, string(known))
	}
	for _, w := range []struct {
		flag         string
		given, known []string
	}{
		{"provider", oneOf(f.provider), providers},
		{"operation", oneOf(f.operation), operations},
		{"can", f.can, can},
		{"input", f.input, inputs},
		{"output", f.output, outputs},
	} {
		for _, g := range w.given {
			if !slices.Contains(w.known, g) {
				slices.Sort(w.known)
				return fmt.Errorf("--%s: there is no %q; there are %s", w.flag, g, strings.Join(slices.Compact(w.known), ", "))
			}
		}
	}
	return nil
}

func oneOf(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

func (f *modelFilter) fits(m *models.Model, today string) bool {
	lacks := func(want, have []string) bool {
		return slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(have, w) })
	}
	switch {
	case f.provider != "" && m.Provider != f.provider,
		f.operation != "" && !slices.Contains(m.Operations, schemas.Operation(f.operation)),
		lacks(f.input, m.Input),
		lacks(f.output, m.Output),
		!f.retired && m.Retired(today):
		return false
	}
	return !slices.ContainsFunc(f.can, func(c string) bool { return !m.Does(models.Capability(c)) })
}

func (c *cli) printModels(w io.Writer, all []models.Model, today string) error {
	if c.json {
		for i := range all {
			if err := printJSON(w, &all[i]); err != nil {
				return err
			}
		}
		return nil
	}
	rows := make([][]any, len(all))
	for i := range all {
		m := &all[i]
		rows[i] = []any{m.Provider, m.Model, tokens(m.Context), tokens(m.MaxOutput), strings.Join(m.Input, ","), strings.Join(m.Output, ","), words(m.Can), fate(m, today)}
	}
	return printTable(w, []string{"provider", "model", "context", "output", "takes", "gives", "can", "state"}, rows)
}

// tokens writes a limit, or - where it is not known.
func tokens(n int64) string {
	if n == 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

func words[S ~string](all []S) string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = string(s)
	}
	return strings.Join(out, ",")
}

// fate says whether a model is there to stay.
func fate(m *models.Model, today string) string {
	switch {
	case m.Retired(today):
		return "retired " + m.Retires
	case m.Retires != "":
		return "until " + m.Retires
	case m.Deprecated != "":
		return "deprecated " + m.Deprecated
	}
	return "current"
}

func (c *cli) modelsShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show [PROVIDER/]NAME", Short: "Show what is known of a model, with its prices", Args: cobra.ExactArgs(1),
		Long: `Shows the catalogue's row of a model at each provider that has it, where its facts
come from, and the prices that the configuration's price book has for it today.`,
		Example: "  sira models show gpt-4o-mini\n  sira models show anthropic/claude-haiku-4-5 --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			catalogue, err := models.Default()
			if err != nil {
				return err
			}
			found := lookUp(catalogue, args[0])
			if len(found) == 0 {
				return usageError{fmt.Errorf("the catalogue has no model %q; see sira models list", args[0])}
			}
			cfg, err := c.config()
			if err != nil {
				return err
			}
			book, err := cfg.PriceBook()
			if err != nil {
				return usageError{err}
			}
			now := time.Now()
			for i := range found {
				m := &found[i]
				sheet := modelSheet{Model: m, Checked: catalogue.Checked, Prices: pricesOf(book, m, now)}
				for _, key := range m.Source {
					sheet.Sources = append(sheet.Sources, catalogue.Sources[key])
				}
				if err := c.printSheet(cmd.OutOrStdout(), &sheet, now.UTC().Format(time.DateOnly)); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// lookUp finds a model by its name, alone or behind its provider's. Names of
// models may hold slashes of their own.
func lookUp(c *models.Catalogue, name string) []models.Model {
	if provider, model, ok := strings.Cut(name, "/"); ok {
		if m := c.Find(provider, model); m != nil {
			return []models.Model{*m}
		}
	}
	return c.Named(name)
}

// modelSheet is all that is known of a model.
type modelSheet struct {
	*models.Model
	Checked string          `json:"checked"`
	Sources []string        `json:"sources"`
	Prices  []cost.PriceRow `json:"prices,omitempty"`
}

func pricesOf(book *cost.Book, m *models.Model, now time.Time) []cost.PriceRow {
	return slices.DeleteFunc(book.RowsAt(now), func(r cost.PriceRow) bool {
		return r.Provider != m.Provider || r.Model != m.Model
	})
}

func (c *cli) printSheet(w io.Writer, s *modelSheet, today string) error {
	if c.json {
		return printJSON(w, s)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(t, "%s\t%s\n", name, text)
		}
	}
	fmt.Fprintf(t, "%s/%s\t%s\n", s.Provider, s.Model.Model, fate(s.Model, today))
	line("  also", strings.Join(s.Also, ", "))
	line("  operations", words(s.Operations))
	line("  takes", strings.Join(s.Input, ", "))
	line("  gives", strings.Join(s.Output, ", "))
	line("  context", tokens(s.Context))
	line("  max output", tokens(s.MaxOutput))
	line("  can", words(s.Can))
	line("  can't", words(s.Cannot))
	line("  replaced by", s.ReplacedBy)
	for i := range s.Prices {
		line("  price", priceText(&s.Prices[i]))
	}
	if len(s.Prices) == 0 {
		line("  price", "not in the price book")
	}
	line("  checked", s.Checked)
	for _, source := range s.Sources {
		line("  source", source)
	}
	return t.Flush()
}

// priceText writes a row of the price book in one line.
func priceText(r *cost.PriceRow) string {
	var parts []string
	for _, column := range []string{"input", "output", "cache_read", "cache_write", "cache_write_1h"} {
		if p, ok := r.Prices[column]; ok {
			parts = append(parts, column+" "+p.String())
		}
	}
	text := strings.Join(parts, ", ")
	if text != "" {
		text += fmt.Sprintf(" %s for %d tokens", r.Currency, r.Per)
	}
	units := make([]string, 0, len(r.Units))
	for unit, p := range r.Units {
		units = append(units, fmt.Sprintf("%s %s each of %s", p, r.Currency, unit))
	}
	slices.Sort(units)
	text = strings.Trim(text+"; "+strings.Join(units, "; "), "; ")
	if r.MaxInput > 0 {
		text += fmt.Sprintf(", up to %d tokens of input", r.MaxInput)
	}
	if r.Tier != "" {
		text += ", tier " + r.Tier
	}
	return text + ", from " + r.From
}

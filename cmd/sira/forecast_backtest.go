package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/handlers/cost/forecast"
)

// trace says how to read CSV files as one series.
type trace struct {
	time, value string
	step        time.Duration
}

func (c *cli) forecastBacktestCommand() *cobra.Command {
	var tr trace
	var cfg forecast.Config
	var start, stride int
	cmd := &cobra.Command{
		Use: "backtest FILE...", Short: "Measure forecasts on a past that they have not seen", Args: cobra.MinimumNArgs(1),
		Long: `Adds up the values of CSV files by step, forecasts from every --stride-th step on with
nothing but the steps before, and says how far off the forecasts were: the mean
absolute error, also as a share of the seasonal naive forecast's error on the same
steps and of the series's own seasonal changes (MASE), and how often the interval
held. A column is named as in the header or by its number, from 1. Times are
seconds or such as 2023-11-16 18:17:03. Without --value rows are counted.`,
		Example: `  sira forecast backtest trace/*-trace.csv --time 1 --value 2 --horizon 6 --start 120
  sira forecast backtest requests.csv --time TIMESTAMP --step 1m --season 10 --horizon 5`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cfg.Validate(); err != nil {
				return usageError{err}
			}
			series, err := tr.read(args)
			if err != nil {
				return usageError{err}
			}
			if start == 0 {
				start = max(2*cfg.Season+cfg.Horizon, len(series)/2)
			}
			r, err := forecast.Backtest(series, cfg, start, stride)
			if errors.Is(err, forecast.ErrTooShort) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			return c.printReport(cmd.OutOrStdout(), r)
		},
	}
	f := cmd.Flags()
	f.StringVar(&tr.time, "time", "1", "column of the time")
	f.StringVar(&tr.value, "value", "", "column of the value (default: count rows)")
	f.DurationVar(&tr.step, "step", time.Hour, "length of a step")
	f.IntVar(&cfg.Season, "season", 24, "steps after which things repeat")
	f.IntVar(&cfg.Horizon, "horizon", 24, "steps to look ahead")
	f.Float64Var(&cfg.Level, "level", 0.9, "share of cases that an interval is to hold in")
	f.IntVar(&start, "start", 0, "first step to forecast from (default: the middle)")
	f.IntVar(&stride, "stride", 6, "steps between forecasts")
	return cmd
}

// read returns the series from the first step to the last.
func (tr *trace) read(files []string) ([]float64, error) {
	if tr.step < time.Second {
		return nil, errors.New("--step: write at least 1s")
	}
	sums := make(map[int64]float64)
	for _, name := range files {
		if err := tr.add(sums, name); err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
	}
	if len(sums) == 0 {
		return nil, errors.New("there are no values")
	}
	first, last := int64(1<<62), int64(-1<<62)
	for at := range sums {
		first, last = min(first, at), max(last, at)
	}
	if last-first > 10_000_000 {
		return nil, fmt.Errorf("the series has %d steps: write a longer --step", last-first)
	}
	series := make([]float64, last-first+1)
	for at, v := range sums {
		series[at-first] = v
	}
	return series, nil
}

func (tr *trace) add(sums map[int64]float64, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	in := csv.NewReader(f)
	in.FieldsPerRecord, in.ReuseRecord = -1, true
	at, value := -1, -1
	for n := 1; ; n++ {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if n == 1 {
			header := slices.Clone(record)
			if at, err = place(header, tr.time); err != nil {
				return err
			}
			if value, err = place(header, tr.value); err != nil {
				return err
			}
			if _, ok := seconds(header[at]); !ok {
				continue // a header
			}
		}
		if at >= len(record) || value >= len(record) {
			return fmt.Errorf("line %d has too few columns", n)
		}
		when, ok := seconds(record[at])
		if !ok {
			return fmt.Errorf("line %d: %q is no time", n, record[at])
		}
		v := 1.0
		if value >= 0 {
			if v, err = strconv.ParseFloat(record[value], 64); err != nil {
				return fmt.Errorf("line %d: %q is no number", n, record[value])
			}
		}
		sums[int64(when/tr.step.Seconds())] += v
	}
}

// place returns the index of a column, or -1 for none.
func place(header []string, column string) (int, error) {
	if column == "" {
		return -1, nil
	}
	if i := slices.IndexFunc(header, func(h string) bool { return strings.EqualFold(strings.TrimSpace(h), column) }); i >= 0 {
		return i, nil
	}
	if n, err := strconv.Atoi(column); err == nil && n >= 1 && n <= len(header) {
		return n - 1, nil
	}
	return 0, fmt.Errorf("there is no column %q in %s", column, strings.Join(header, ","))
}

// seconds reads a time, as seconds of any clock.
func seconds(s string) (float64, bool) {
	if v, err := strconv.ParseFloat(s, 64); err == nil {
		return v, true
	}
	for _, layout := range []string{"2006-01-02 15:04:05.999999999", time.RFC3339Nano, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			return float64(t.UnixNano()) / 1e9, true
		}
	}
	return 0, false
}

func (c *cli) printReport(w io.Writer, r *forecast.Report) error {
	if c.json {
		return printJSON(w, r)
	}
	_, err := fmt.Fprintf(w, `%d steps, %d forecasts of %d steps in all
mean absolute error              %s
of the seasonal naive's          %.3f
of the seasonal change (MASE)    %.3f
inside the interval of %2.0f %%     %.1f %%
sums inside theirs               %.1f %%
models                           %v
`, r.Steps, r.Origins, r.Points, brief(r.MAE), r.Relative, r.MASE, 100*r.Level, 100*r.Coverage, 100*r.Sums, r.Chosen)
	return err
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"
)

// figures are what a run measured.
type figures struct {
	Requests    int      `json:"requests"`
	LoadSeconds float64  `json:"load_seconds"`
	CPUs        int      `json:"cpus"`
	Engine      string   `json:"engine"` // version
	Remark      string   `json:"remark"` // about the machine, for the page
	Answers     []answer `json:"answers"`
	Tables      []size   `json:"tables"`
}

// answer is how long one question took, from rollups and raw.
type answer struct {
	Question string `json:"question"`
	Rollup   took   `json:"rollup"`
	Raw      took   `json:"raw"`
}

// took is the best and the median of several rounds and the least processor time of
// one, of all threads, in milliseconds, and how much one round read.
type took struct {
	BestMS   float64 `json:"best_ms"`
	MedianMS float64 `json:"median_ms"`
	CPUMS    float64 `json:"cpu_ms"`
	Rows     uint64  `json:"rows_read"`
}

// size is what a table holds on disk.
type size struct {
	Table string `json:"table"`
	Rows  uint64 `json:"rows"`
	Bytes uint64 `json:"bytes"`
}

func (s size) perRow() float64 { return float64(s.Bytes) / float64(max(1, s.Rows)) }

// sizes returns all tables that hold rows of the load.
func (h *house) sizes(ctx context.Context) ([]size, error) {
	r, err := h.run(ctx, `SELECT table, sum(rows) AS rows, sum(bytes_on_disk) AS bytes FROM system.parts
WHERE active AND database = currentDatabase() AND table NOT IN ('schema_migrations', 'rollup_starts') GROUP BY table ORDER BY bytes DESC
SETTINGS output_format_json_quote_64bit_integers = 0`, "JSONEachRow")
	if err != nil {
		return nil, fmt.Errorf("asking for sizes: %w", err)
	}
	var out []size
	for d := json.NewDecoder(bytes.NewReader(r.Data)); d.More(); {
		var s size
		if err := d.Decode(&s); err != nil {
			return nil, fmt.Errorf("reading sizes: %w", err)
		}
		out = append(out, s)
	}
	return out, nil
}

// ask asks every question rounds times, after one round that is not counted.
func (h *house) ask(ctx context.Context, rounds int) ([]answer, error) {
	all, err := questions()
	if err != nil {
		return nil, err
	}
	out := make([]answer, 0, len(all))
	for _, q := range all {
		a := answer{Question: q.Name}
		if a.Rollup, err = h.time(ctx, q.Rollup, rounds); err != nil {
			return nil, fmt.Errorf("asking %s of rollups: %w", q.Name, err)
		}
		if a.Raw, err = h.time(ctx, q.Raw, rounds); err != nil {
			return nil, fmt.Errorf("asking %s of raw tables: %w", q.Name, err)
		}
		say("%-20s %6.1f ms, raw %6.1f ms", q.Name, a.Rollup.MedianMS, a.Raw.MedianMS)
		out = append(out, a)
	}
	return out, nil
}

func (h *house) time(ctx context.Context, sql string, rounds int) (took, error) {
	var t took
	var all, cpu []float64
	for i := range rounds + 1 {
		began, used := time.Now(), processorTime()
		// The engine remembers which parts of a table a condition left nothing of.
		r, err := h.run(ctx, at(sql, moment)+"\nSETTINGS use_query_condition_cache = 0", "")
		if err != nil {
			return t, err
		}
		if i > 0 {
			all = append(all, milliseconds(time.Since(began)))
			cpu = append(cpu, milliseconds(processorTime()-used))
		}
		t.Rows = r.ReadRows
	}
	slices.Sort(all)
	t.BestMS, t.MedianMS, t.CPUMS = all[0], all[len(all)/2], slices.Min(cpu)
	return t, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// processorTime is what this process has used so far.
func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // there is nothing to be done about it
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// table is what a run prints.
func (f *figures) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-20s %12s %9s %9s %11s   %12s %9s %9s %11s\n", "ms", "rollup best", "median", "CPU", "rows read", "raw best", "median", "CPU", "rows read")
	for _, a := range f.Answers {
		fmt.Fprintf(&b, "%-20s %12.1f %9.1f %9.1f %11d   %12.1f %9.1f %9.1f %11d\n", a.Question,
			a.Rollup.BestMS, a.Rollup.MedianMS, a.Rollup.CPUMS, a.Rollup.Rows, a.Raw.BestMS, a.Raw.MedianMS, a.Raw.CPUMS, a.Raw.Rows)
	}
	fmt.Fprintf(&b, "\n%-20s %12s %12s %12s\n", "table", "rows", "MiB", "bytes/row")
	for _, t := range f.Tables {
		fmt.Fprintf(&b, "%-20s %12d %12.1f %12.1f\n", t.Table, t.Rows, float64(t.Bytes)/(1<<20), t.perRow())
	}
	return b.String()
}

// faults returns the answers that took longer than they may. The best round
// counts: what else runs on the machine can only add.
func (f *figures) faults(rollup, raw time.Duration) error {
	var errs []error
	for _, a := range f.Answers {
		for _, t := range []struct {
			from  string
			took  took
			limit time.Duration
		}{{"rollups", a.Rollup, rollup}, {"raw tables", a.Raw, raw}} {
			if limit := milliseconds(t.limit); t.took.BestMS > limit {
				errs = append(errs, fmt.Errorf("%s from %s took %.0f ms, more than %.0f", a.Question, t.from, t.took.BestMS, limit))
			}
		}
	}
	return errors.Join(errs...)
}

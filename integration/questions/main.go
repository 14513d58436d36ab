// Command questions loads a fortnight of made-up traffic into an embedded
// ClickHouse, asks ten questions that data teams ask, of the rollups and of the raw
// tables, and fails if an answer takes too long. It also says how large a row of
// each table is on disk.
//
// docs/questions.md shows the questions and what was measured.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// config is what the flags say.
type config struct {
	rows        int
	rounds      int
	dir         string
	rollup, raw time.Duration
	figures     string
	remark      string
}

func main() {
	var c config
	flag.IntVar(&c.rows, "rows", 5_000_000, "requests to load")
	flag.IntVar(&c.rounds, "rounds", 5, "how often each question is asked")
	flag.StringVar(&c.dir, "dir", "", "folder for the data; kept, and not loaded again if it is full (default: a temporary one)")
	flag.DurationVar(&c.rollup, "rollup", 100*time.Millisecond, "limit of an answer from rollups")
	flag.DurationVar(&c.raw, "raw", time.Second, "limit of an answer from raw tables")
	flag.StringVar(&c.figures, "figures", "", "`file` to write the figures to, as JSON")
	flag.StringVar(&c.remark, "remark", "nothing else running", "what to say about the machine in the figures")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "questions:", err)
		stop()
		os.Exit(1)
	}
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func run(ctx context.Context, c config) (err error) {
	h, err := open(ctx, c.dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, h.engine.Close()) }()
	f := figures{Requests: c.rows, CPUs: runtime.NumCPU(), Engine: h.engine.Version(), Remark: c.remark}
	if err := h.fill(ctx, c.rows, &f); err != nil {
		return err
	}
	if f.Tables, err = h.sizes(ctx); err != nil {
		return err
	}
	if f.Answers, err = h.ask(ctx, c.rounds); err != nil {
		return err
	}
	fmt.Print(f.table())
	if c.figures != "" {
		text, err := json.MarshalIndent(f, "", " ")
		if err != nil {
			return fmt.Errorf("writing figures: %w", err)
		}
		if err := os.WriteFile(c.figures, append(text, '\n'), 0o600); err != nil {
			return fmt.Errorf("writing figures: %w", err)
		}
	}
	return f.faults(c.rollup, c.raw)
}

// fill loads the tables and merges them, unless they are full already.
func (h *house) fill(ctx context.Context, n int, f *figures) error {
	tables, err := h.sizes(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(tables, func(t size) bool { return t.Table == "requests" && t.Rows == uint64(n) }) {
		return nil
	}
	if len(tables) > 0 {
		return fmt.Errorf("the folder holds another load, of %d rows in %s; name an empty one", tables[0].Rows, tables[0].Table)
	}
	began := time.Now()
	if err := h.load(ctx, n, say); err != nil {
		return err
	}
	f.LoadSeconds = time.Since(began).Seconds()
	if tables, err = h.sizes(ctx); err != nil {
		return err
	}
	say("loaded in %.0f s; merging", f.LoadSeconds)
	return h.settle(ctx, tables)
}

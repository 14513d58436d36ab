// Command soak sends millions of requests through Sira on this machine, broker,
// provider and workers each in processes of their own, and fails if one is lost or
// doubled, or if memory or goroutines of a worker grow.
//
// Figures go to a table and, as the last line of standard output, to one line of
// JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sira-ai/sira/integration"
)

func main() {
	own := integration.SoakConfig{Say: func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }}
	flag.IntVar(&own.Requests, "requests", 2_000_000, "how many")
	flag.IntVar(&own.Workers, "workers", 2, "processes")
	flag.IntVar(&own.Window, "window", 10_000, "requests that are sent and not answered, at most")
	flag.DurationVar(&own.Limit, "limit", 2*time.Hour, "of the whole")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, own); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, own integration.SoakConfig) (err error) {
	dir, err := os.MkdirTemp("", "sira-soak-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	own.Say("building sira")
	program, err := integration.Build(ctx, dir)
	if err != nil {
		return err
	}
	site, err := integration.NewSite(ctx, program, dir)
	if err != nil {
		return err
	}
	defer site.Close()
	s, err := site.Soak(ctx, own)
	if err != nil {
		return err
	}
	fmt.Printf("%d requests in %.0f s (%.0f/s), at most %d in between\n", s.Requests, s.Seconds, s.PerSecond, s.Lag)
	fmt.Printf("results: %d lost, %d doubled; costs: %d lost, %d doubled\n", s.LostResults, s.DoubledResults, s.LostCosts, s.DoubledCosts)
	for _, w := range s.Workers {
		fmt.Printf("%s: %.0f MiB, %+.1f MiB over the run (%+.1f bytes a request); %.0f goroutines, %+.0f over the run\n",
			w.Process, w.ResidentMiB, w.ResidentGrowth, w.ResidentSlope, w.Goroutines, w.GoroutinesGrowth)
	}
	text, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("writing figures: %w", err)
	}
	fmt.Println(string(text))
	return s.Faults()
}

// Command bench measures the gateway next to what stands in for it when there is
// none: a loop of a Kafka client and an HTTP client with the same inputs, outputs
// and guarantees. Broker, provider, worker and loop are processes of their own.
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
	"slices"
	"syscall"
	"time"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/integration"
)

// figures are the outcome. The order is that of the JSON line.
type figures struct {
	RatioBareLoop float64 `json:"ratio_bare_loop"` // requests/s of Sira over those of the bare loop

	BarePerSecond float64 `json:"bare_requests_per_second"`
	SiraPerSecond float64 `json:"sira_requests_per_second"`
	BareCPU       float64 `json:"bare_cpu_us_per_request"` // of the loop's process
	SiraCPU       float64 `json:"sira_cpu_us_per_request"` // of the worker's process
	Requests      int     `json:"requests"`

	InFlight   int     `json:"slow_calls_in_flight"`
	BareRSS    float64 `json:"bare_rss_mib"`
	SiraRSS    float64 `json:"sira_rss_mib"`
	RatioRSS   float64 `json:"ratio_rss"`
	AddedP50   float64 `json:"added_p50_ms"` // request record's timestamp to the result's visibility, provider latency 0
	AddedP99   float64 `json:"added_p99_ms"`
	FlushMS    float64 `json:"flush_interval_ms"`
	AtRate     int     `json:"added_at_requests_per_second"`
	RecorderPS float64 `json:"recorder_rows_per_second"`
	InsertPS   float64 `json:"bare_insert_rows_per_second"`
	RatioRec   float64 `json:"ratio_recorder"`

	Forms []formFigures `json:"forms,omitempty"` // of the part of that name
}

// bench is one run of all parts on one site.
type bench struct {
	*integration.Site
	cfg      app.Config
	self     string // this program
	requests int
	rounds   int
	inFlight int
	floor    float64 // of the ratio to the bare loop
	profile  string  // where to keep the worker's CPU profile
	samples  string  // file of what Sira wrote, for the bare loop
	out      figures
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == bareCommand {
		exit(runBare(os.Args[2]))
	}
	b := &bench{}
	quick := flag.Bool("quick", false, "a short run: a tenth of everything")
	part := flag.String("part", "", "only one part: throughput, memory, latency, recorder or, which the others do not include, forms")
	flag.IntVar(&b.requests, "requests", 60_000, "requests of one measurement")
	flag.IntVar(&b.rounds, "rounds", 7, "pairs of measurements")
	flag.StringVar(&b.profile, "profile", "", "file for a CPU profile of the worker")
	flag.Float64Var(&b.floor, "floor", 0, "fail if the ratio to the bare loop is lower")
	flag.Parse()
	b.inFlight = 10_000
	if *quick {
		b.requests, b.rounds, b.inFlight = b.requests/10, 1, b.inFlight/10
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	exit(b.run(ctx, *part))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (b *bench) run(ctx context.Context, only string) (err error) {
	dir, err := os.MkdirTemp("", "sira-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	say("building sira")
	program, err := integration.Build(ctx, dir)
	if err != nil {
		return err
	}
	if b.Site, err = integration.NewSite(ctx, program, dir); err != nil {
		return err
	}
	defer b.Close()
	b.Shared["kafka"].(integration.Document)["retry"] = []string{}
	if _, err := b.Start(ctx, "broker", "kafka,registry", nil); err != nil {
		return err
	}
	if _, err := b.Start(ctx, "provider", "simulator", nil); err != nil {
		return err
	}
	if b.cfg, err = b.Config(); err != nil {
		return err
	}
	parts := []struct {
		name  string
		run   func(context.Context) error
		asked bool // runs only when it is asked for
	}{
		{"throughput", b.throughput, false},
		{"memory", b.memory, false},
		{"latency", b.latency, false},
		{"recorder", b.recorder, false},
		{"forms", b.forms, true},
	}
	for _, p := range parts {
		if only != p.name && (only != "" || p.asked) {
			continue
		}
		if err := p.run(ctx); err != nil {
			return fmt.Errorf("measuring %s: %w", p.name, err)
		}
	}
	return b.report()
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (b *bench) report() error {
	o := &b.out
	rows := []struct {
		what       string
		sira, bare float64
		unit       string
		ratio      float64
	}{
		{"throughput", o.SiraPerSecond, o.BarePerSecond, "requests/s", o.RatioBareLoop},
		{"CPU of the process", o.SiraCPU, o.BareCPU, "us/request", quotient(o.SiraCPU, o.BareCPU)},
		{fmt.Sprintf("memory with %d slow calls", o.InFlight), o.SiraRSS, o.BareRSS, "MiB", o.RatioRSS},
		{"recorder against bare inserts", o.RecorderPS, o.InsertPS, "rows/s", o.RatioRec},
	}
	fmt.Printf("%-32s %10s %10s  %-11s %6s\n", "", "Sira", "bare", "", "ratio")
	for _, r := range rows {
		if r.sira == 0 && r.bare == 0 { // of a part that did not run
			continue
		}
		fmt.Printf("%-32s %10.0f %10.0f  %-11s %6.2f\n", r.what, r.sira, r.bare, r.unit, r.ratio)
	}
	if o.AtRate > 0 {
		fmt.Printf("%-32s p50 %.1f ms, p99 %.1f ms (flush interval %.0f ms, %d requests/s)\n", "added latency", o.AddedP50, o.AddedP99, o.FlushMS, o.AtRate)
	}
	for _, f := range o.Forms {
		fmt.Printf("%-32s %10.0f %10.0f  requests/s, and for each core of the worker\n", f.Form, f.PerSecond, f.PerCore)
		for _, flush := range flushIntervals {
			l := f.Added[flush.String()]
			fmt.Printf("%-32s p50 %.1f ms, p99 %.1f ms, p99.9 %.1f ms\n", "  added, flush interval "+flush.String(), l.P50, l.P99, l.P999)
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(o); err != nil {
		return fmt.Errorf("writing figures: %w", err)
	}
	if o.RatioBareLoop < b.floor {
		return fmt.Errorf("the ratio to the bare loop is %.2f, below %.2f", o.RatioBareLoop, b.floor)
	}
	return nil
}

func quotient(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	switch {
	case n == 0:
		return 0
	case n%2 == 1:
		return v[n/2]
	}
	return (v[n/2-1] + v[n/2]) / 2
}

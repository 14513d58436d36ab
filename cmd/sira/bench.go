package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/cmd/sira/bench"
	"github.com/sira-ai/sira/pipeline/kafka"
	"github.com/sira-ai/sira/schemas/avro"
)

// benchFlags shape a run.
type benchFlags struct {
	rate, trace, model, lane, tenant string
	length, wait                     time.Duration
	speed                            float64
	poisson, paid                    bool
	seed                             uint64
	tenants                          int
	formats, streams                 []string
	models                           map[string]string
	save, report                     string
}

func (c *cli) benchCommand() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure a running Sira under load", Args: cobra.NoArgs,
		Long: `Puts requests on a lane's topic at a rate, a ramp of rates, or at the times of a
trace, whatever the answers take, and measures how long after its intended time the
result of each was visible to a reader of committed records. What could not be sent
in time is late: no latency is left out by waiting for the one before.

By default requests are sent in turns as JSON and as Avro, whole and streamed, and
measured apart. docs/bench.md tells how to read the figures. Requests go to the
providers of the configuration; unless these are on this machine, --paid has to say
that they may cost money. Exit code 3 if a result is lost or came twice.`,
		Example: `  sira bench --rate 200 --for 30s
  sira bench --rate 50..500 --for 2m --save before.json --report before.html
  sira bench --trace trace.csv --speed 60 --wait 2m
  sira bench compare before.json after.json`,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.bench(cmd, f) },
	}
	fl := cmd.Flags()
	fl.StringVarP(&f.rate, "rate", "r", "100", "requests a second, such as 200, or a ramp, such as 50..500")
	fl.DurationVar(&f.length, "for", 10*time.Second, "how long; a trace is cut off there (default of a trace: all of it)")
	fl.StringVar(&f.trace, "trace", "", "CSV file of arrivals in place of a rate")
	fl.Float64Var(&f.speed, "speed", 1, "how many times as fast as it was a trace is played")
	fl.BoolVar(&f.poisson, "poisson", false, "requests of a rate arrive independently of each other instead of evenly")
	fl.Uint64Var(&f.seed, "seed", 1, "seed of --poisson")
	fl.StringSliceVar(&f.formats, "format", []string{bench.JSON, bench.Avro}, "formats of requests: json, avro")
	fl.StringSliceVar(&f.streams, "stream", []string{"no", "yes"}, "whether answers are streamed: no, yes, or both")
	fl.StringVarP(&f.model, "model", "m", "gpt-4o-mini", "model of the configuration")
	fl.StringToStringVar(&f.models, "models", nil, "models for the names of a trace, such as GPT-4=gpt-4o")
	fl.StringVarP(&f.lane, "lane", "l", "standard", "lane")
	fl.StringVarP(&f.tenant, "tenant", "t", "bench", "who is served and billed")
	fl.IntVar(&f.tenants, "tenants", 1, "how many tenants share the requests")
	fl.DurationVar(&f.wait, "wait", 30*time.Second, "how long to wait for results after the last request")
	fl.BoolVar(&f.paid, "paid", false, "ask providers that are not on this machine, and may send a bill")
	fl.StringVarP(&f.save, "save", "o", "", "file to keep the run in, for compare")
	fl.StringVar(&f.report, "report", "", "file for a report in HTML")
	cmd.AddCommand(c.benchCompareCommand())
	return cmd
}

// schedule returns when requests are sent, and that in words.
func (f *benchFlags) schedule(cmd *cobra.Command) ([]bench.Arrival, string, error) {
	if f.trace == "" {
		if cmd.Flags().Changed("speed") {
			return nil, "", errors.New("--speed is for --trace; a rate is what it says")
		}
		rate, err := bench.ParseRate(f.rate)
		if err != nil {
			return nil, "", fmt.Errorf("--rate: %w", err)
		}
		arrivals, err := rate.Schedule(f.length, f.poisson, f.seed)
		load := fmt.Sprintf("%s requests/s for %s", rate, f.length)
		if f.poisson {
			load += ", poisson"
		}
		return arrivals, load, err
	}
	if cmd.Flags().Changed("rate") || f.poisson {
		return nil, "", errors.New("a trace has its own times: write either --trace, or --rate and --poisson")
	}
	if !(f.speed > 0) {
		return nil, "", errors.New("--speed: write a number above 0, such as 60 for an hour in a minute")
	}
	file, err := os.Open(f.trace)
	if err != nil {
		return nil, "", fmt.Errorf("--trace: %w", err)
	}
	defer file.Close()
	arrivals, err := bench.ReadTrace(file)
	if err != nil {
		return nil, "", fmt.Errorf("--trace %s: %w", f.trace, err)
	}
	length := time.Duration(0)
	if cmd.Flags().Changed("for") {
		length = f.length
	}
	arrivals = bench.Compress(arrivals, f.speed, length)
	return arrivals, fmt.Sprintf("trace %s at %g times its speed, %d requests", filepath.Base(f.trace), f.speed, len(arrivals)), nil
}

func (f *benchFlags) kinds() ([]bench.Kind, error) {
	var out []bench.Kind
	for _, format := range f.formats {
		if format != bench.JSON && format != bench.Avro {
			return nil, fmt.Errorf("--format %s: write json, avro, or both as json,avro", format)
		}
		for _, s := range f.streams {
			if s != "no" && s != "yes" {
				return nil, fmt.Errorf("--stream %s: write no, yes, or both as no,yes", s)
			}
			out = append(out, bench.Kind{Format: format, Stream: s == "yes"})
		}
	}
	if len(out) == 0 {
		return nil, errors.New("--format and --stream: name one of each at least")
	}
	slices.SortFunc(out, func(a, b bench.Kind) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(out), nil
}

// behind is from how many milliseconds on late sending is worth a word.
const behind = 10

func (c *cli) bench(cmd *cobra.Command, f benchFlags) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	run, load, err := c.benchConfig(cmd, cfg, &f)
	if err != nil {
		return usageError{err}
	}
	ctx := cmd.Context()
	if err := c.prepareBench(ctx, cfg, run); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%d requests: %s, to %s on lane %s …\n", len(run.Schedule), load, f.model, f.lane)
	bar := newBar(cmd.ErrOrStderr(), len(run.Schedule), "answered")
	run.Progress = func(sent, settled int) {
		bar.Describe(fmt.Sprintf("%d sent, answered", sent))
		_ = bar.Set(settled)
	}
	r, err := run.Do(ctx)
	_ = bar.Close()
	if err != nil {
		return err
	}
	r.Program, r.Load, r.Model, r.Lane, r.Kinds, r.Tenants = version, load, f.model, f.lane, run.Kinds, f.tenants
	r.Machine = fmt.Sprintf("%s/%s, %d cores", runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if err := keepRun(r, f.save, f.report); err != nil {
		return err
	}
	if err := c.printRun(cmd.OutOrStdout(), r); err != nil {
		return err
	}
	if r.SentLate.P99 > behind {
		fmt.Fprintf(cmd.ErrOrStderr(), "this process itself was %.0f ms behind its schedule at the 99th percentile: so much of the latency may be its own, or that of the broker\n", r.SentLate.P99)
	}
	if r.Lost+r.Doubled > 0 {
		return findingError{fmt.Errorf("%d requests have no result after %s, %d results came twice", r.Lost, f.wait, r.Doubled)}
	}
	return nil
}

// benchConfig turns flags into a run.
func (c *cli) benchConfig(cmd *cobra.Command, cfg app.Config, f *benchFlags) (*bench.Config, string, error) {
	if err := knownLane(cfg, f.lane); err != nil {
		return nil, "", err
	}
	if f.tenants < 1 || f.wait <= 0 {
		return nil, "", errors.New("--tenants and --wait: write positive values")
	}
	kinds, err := f.kinds()
	if err != nil {
		return nil, "", err
	}
	arrivals, load, err := f.schedule(cmd)
	if err != nil {
		return nil, "", err
	}
	if away := elsewhere(cfg); len(away) > 0 && !f.paid {
		return nil, "", fmt.Errorf("%d requests might go to %s, which are not on this machine and may send a bill: add --paid if they may, or use a configuration with simulated providers (docs/bench.md)",
			len(arrivals), strings.Join(away, ", "))
	}
	return &bench.Config{
		Client: cfg.Client(), Requests: cfg.RequestTopic(f.lane), Results: cfg.Topic(app.TopicResults), Chunks: cfg.Topic(app.TopicChunks),
		Schedule: arrivals, Kinds: kinds, Model: f.model, Models: f.models, Tenant: f.tenant, Tenants: f.tenants,
		Labels: map[string]string{"source": "sira-bench"}, Wait: f.wait,
	}, load, nil
}

// elsewhere names the providers that calls might leave this machine for.
func elsewhere(cfg app.Config) []string {
	var out []string
	for _, p := range cfg.Providers {
		own := []app.Settings{p.Settings}
		for _, e := range p.Endpoints {
			if _, ok := e.Settings["base_url"]; ok {
				own = append(own, e.Settings)
			}
		}
		if len(own) > 1 && len(own)-1 == len(p.Endpoints) {
			own = own[1:] // every endpoint has an address of its own
		}
		if p.Discover != nil || slices.ContainsFunc(own, func(s app.Settings) bool { return !onLoopback(s["base_url"]) }) {
			out = append(out, p.Name)
		}
	}
	return out
}

func onLoopback(baseURL any) bool {
	text, _ := baseURL.(string)
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	return u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
}

// prepareBench looks whether Kafka answers and registers what Avro needs.
func (c *cli) prepareBench(ctx context.Context, cfg app.Config, run *bench.Config) error {
	cl, codecs, registry, err := c.clients(cfg)
	if err != nil {
		return err
	}
	defer cl.Close()
	if err := ping(ctx, cl, cfg); err != nil {
		return err
	}
	if _, err := kafka.ListTopics(ctx, cl, []string{run.Requests}); err != nil {
		return fmt.Errorf("%w; `sira topics create` makes it", err)
	}
	run.Codecs = codecs
	if slices.ContainsFunc(run.Kinds, func(k bench.Kind) bool { return k.Format == bench.Avro }) {
		if err := codecs.Register(ctx, registry, avro.Topics{Requests: []string{run.Requests}}); err != nil {
			return fmt.Errorf("registering the schema of requests: %w; --format json does without", err)
		}
	}
	return nil
}

// keepRun writes the files that were asked for.
func keepRun(r *bench.Run, save, report string) error {
	if save != "" {
		if err := r.Save(save); err != nil {
			return err
		}
	}
	if report == "" {
		return nil
	}
	return writeReport(report, []string{r.Name}, r)
}

func writeReport(path string, names []string, runs ...*bench.Run) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return bench.WriteReport(f, names, runs...)
}

func (c *cli) printRun(w io.Writer, r *bench.Run) error {
	if c.json {
		return printJSON(w, r)
	}
	fmt.Fprintf(w, "%d requests, %d answered in %.1f s (%.1f/s), %d failed, %d lost, %d doubled\n", r.Requests, r.Answered, r.Seconds, r.AnsweredPerSecond, r.Failed, r.Lost, r.Doubled)
	for _, code := range slices.Sorted(maps.Keys(r.Failures)) {
		fmt.Fprintf(w, "  failed %s: %d\n", code, r.Failures[code])
	}
	fmt.Fprint(w, "\nmilliseconds from the intended time of sending to the visible result\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "requests\tmean\tp50\tp90\tp99\tp99.9\thighest\t\t")
	row := func(s *bench.Series) {
		fmt.Fprintf(t, "%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t\t%s\n", s.Count, s.Mean, s.P50, s.P90, s.P99, s.P999, s.Max, s.Name)
	}
	for i := range r.Latency {
		row(&r.Latency[i])
	}
	if r.FirstText != nil {
		row(r.FirstText)
	}
	row(&r.SentLate)
	return t.Flush()
}

func (c *cli) benchCompareCommand() *cobra.Command {
	var report string
	limit := 0.0
	cmd := &cobra.Command{
		Use: "compare A B", Short: "Compare two saved runs", Args: cobra.ExactArgs(2),
		Long: `Prints the percentiles of two runs that sira bench has saved, and whether B is slower or
faster than A by more than the two runs leave uncertain: the ranges of 95 % confidence
do not meet. With --limit, exit code 3 if one is slower by more than so many percent.`,
		Example: `  sira bench compare before.json after.json
  sira bench compare before.json after.json --limit 10 --report change.html`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var runs [2]*bench.Run
			for i, path := range args {
				var err error
				if runs[i], err = bench.Open(path); err != nil {
					return usageError{err}
				}
			}
			if report != "" {
				if err := writeReport(report, []string{filepath.Base(args[0]), filepath.Base(args[1])}, runs[:]...); err != nil {
					return err
				}
			}
			return c.compareRuns(cmd, runs, limit)
		},
	}
	cmd.Flags().StringVar(&report, "report", "", "file for a report in HTML")
	cmd.Flags().Float64Var(&limit, "limit", 0, "percent that B may be slower; 0: any")
	return cmd
}

func (c *cli) compareRuns(cmd *cobra.Command, runs [2]*bench.Run, limit float64) error {
	differences, err := bench.Compare(runs[0], runs[1])
	if err != nil {
		return err
	}
	for _, u := range bench.Unlike(runs[0], runs[1]) {
		fmt.Fprintf(cmd.ErrOrStderr(), "the runs differ in %s\n", u)
	}
	if c.json {
		for _, d := range differences {
			if err := printJSON(cmd.OutOrStdout(), d); err != nil {
				return err
			}
		}
	} else if err := printDifferences(cmd.OutOrStdout(), runs, differences); err != nil {
		return err
	}
	if limit <= 0 {
		return nil
	}
	if d, found := bench.Worst(differences, limit/100); found {
		return findingError{fmt.Errorf("%s: percentile %g is %.0f %% slower", d.Series, d.Percentile, 100*d.Change)}
	}
	return nil
}

func printDifferences(w io.Writer, runs [2]*bench.Run, differences []bench.Difference) error {
	var rows [][]any
	for _, d := range differences {
		rows = append(rows, []any{d.Series, "p" + strconv.FormatFloat(d.Percentile, 'g', -1, 64), d.A, d.B, fmt.Sprintf("%+.1f %%", 100*d.Change), d.Verdict})
	}
	if err := printTable(w, []string{"requests", "percentile", "A, ms", "B, ms", "change", "verdict"}, rows); err != nil {
		return err
	}
	a, b := runs[0], runs[1]
	_, err := fmt.Fprintf(w, "\nlost %d and %d, doubled %d and %d, failed %d and %d, answered %.1f/s and %.1f/s\n",
		a.Lost, b.Lost, a.Doubled, b.Doubled, a.Failed, b.Failed, a.AnsweredPerSecond, b.AnsweredPerSecond)
	return err
}

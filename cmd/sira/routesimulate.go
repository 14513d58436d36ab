package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/handlers/routing/replay"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// asConfigured is the policy of the configuration's own routes.
const asConfigured = "config"

type simulation struct {
	trace, world, model string
	policies            []string
	limit, attempts     int
	seed                uint64
}

func (c *cli) routeSimulateCommand() *cobra.Command {
	var s simulation
	cmd := &cobra.Command{
		Use: "simulate", Short: "Compare policies on a trace of requests", Args: cobra.NoArgs,
		Long: `Sends the requests of a trace through the routes of a configuration, or through single
strategies, and compares cost, latency and failures. Nobody is called: a world says
how targets answer, and which get worse for a while. The same seed gives the same
outcome, and every policy meets the same luck.

The trace is CSV with a header (time, input_tokens, output_tokens, and perhaps model
and tenant; the names of Azure's and BurstGPT's traces are known too) or JSON objects
with these keys, one a line.

A policy is config (the routes as they are), a kind of strategy, or a kind with
settings in JSON, such as 'fastest={"explore":0.05}'.

A world is YAML:
  targets:     # how a target answers; the first that fits counts
    - {target: openai/*, first_token: 400ms, per_token: 9ms, failures: 0.004, spread: 0.3}
  degraded:    # from and to are shares of the trace's time
    - {target: openai/gpt-4o-mini, from: 0.33, to: 0.66, slower: 8, failures: 0.25}
Without one all targets answer alike (500ms, 10ms a token, 0.5 % failures) and the
first target of the model is degraded as above.`,
		Example: `  sira route simulate --trace trace.csv --model gpt-4o-mini
  sira route simulate --trace trace.jsonl --config sira.yaml --policy config --policy cheapest --world world.yaml
  sira route simulate --trace trace.csv --limit 5000 --seed 7 --json`,
		RunE: func(cmd *cobra.Command, _ []string) error { return c.simulate(cmd.OutOrStdout(), s) },
	}
	f := cmd.Flags()
	f.StringVar(&s.trace, "trace", "", "file with the trace")
	f.StringVar(&s.world, "world", "", "file that says how targets answer")
	f.StringVar(&s.model, "model", "", "model of requests that name none of the configuration's (default: the first of the configuration)")
	f.StringArrayVar(&s.policies, "policy", []string{"priority", "weighted", "cheapest", "fastest", "best_of"}, "policy to compare; may be given several times")
	f.IntVar(&s.limit, "limit", 0, "read at most so many requests (default: all)")
	f.IntVar(&s.attempts, "attempts", 3, "targets that a request is tried at")
	f.Uint64Var(&s.seed, "seed", 1, "of all luck")
	return cmd
}

func (c *cli) simulate(w io.Writer, s simulation) error {
	if s.trace == "" {
		return usageError{errors.New("--trace is missing: name a file with a trace")}
	}
	cfg, err := c.config()
	if err != nil {
		return err
	}
	models := cfg.RoutingModels()
	if s.model == "" && len(models) > 0 {
		s.model = models[0].Name
	}
	at := slices.IndexFunc(models, func(m routing.ModelConfig) bool { return m.Name == s.model })
	if at < 0 {
		return usageError{fmt.Errorf("--model: there is no model %q", s.model)}
	}
	world, err := s.readWorld(models[at])
	if err != nil {
		return usageError{err}
	}
	f, err := os.Open(s.trace)
	if err != nil {
		return usageError{err}
	}
	defer f.Close()
	arrivals, err := replay.ReadTrace(f, s.limit)
	if err != nil {
		return usageError{fmt.Errorf("reading %s: %w", s.trace, err)}
	}
	for i := range arrivals { // the names of someone else's models
		if !slices.ContainsFunc(models, func(m routing.ModelConfig) bool { return m.Name == arrivals[i].Model }) {
			arrivals[i].Model = ""
		}
	}
	var all []*replay.Outcome
	for _, policy := range s.policies {
		one, err := s.run(cfg, policy, world, arrivals)
		if err != nil {
			return err
		}
		all = append(all, one)
	}
	if !c.json {
		return printOutcomes(w, all)
	}
	for _, one := range all {
		if err := printJSON(w, one); err != nil {
			return err
		}
	}
	return nil
}

func (s *simulation) run(cfg app.Config, policy string, world replay.World, arrivals []replay.Arrival) (*replay.Outcome, error) {
	if policy != asConfigured {
		kind, settings, _ := strings.Cut(policy, "=")
		cfg.Routes = []routing.RouteConfig{{Name: kind, Strategy: kind, Settings: catalog.Settings(settings)}}
	}
	prices, err := cfg.RoutingPrices()
	if err != nil {
		return nil, usageError{err}
	}
	measured := new(routing.Measured)
	router, err := cfg.Router(catalog.Env{}, routing.Sources{Prices: prices, Health: measured})
	if err != nil {
		return nil, usageError{fmt.Errorf("policy %s: %w", policy, err)}
	}
	return replay.Run(policy, router, measured, prices, world, s.model, arrivals)
}

// worldFile is how targets answer.
type worldFile struct {
	Targets []struct {
		Target     string        `yaml:"target"`
		FirstToken time.Duration `yaml:"first_token"`
		PerToken   time.Duration `yaml:"per_token"`
		Failures   float64       `yaml:"failures"`
		Spread     float64       `yaml:"spread"`
	} `yaml:"targets"`
	Degraded []struct {
		Target   string  `yaml:"target"`
		From     float64 `yaml:"from"`
		To       float64 `yaml:"to"`
		Slower   float64 `yaml:"slower"`
		Failures float64 `yaml:"failures"`
	} `yaml:"degraded"`
}

func (s *simulation) readWorld(model routing.ModelConfig) (replay.World, error) {
	w := replay.World{Attempts: s.attempts, Seed: s.seed, Start: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)}
	if s.world == "" {
		first := model.Targets[0]
		sick, err := routing.ParseSelector(first.Provider + "/" + first.Model)
		if err != nil {
			return w, err
		}
		w.Degraded = []replay.Degradation{{Target: sick, From: 0.33, To: 0.66, Slower: 8, Failures: 0.25}}
		return w, nil
	}
	b, err := os.ReadFile(s.world)
	if err != nil {
		return w, err
	}
	if err := parseWorld(b, &w); err != nil {
		return w, fmt.Errorf("reading %s: %w", s.world, err)
	}
	return w, nil
}

func parseWorld(b []byte, w *replay.World) (err error) {
	defer func() {
		if recover() != nil { // the YAML library panics on some tags that do not fit their value
			err = errors.New("is not readable; write it as plain YAML, without a tag")
		}
	}()
	var file worldFile
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	for i, t := range file.Targets {
		target, err := routing.ParseSelector(t.Target)
		if err != nil {
			return fmt.Errorf("targets[%d].target: %w", i, err)
		}
		if t.FirstToken < 0 || t.PerToken < 0 || !(t.Failures >= 0 && t.Failures <= 1) || !(t.Spread >= 0 && t.Spread <= 3) {
			return fmt.Errorf("targets[%d]: durations can't be negative, failures are from 0 to 1, spread is from 0 to 3", i)
		}
		w.Targets = append(w.Targets, replay.Behaviour{
			Target: target, FirstToken: t.FirstToken, PerToken: t.PerToken, Failures: t.Failures, Spread: t.Spread,
		})
	}
	for i, d := range file.Degraded {
		target, err := routing.ParseSelector(d.Target)
		if err != nil {
			return fmt.Errorf("degraded[%d].target: %w", i, err)
		}
		if !(d.From >= 0 && d.From < d.To && d.To <= 1) || !(d.Failures >= 0 && d.Failures <= 1) || !(d.Slower >= 0 && d.Slower <= 1000) {
			return fmt.Errorf("degraded[%d]: from is from 0 and below to, which is at most 1; failures are from 0 to 1, slower to 1000", i)
		}
		w.Degraded = append(w.Degraded, replay.Degradation{Target: target, From: d.From, To: d.To, Slower: d.Slower, Failures: d.Failures})
	}
	return nil
}

func printOutcomes(w io.Writer, all []*replay.Outcome) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "policy\trequests\tfailed\tfell over\tp50\tp99\tcost\tfirst target")
	for _, o := range all {
		share := func(n int) string { return fmt.Sprintf("%.2f %%", 100*float64(n)/float64(max(o.Requests, 1))) }
		var cost, first []string
		for _, currency := range keys(o.Cost) {
			cost = append(cost, o.Cost[currency].StringFixed(2)+" "+currency)
		}
		if o.Unpriced > 0 {
			cost = append(cost, fmt.Sprintf("%d unpriced", o.Unpriced))
		}
		for _, target := range keys(o.First) {
			first = append(first, target+" "+share(o.First[target]))
		}
		fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", o.Policy, o.Requests, share(o.Failed), share(o.Fallback),
			o.P50.Round(time.Millisecond), o.P99.Round(time.Millisecond), strings.Join(cost, ", "), strings.Join(first, ", "))
	}
	return tw.Flush()
}

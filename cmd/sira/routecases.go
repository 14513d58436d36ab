package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// routeCases is a file of cases for `sira route test`.
type routeCases struct {
	Config string      `yaml:"config"` // seen from this file
	Cases  []routeCase `yaml:"cases"`
}

// routeCase is a request with what routing should make of it.
type routeCase struct {
	Name    string                `yaml:"name"`
	Request map[string]any        `yaml:"request"` // as in JSON
	Prompt  string                `yaml:"prompt"`  // one message of the user, in place of request.messages
	Lane    string                `yaml:"lane"`
	At      string                `yaml:"at"`
	Health  map[string]caseHealth `yaml:"health"` // by provider/model
	Expect  caseExpect            `yaml:"expect"`
}

type caseHealth struct {
	Latency    time.Duration `yaml:"latency"`
	FirstToken time.Duration `yaml:"first_token"`
	Failures   float64       `yaml:"failures"`
}

// caseExpect is what must hold; what is left out may be anything.
type caseExpect struct {
	Route   string   `yaml:"route"`
	First   string   `yaml:"first"`   // a selector of the first target
	Targets []string `yaml:"targets"` // selectors of all targets, in order
	Has     []string `yaml:"has"`     // selectors that some target must fit
	Never   []string `yaml:"never"`   // selectors that no target may fit
	Failure string   `yaml:"failure"` // a code, such as unroutable
}

func (c *cli) routeTestCommand() *cobra.Command {
	return &cobra.Command{
		Use: "test FILE", Short: "Check where requests would go against a table of cases", Args: cobra.ExactArgs(1),
		Long: `Reads cases from a YAML file and routes each request. A case says what it expects:
route, first, targets (all, in order), has, never, failure; targets are written
provider, provider/model or provider/model@region, with * for any rest. The file may
name its configuration, seen from its folder; --config counts over it. Exit code 1 if
a case fails, 2 if the file can't be read.`,
		Example: `  sira route test cases.yaml
  sira route test cases.yaml --config sira.yaml --json

  # cases.yaml
  config: sira.yaml
  cases:
    - name: European data stays
      request: {model: chat, tenant: acme, labels: {data: eu}}
      prompt: What is a log?
      expect: {route: chat, first: openai/gpt-4o@eu-*, never: ["*/*@us-*"]}`,
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := readFile(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			file, err := parseCases(b)
			if err != nil {
				return usageError{fmt.Errorf("reading %s: %w", args[0], err)}
			}
			if file.Config != "" && !filepath.IsAbs(file.Config) {
				file.Config = filepath.Join(filepath.Dir(args[0]), file.Config)
			}
			cfg, err := c.configOf(file.Config)
			if err != nil {
				return err
			}
			return c.runCases(cmd.OutOrStdout(), &cfg, file.Cases)
		},
	}
}

// parseCases reads a file of cases strictly.
func parseCases(b []byte) (file routeCases, err error) {
	defer func() {
		if recover() != nil { // the YAML library panics on some tags that do not fit their value
			err = errors.New("is not readable; write it as plain YAML, without a tag")
		}
	}()
	if err := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(&file); err != nil {
		if errors.Is(err, io.EOF) {
			return file, errors.New("there are no cases: write some under cases")
		}
		return file, errors.New(strings.TrimSpace(yaml.FormatError(err, false, true)))
	}
	if len(file.Cases) == 0 {
		return file, errors.New("there are no cases: write some under cases")
	}
	for i := range file.Cases {
		if err := file.Cases[i].check(); err != nil {
			return file, fmt.Errorf("cases[%d]: %w", i, err)
		}
	}
	return file, nil
}

func (rc *routeCase) check() error {
	e := &rc.Expect
	if e.Route == "" && e.First == "" && e.Targets == nil && e.Has == nil && e.Never == nil && e.Failure == "" {
		return errors.New("expect: is empty: write route, first, targets, has, never or failure")
	}
	for name, list := range map[string][]string{"targets": e.Targets, "has": e.Has, "never": e.Never, "health": keys(rc.Health)} {
		if _, err := routing.ParseSelectors(name, list); err != nil {
			return err
		}
	}
	if e.First != "" {
		if _, err := routing.ParseSelector(e.First); err != nil {
			return fmt.Errorf("first: %w", err)
		}
	}
	_, err := rc.job()
	return err
}

func keys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

func (rc *routeCase) job() (*pipeline.Job, error) {
	b, err := json.Marshal(rc.Request)
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	req, err := decodeRequest(b)
	if err != nil {
		return nil, fmt.Errorf("request: %w", err)
	}
	if rc.Prompt != "" {
		req.Messages = append(req.Messages, schemas.TextMessage(schemas.RoleUser, rc.Prompt))
	}
	at, err := parseTime(rc.At)
	if err != nil {
		return nil, fmt.Errorf("at: %w", err)
	}
	return &pipeline.Job{Request: req, Started: at, Origin: pipeline.Origin{Lane: cmp.Or(rc.Lane, "standard")}}, nil
}

// told is what the case at hand tells of targets.
type told struct{ health map[string]caseHealth }

// Health implements routing.Health.
func (h *told) Health(t schemas.Target, _ time.Time) (routing.Observed, bool) {
	for _, name := range keys(h.health) {
		s, err := routing.ParseSelector(name)
		if err != nil || (t.Model == "" && !strings.HasPrefix(name+"/", t.Provider+"/")) || (t.Model != "" && !s.Match(&t)) {
			continue
		}
		seen := h.health[name]
		return routing.Observed{Calls: 1, Latency: seen.Latency, FirstToken: seen.FirstToken, Failures: seen.Failures}, true
	}
	return routing.Observed{}, false
}

// caseResult is what became of a case.
type caseResult struct {
	Name    string   `json:"name"`
	OK      bool     `json:"ok"`
	Route   string   `json:"route,omitempty"`
	Targets []string `json:"targets,omitempty"`
	Failure string   `json:"failure,omitempty"`
	Wrong   []string `json:"wrong,omitempty"`
}

func (c *cli) runCases(w io.Writer, cfg *app.Config, cases []routeCase) error {
	failed, health := 0, new(told)
	router, err := cfg.Router(catalog.Env{}, routing.Sources{Health: health})
	if err != nil {
		return usageError{err}
	}
	for i := range cases {
		health.health = cases[i].Health
		r, err := runCase(router, &cases[i])
		if err != nil {
			return usageError{err}
		}
		if !r.OK {
			failed++
		}
		if c.json {
			err = printJSON(w, r)
		} else {
			err = r.print(w)
		}
		if err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d cases failed", failed, len(cases))
	}
	if !c.json {
		_, err := fmt.Fprintf(w, "%d cases, all as expected\n", len(cases))
		return err
	}
	return nil
}

func (r *caseResult) print(w io.Writer) error {
	if r.OK {
		_, err := fmt.Fprintln(w, "ok    "+r.Name)
		return err
	}
	_, err := fmt.Fprintf(w, "FAIL  %s\n      %s\n", r.Name, strings.Join(r.Wrong, "\n      "))
	return err
}

func runCase(router *routing.Router, rc *routeCase) (*caseResult, error) {
	job, err := rc.job()
	if err != nil {
		return nil, err
	}
	trace := router.Explain(job)
	r := &caseResult{Name: rc.Name, Route: trace.Route}
	for _, t := range trace.Targets {
		r.Targets = append(r.Targets, targetText(t))
	}
	if trace.Failure != nil {
		r.Failure = string(trace.Failure.Code)
	}
	r.Wrong = rc.Expect.compare(r, trace.Targets)
	r.OK = len(r.Wrong) == 0
	return r, nil
}

// compare returns a line for everything that is not as expected, as a diff: what
// was wanted after -, what came after +.
func (e *caseExpect) compare(r *caseResult, targets []schemas.Target) []string {
	var wrong []string
	differ := func(what, want, got string) {
		wrong = append(wrong, what, "  - "+want, "  + "+cmp.Or(got, "(none)"))
	}
	if e.Route != "" && e.Route != r.Route {
		differ("route", e.Route, r.Route)
	}
	if e.Failure != r.Failure {
		differ("failure", cmp.Or(e.Failure, "(none)"), r.Failure)
	}
	fits := func(selector string, i int) bool {
		s, err := routing.ParseSelector(selector)
		return err == nil && i < len(targets) && s.Match(&targets[i])
	}
	if e.First != "" && !fits(e.First, 0) {
		differ("first", e.First, strings.Join(r.Targets[:min(len(r.Targets), 1)], ""))
	}
	if e.Targets != nil {
		wrong = append(wrong, diffTargets(e.Targets, r.Targets, fits)...)
	}
	for _, want := range e.Has {
		if !slices.ContainsFunc(indexes(targets), func(i int) bool { return fits(want, i) }) {
			differ("has", want, strings.Join(r.Targets, " "))
		}
	}
	for _, unwanted := range e.Never {
		for i := range targets {
			if fits(unwanted, i) {
				wrong = append(wrong, "never "+unwanted, "  + "+r.Targets[i])
			}
		}
	}
	return wrong
}

func indexes[T any](list []T) []int {
	out := make([]int, len(list))
	for i := range out {
		out[i] = i
	}
	return out
}

func diffTargets(want, got []string, fits func(string, int) bool) []string {
	lines, same := []string{"targets"}, len(want) == len(got)
	for i := range max(len(want), len(got)) {
		switch {
		case i < len(want) && fits(want[i], i):
			lines = append(lines, "    "+got[i])
			continue
		case i < len(want):
			lines = append(lines, "  - "+want[i])
		}
		if i < len(got) {
			lines = append(lines, "  + "+got[i])
		}
		same = false
	}
	if same {
		return nil
	}
	return lines
}

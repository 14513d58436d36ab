package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

func (c *cli) routeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "route", Short: "Explain, test and simulate routing",
		Long: `Asks the routes of a configuration without calling anybody. Prices are those of
the price book; what is measured of targets has to be told, as nothing is called.`,
		Example: "  sira route explain request.json\n  sira route test cases.yaml\n  sira route simulate --trace trace.csv",
	}
	cmd.AddCommand(c.routeExplainCommand(), c.routeTestCommand(), c.routeSimulateCommand())
	return cmd
}

func (c *cli) routeExplainCommand() *cobra.Command {
	var lane, at string
	cmd := &cobra.Command{
		Use: "explain FILE|ID|-", Short: "Tell where a request would go, or went, and why", Args: cobra.ExactArgs(1),
		Long: `Reads a request as JSON from a file, or from the standard input for -, and tells
which guards hold, which routes were tried, and of every candidate why it was kept,
dropped and ranked. Exit code 1 if the request can't be routed.

What is no file is the id of a request that was answered: then it tells the calls
that were made and why, and the candidates, as they are recorded in ClickHouse or,
without the candidates, from the result on its topic.`,
		Example: `  sira route explain request.json --config sira.yaml
  echo '{"model":"gpt-4o","messages":[{"role":"user","parts":[{"kind":"text","text":"hi"}]}]}' | sira route explain -
  sira route explain request.json --at 2026-12-24T03:00:00Z --lane bulk --json
  sira route explain 0192f0c1-7b7e-7cc3-98c4-dc0c0c07398f`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if isID(args[0]) {
				return c.explainPast(cmd.Context(), cmd.OutOrStdout(), args[0])
			}
			b, err := readFile(cmd.InOrStdin(), args[0])
			if err != nil {
				return err
			}
			req, err := decodeRequest(b)
			if err != nil {
				return usageError{fmt.Errorf("reading %s: %w", args[0], err)}
			}
			started, err := parseTime(at)
			if err != nil {
				return usageError{fmt.Errorf("--at: %w", err)}
			}
			return c.explain(cmd.OutOrStdout(), &pipeline.Job{Request: req, Started: started, Origin: pipeline.Origin{Lane: lane}})
		},
	}
	cmd.Flags().StringVar(&lane, "lane", "standard", "lane of the request")
	cmd.Flags().StringVar(&at, "at", "", "when it is routed, such as 2026-12-24T03:00:00Z (default: now)")
	return cmd
}

func (c *cli) explain(w io.Writer, job *pipeline.Job) error {
	cfg, err := c.config()
	if err != nil {
		return err
	}
	router, err := cfg.Router(catalog.Env{}, routing.Sources{})
	if err != nil {
		return usageError{err}
	}
	t := router.Explain(job)
	if c.json {
		err = printJSON(w, t)
	} else {
		err = printTrace(w, t)
	}
	if err == nil && t.Failure != nil {
		return errors.New("the request can't be routed: " + t.Failure.Message)
	}
	return err
}

// shownRoutes bounds the routes that are told as tried and not matched.
const shownRoutes = 20

// printTrace tells people how a decision came about.
func printTrace(w io.Writer, t *routing.Trace) error {
	var b bytes.Buffer
	for _, g := range t.Guards {
		fmt.Fprintf(&b, "guard  %s: only regions %s", g.Name, strings.Join(g.Residency, ", "))
		if g.Broken {
			b.WriteString(" (its expression can't be evaluated, so it holds)")
		}
		b.WriteByte('\n')
	}
	if skipped := len(t.Routes) - shownRoutes; skipped > 0 {
		fmt.Fprintf(&b, "route  … %d more that do not match\n", skipped)
		t.Routes = t.Routes[skipped:]
	}
	for _, r := range t.Routes {
		fmt.Fprintf(&b, "route  %s: %s\n", r.Name, cmp.Or(r.Why, "matches"))
	}
	f := t.Features
	fmt.Fprintf(&b, "about  %d tokens, language %s, complexity %.2f\n", f.Tokens, cmp.Or(f.Language, "unknown"), f.Complexity.Score)
	for _, l := range t.Lists {
		fmt.Fprintf(&b, "\n%s\n", l.Origin)
		for _, one := range l.Candidates {
			place := "   -"
			if one.Rank > 0 {
				place = fmt.Sprintf("%4d", one.Rank)
			}
			fmt.Fprintf(&b, "%s  %-40s place %d, priority %d, weight %d", place, targetText(one.Target), one.Before, one.Priority, one.Weight)
			if one.Why != "" {
				b.WriteString("; " + one.Why)
			}
			b.WriteByte('\n')
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// targetText writes provider/model@region.
func targetText(t schemas.Target) string {
	s := t.Provider + "/" + t.Model
	if t.Region != "" {
		s += "@" + t.Region
	}
	return s
}

func readFile(stdin io.Reader, name string) ([]byte, error) {
	if name != "-" {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, usageError{err}
		}
		return b, nil
	}
	b, err := io.ReadAll(io.LimitReader(stdin, schemas.MaxRequestBytes))
	if err != nil {
		return nil, fmt.Errorf("reading the standard input: %w", err)
	}
	return b, nil
}

// decodeRequest reads a request as JSON. An id and a tenant may be missing.
func decodeRequest(b []byte) (*schemas.Request, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	req := new(schemas.Request)
	if err := d.Decode(req); err != nil {
		return nil, err
	}
	req.ID, req.Tenant = cmp.Or(req.ID, "explained"), cmp.Or(req.Tenant, "test")
	if req.Model == "" {
		return nil, errors.New("model is missing: name a model of the configuration")
	}
	return req, nil
}

func parseTime(text string) (time.Time, error) {
	if text == "" {
		return time.Now(), nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return t, fmt.Errorf("%q is no time: write it as 2026-12-24T03:00:00Z", text)
	}
	return t, nil
}

// configOf reads the configuration that a file names, seen from that file, or the
// one of the command line.
func (c *cli) configOf(named string) (app.Config, error) {
	if named == "" || c.configFile != "" {
		return c.config()
	}
	cfg, err := app.Load(named)
	if err != nil {
		return cfg, usageError{err}
	}
	return cfg, nil
}

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/provider/models"
	"github.com/sira-ai/sira/schemas"
)

// refreshWithin bounds the wait for a provider's list.
const refreshWithin = time.Minute

func (c *cli) modelsRefreshCommand() *cobra.Command {
	provider, tenant := "", ""
	cmd := &cobra.Command{
		Use: "refresh", Short: "Ask a provider which models it offers", Args: cobra.NoArgs,
		Long: `Puts a request for the provider's list of models on Kafka, as any other request,
and compares the answer with the catalogue: what is offered and known, what is
offered only, and what is known but not offered. A gateway has to be running; the
provider's key stays with its workers.`,
		Example: "  sira models refresh --provider openai\n  sira models refresh --provider openai --json --config sira.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.config()
			if err != nil {
				return err
			}
			if provider == "" {
				return usageError{errors.New("name a provider of the configuration with --provider")}
			}
			model, kind, err := listedBy(cfg, provider)
			if err != nil {
				return usageError{err}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), refreshWithin)
			defer cancel()
			offered, err := c.offered(ctx, cfg, model, provider, tenant)
			if err != nil {
				return err
			}
			catalogue, err := models.Default()
			if err != nil {
				return err
			}
			return c.printOffers(cmd.OutOrStdout(), compare(catalogue, provider, kind, offered))
		},
	}
	cmd.Flags().StringVarP(&provider, "provider", "p", "", "name of a provider in the configuration")
	cmd.Flags().StringVarP(&tenant, "tenant", "t", "default", "who asks")
	return cmd
}

// listedBy returns a model of the configuration through which the provider is
// asked, and the provider's kind. Best is one that goes nowhere else.
func listedBy(cfg app.Config, provider string) (model, kind string, err error) {
	kind = provider // of simulated providers
	var names []string
	for _, p := range cfg.Providers {
		names = append(names, p.Name)
		if p.Name == provider {
			kind = p.Kind
		}
	}
	best := -1
	for _, m := range cfg.RoutingModels() {
		here := 0
		for _, t := range m.Targets {
			if len(cfg.Providers) == 0 {
				names = append(names, t.Provider)
			}
			if t.Provider == provider {
				here++
			}
		}
		if elsewhere := len(m.Targets) - here; here > 0 && (best < 0 || elsewhere < best) {
			best, model = elsewhere, m.Name
		}
	}
	slices.Sort(names)
	switch {
	case !slices.Contains(names, provider):
		return "", "", fmt.Errorf("--provider: the configuration has no provider %q; it has %s", provider, strings.Join(slices.Compact(names), ", "))
	case model == "":
		return "", "", fmt.Errorf("--provider: no model of the configuration has a target at %s: add one under models", provider)
	}
	return model, kind, nil
}

// offered asks for the list of models through Kafka.
func (c *cli) offered(ctx context.Context, cfg app.Config, model, provider, tenant string) ([]schemas.ModelInfo, error) {
	cl, _, _, err := c.clients(cfg)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	if err := ping(ctx, cl, cfg); err != nil {
		return nil, err
	}
	follow, err := c.follow(ctx, cfg, cfg.Topic(app.TopicResults), true)
	if err != nil {
		return nil, err
	}
	defer follow.close()
	req := &schemas.Request{
		ID: uuid.Must(uuid.NewV7()).String(), Tenant: tenant, Model: model, Op: schemas.OpModels,
		CreatedAt: time.Now(), Deadline: time.Now().Add(refreshWithin),
	}
	rec, err := requestRecord(ctx, cfg, cfg.Kafka.Lanes[0].Name, req)
	if err != nil {
		return nil, err
	}
	if err := cl.ProduceSync(ctx, rec).FirstErr(); err != nil {
		return nil, fmt.Errorf("enqueueing: %w", err)
	}
	var result *schemas.Result
	err = follow.each(ctx, func(r *received) (bool, error) {
		if r.RequestID == req.ID {
			result = &r.Result
		}
		return result == nil, nil
	})
	switch {
	case err != nil:
		return nil, err
	case result == nil:
		return nil, fmt.Errorf("waiting for the list: no answer within %s; is a worker running?", refreshWithin)
	case result.Failure != nil:
		return nil, fmt.Errorf("asking %s: %s: %s", provider, result.Failure.Code, result.Failure.Message)
	case result.Target != nil && result.Target.Provider != provider:
		return nil, fmt.Errorf("asking %s: the routes sent model %s to %s: add a model with targets at %s alone", provider, model, result.Target.Provider, provider)
	}
	return result.Response.Models, nil
}

// offer is a model that a provider offers, or that the catalogue knows.
type offer struct {
	Provider string `json:"provider"`
	Model    string `json:"model"`
	Offered  bool   `json:"offered"`
	Known    bool   `json:"known"`
	Context  int64  `json:"context,omitempty"`    // the provider's word, else the catalogue's
	Output   int64  `json:"max_output,omitempty"` //
	State    string `json:"state,omitempty"`      // of those known
}

// compare joins a provider's list with the catalogue, both by name. A provider that
// offers nothing known is another that speaks the kind's API: what it does not
// offer is left out.
func compare(c *models.Catalogue, provider, kind string, offered []schemas.ModelInfo) []offer {
	today := time.Now().UTC().Format(time.DateOnly)
	var all []offer
	seen := map[string]bool{}
	for _, o := range offered {
		one := offer{Provider: provider, Model: o.ID, Offered: true, Context: o.ContextTokens, Output: o.OutputTokens}
		if m := c.Find(kind, o.ID); m != nil {
			seen[m.Model] = true
			one.Known, one.State = true, fate(m, today)
			one.Context, one.Output = cmp.Or(one.Context, m.Context), cmp.Or(one.Output, m.MaxOutput)
		}
		all = append(all, one)
	}
	known := c.All()
	if len(offered) > 0 && len(seen) == 0 {
		known = nil
	}
	for i := range known {
		m := &known[i]
		if m.Provider == kind && !seen[m.Model] && !m.Retired(today) {
			all = append(all, offer{Provider: provider, Model: m.Model, Known: true, Context: m.Context, Output: m.MaxOutput, State: fate(m, today)})
		}
	}
	slices.SortStableFunc(all, func(a, b offer) int { return strings.Compare(a.Model, b.Model) })
	return all
}

func (c *cli) printOffers(w io.Writer, all []offer) error {
	rows := make([][]any, 0, len(all))
	for i := range all {
		o := &all[i]
		if c.json {
			if err := printJSON(w, o); err != nil {
				return err
			}
			continue
		}
		word := "offered"
		switch {
		case !o.Offered:
			word = "not offered"
		case !o.Known:
			word = "offered, not in the catalogue"
		}
		rows = append(rows, []any{o.Model, word, tokens(o.Context), tokens(o.Output), o.State})
	}
	if c.json {
		return nil
	}
	return printTable(w, []string{"model", "availability", "context", "output", "state"}, rows)
}

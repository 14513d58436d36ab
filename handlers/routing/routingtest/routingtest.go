// Package routingtest helps to test strategies.
package routingtest

import (
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// Now is when the requests of [Job] are taken up, a Monday.
func Now() time.Time { return time.Date(2026, 11, 23, 14, 30, 0, 0, time.UTC) }

// Build makes a strategy from its settings in JSON.
func Build(t testing.TB, e routing.Entry, settings string) routing.Strategy {
	t.Helper()
	s, err := catalog.New("strategy", e).Build(e.Kind, catalog.Settings(settings), catalog.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Check returns what is wrong with settings in JSON, or "".
func Check(e routing.Entry, settings string) string {
	if err := catalog.New("strategy", e).Check(e.Kind, catalog.Settings(settings)); err != nil {
		return err.Error()
	}
	return ""
}

// Job returns a job of tenant acme with labels given as name, value, ….
func Job(id string, labels ...string) *pipeline.Job {
	j := &pipeline.Job{
		Request: &schemas.Request{
			ID: id, Tenant: "acme", Model: "chat", Labels: make(map[string]string),
			Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "What is a log?")},
		},
		Started: Now(),
	}
	for i := 0; i+1 < len(labels); i += 2 {
		j.Request.Labels[labels[i]] = labels[i+1]
	}
	return j
}

// Targets returns candidates from texts such as openai/gpt-4o@eu-west-1, each of
// weight 1.
func Targets(texts ...string) []routing.Candidate {
	specs := make([]routing.TargetSpec, len(texts))
	for i, text := range texts {
		specs[i] = routing.TargetSpec{Target: Target(text), Weight: 1}
	}
	return routing.Candidates(specs...)
}

// Target reads provider/model@region.
func Target(text string) (t schemas.Target) {
	at := len(text)
	for i := range len(text) {
		if text[i] == '@' {
			at, t.Region = i, text[i+1:]
			break
		}
	}
	t.Provider = text[:at]
	for i := range at {
		if text[i] == '/' {
			t.Provider, t.Model = text[:i], text[i+1:at]
			break
		}
	}
	return t
}

// Order returns provider/model of candidates.
func Order(c []routing.Candidate) []string {
	out := []string{}
	for i := range c {
		out = append(out, c[i].Target.Provider+"/"+c[i].Target.Model)
	}
	return out
}

// Prices are in US dollars for each target as provider/model, for a request of
// any size.
type Prices map[string]string

// Price implements routing.Prices.
func (p Prices) Price(t schemas.Target, _ time.Time, _ schemas.Usage) (decimal.Decimal, string, string, bool) {
	s, ok := p[t.Provider+"/"+t.Model]
	if !ok {
		return decimal.Decimal{}, "", "", false
	}
	return decimal.RequireFromString(s), "USD", "", true
}

// Health is what was seen of each target as provider/model.
type Health map[string]routing.Observed

// Health implements routing.Health.
func (h Health) Health(t schemas.Target, _ time.Time) (routing.Observed, bool) {
	o, ok := h[t.Provider+"/"+t.Model]
	return o, ok
}

package routing_test

import (
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/schemas"
)

// prices are per target, for a request of any size.
type prices map[string]string

func (p prices) Price(t schemas.Target, _ time.Time, _ schemas.Usage) (decimal.Decimal, string, string, bool) {
	s, ok := p[t.Provider]
	if !ok {
		return decimal.Decimal{}, "", "", false
	}
	return decimal.RequireFromString(s), "USD", "", true
}

func attempt(provider string, ms int64, outcome schemas.Code) *schemas.Attempt {
	return &schemas.Attempt{
		Target: schemas.Target{Provider: provider, Model: "large"}, Outcome: outcome, LatencyMS: ms,
		StartedAt: time.Date(2026, 11, 23, 14, 29, 0, 0, time.UTC),
	}
}

func TestExpressionsSeeTheRequestItsContentTimePricesAndHealth(t *testing.T) {
	t.Parallel()
	measured := new(routing.Measured)
	for range 20 {
		measured.Add(attempt("a", 900, schemas.OK))
		measured.Add(attempt("b", 100, schemas.Unavailable))
	}
	seed := int64(1)
	req := &schemas.Request{
		ID: "r1", Tenant: "acme", Model: "chat", ConversationID: "c1", Labels: map[string]string{"team": "x"}, Stream: true,
		Messages: []schemas.Message{
			schemas.TextMessage(schemas.RoleUser, "Wie vergleiche ich eine Zahl mit einer anderen? Bitte beweise es."),
			{Role: schemas.RoleUser, Parts: []schemas.Part{{Kind: schemas.PartImage, Media: &schemas.Media{URL: "https://x.example/y.png"}}}},
		},
		Sampling: &schemas.Sampling{Seed: &seed}, Output: &schemas.OutputSpec{Format: "json_schema"},
	}
	for _, text := range []string{
		`model == "chat" and tenant == "acme" and op == "chat" and operation == op`,
		`labels.team == "x" and tags.team == "x" and labels.none == ""`,
		`request.id == "r1" and request.conversation_id == "c1" and request.json and request.seeded and not request.thinking`,
		`lane == "interactive" and stream and round == 0`,
		`time.hour == 14 and time.minute == 30 and weekday == 1 and time.date == "2026-11-23" and time.date < "2026-12-01" and time.month == 11`,
		`size.bytes == input_bytes and size.tokens > 800 and size.messages == 2 and size.turns == 2 and size.media == attachments`,
		`modality.image and modality.text and not modality.audio`,
		`language == "de" and complexity > 0.2`,
		`price.known and price.cheapest < 0.002 and price.dearest == 0.5`,
		`health.a.known and health.a.latency_ms == 900 and health.a.failures == 0`,
		`health.b.failures > 0.5 and not health.c.known`,
		`health["a"].first_token_ms == 0`,
	} {
		routes := []routing.RouteConfig{{Name: "yes", When: text}, {Name: "no"}}
		r := build(t, routing.Config{
			Models: models(), Routes: routes,
			Sources: routing.Sources{Prices: prices{"a": "0.001", "b": "0.5"}, Health: measured},
		})
		j := job("r1", "chat")
		j.Request, j.Origin.Lane = req, "interactive"
		for range 2 { // the second time with what the first left in the pool
			if name, _ := route(t, r, j); name != "yes" {
				t.Errorf("false: %s", text)
			}
		}
	}
}

func TestNothingIsKnownWithoutSources(t *testing.T) {
	t.Parallel()
	r := build(t, routing.Config{Models: models(), Routes: []routing.RouteConfig{
		{Name: "dear", When: `price.known or price.cheapest > 0`},
		{Name: "sick", When: `health.a.known or health.a.failures > 0`},
		{Name: "rest"},
	}})
	if name, _ := route(t, r, job("r1", "chat")); name != "rest" {
		t.Errorf("route %s", name)
	}
}

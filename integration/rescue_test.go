package integration

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/simulate"
	"github.com/sira-ai/sira/schemas"
)

// With invoke.continue a fallback that can goes on from what the primary's stream said
// before it broke off, and both are paid for; one that can't after all is asked for
// the whole answer, and nobody sees that it refused.
func TestABrokenStreamIsGoneOnWithAndPaidFor(t *testing.T) {
	var simulator atomic.Value
	address, refused := unforgiving(t, func() string { s, _ := simulator.Load().(string); return s })
	g := newGateway(t, []string{"goes-on", "refuses"}, func(doc Document) {
		invoke, _ := doc["invoke"].(Document)
		invoke["continue"] = true
		providers, _ := doc["providers"].([]Document)
		providers[3]["base_url"] = address
	})
	simulator.Store(g.cfg.Simulator.Listen)
	after := 5
	for _, row := range []string{"goes-on", "refuses"} {
		g.simulate(t, row+"-primary", simulate.Behaviour{Faults: map[string]simulate.Fault{"cut": {Share: 1, After: &after}}})
		g.send(t, question(row, row, true))
	}

	res, chunks := g.answer(t, "goes-on", true, 30*time.Second)
	if why := whole(&res, chunks); why != "" || story(&res) != "primary first stream_interrupted, primary retry stream_interrupted, fallback fallback ok" {
		t.Errorf("goes on: %s; %s", why, story(&res))
	}
	said := ""
	for _, c := range chunks {
		if c.Attempt == 2 && c.Type == schemas.ChunkText {
			said += c.Text
		}
	}
	if said = strings.TrimRight(said, " \n"); said == "" || !strings.HasPrefix(res.Response.Text(), said) || len(res.Response.Text()) == len(said) {
		t.Errorf("the answer %q does not go on from %q", res.Response.Text(), said)
	}
	g.mu.Lock()
	cost := g.costs["goes-on"]
	g.mu.Unlock()
	if len(cost.Lines) != 3 {
		t.Fatalf("it is paid for by %d lines: %+v", len(cost.Lines), cost.Lines)
	}
	sum := decimal.Zero
	for i, l := range cost.Lines {
		kind, state := schemas.LineFailedAttempt, schemas.CostEstimated
		if i == 2 {
			kind, state = schemas.LineUsage, schemas.CostPriced
		}
		if l.Attempt != i+1 || l.Kind != kind || l.State != state || l.OutputTokens == 0 || !l.Amount.IsPositive() {
			t.Errorf("call %d is paid for by %+v", i+1, l)
		}
		sum = sum.Add(l.Amount)
	}
	if !sum.Equal(cost.Amount) {
		t.Errorf("%s is charged for lines of %s", cost.Amount, sum)
	}

	res, chunks = g.answer(t, "refuses", true, 30*time.Second)
	if why := whole(&res, chunks); why != "" || refused.Load() != 1 || !strings.HasSuffix(story(&res), "fallback fallback invalid_request, fallback retry ok") {
		t.Errorf("refuses: %s; %s; refused %d times", why, story(&res), refused.Load())
	}
	for _, c := range chunks {
		if c.Failure != nil && c.Failure.Code == schemas.InvalidRequest {
			t.Error("the requester sees that a beginning was refused")
		}
	}
}

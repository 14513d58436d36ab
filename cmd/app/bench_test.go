package app

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// decision is a router of 100 targets and the pool of the first one's endpoints.
type decision struct {
	router   *routing.Router
	job      *pipeline.Job
	balancer balance.Balancer
	pool     []*balance.Endpoint
}

// needed are the settings of every strategy that can't do without, for the targets of [decide].
var needed = map[string]string{
	"ab":         `{"experiment":"x","unit":"tenant","arms":[{"name":"a","weight":1,"targets":["p7"]},{"name":"b","weight":1,"targets":["p8"]}]}`,
	"canary":     `{"name":"x","targets":["p7"],"stages":[{"share":0.1,"for":"1h"}]}`,
	"custom":     `{"score":"candidate.weight - candidate.price"}`,
	"geo":        `{"origin":"\"eu-west-1\""}`,
	"preference": `{"prefer":["p50"],"avoid":["p3"]}`,
	"version":    `{"want":">=1","newest":true}`,
}

// decide makes a decision ready: 100 targets of which the price and the latency are
// known, endpoints of weights 1 to 3.
func decide(t testing.TB, strategy, balancer string, endpoints int) *decision {
	t.Helper()
	model, measured, now := routing.ModelConfig{Name: "chat"}, new(routing.Measured), time.Now()
	for i := range 100 {
		target := schemas.Target{Provider: fmt.Sprint("p", i), Model: fmt.Sprint("m-", i%9), Region: []string{"eu-west-1", "us-east-1"}[i%2]}
		model.Targets = append(model.Targets, routing.TargetConfig{Provider: target.Provider, Model: target.Model, Region: target.Region, Weight: new(1 + i%3)})
		measured.Add(&schemas.Attempt{Target: target, Outcome: schemas.OK, StartedAt: now, LatencyMS: int64(100 + i*37%101)})
	}
	var all []balance.EndpointConfig
	for i := range endpoints {
		all = append(all, balance.EndpointConfig{ID: fmt.Sprint("e", i), Weight: 1 + i%3})
	}
	d := new(decision)
	var err error
	if d.balancer, err = balancers().Build(balancer, nil, catalog.Env{}); err != nil {
		t.Fatal(err)
	}
	pool, err := balance.NewPool("p0", balance.Defaults(), d.balancer, all, nil)
	if err != nil {
		t.Fatal(err)
	}
	d.pool = pool.InRegion("")
	if d.router, err = routing.New(routing.Config{
		Models: []routing.ModelConfig{model}, Sources: routing.Sources{Health: measured, Prices: tariff{}},
		Routes: []routing.RouteConfig{
			{Name: "other", When: `tenant == "other"`},
			{Name: "all", When: `tenant == "acme"`, Strategy: strategy, Settings: catalog.Settings(needed[strategy])},
		},
	}, strategies(), catalog.Env{}); err != nil {
		t.Fatal(err)
	}
	d.job = &pipeline.Job{Request: &schemas.Request{ID: "0192f0c1-7b7e-7cc3-98c4-dc0c0c07398f", Tenant: "acme", Model: "chat"}, Started: now}
	return d
}

// tariff has another price for every model.
type tariff struct{}

func (tariff) Price(t schemas.Target, _ time.Time, _ schemas.Usage) (decimal.Decimal, string, string, bool) {
	return decimal.New(int64(t.Model[len(t.Model)-1]), -6), "USD", "1", true
}

func (d *decision) take(ctx context.Context, t testing.TB) {
	if err := d.router.Handle(ctx, d.job); err != nil {
		t.Fatal(err)
	}
	d.balancer.Pick(0, d.pool)
}

// Match, rank and pick: a decision among 100 targets, and one of 8 endpoints of the
// first; then the same with one of 64 by every balancer. The promise is 2 us and 2
// allocations where nothing is computed or looked up for each target:
// go test -run - -bench Decision -benchmem -cpu 1 ./cmd/app.
func BenchmarkDecision(b *testing.B) {
	for _, strategy := range strategies().Kinds() {
		benchmarkDecision(b, strategy, decide(b, strategy, "least_load", 8))
	}
	for _, balancer := range balancers().Kinds() {
		benchmarkDecision(b, "weighted/"+balancer+"/64", decide(b, "weighted", balancer, 64))
	}
}

func benchmarkDecision(b *testing.B, name string, d *decision) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		ctx := b.Context()
		for b.Loop() {
			d.take(ctx, b)
		}
	})
}

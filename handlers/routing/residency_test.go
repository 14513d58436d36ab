package routing_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/handlers/routing/ab"
	"github.com/sira-ai/sira/handlers/routing/bestof"
	"github.com/sira-ai/sira/handlers/routing/canary"
	"github.com/sira-ai/sira/handlers/routing/cheapest"
	"github.com/sira-ai/sira/handlers/routing/contextual"
	"github.com/sira-ai/sira/handlers/routing/custom"
	"github.com/sira-ai/sira/handlers/routing/fastest"
	"github.com/sira-ai/sira/handlers/routing/geo"
	"github.com/sira-ai/sira/handlers/routing/preference"
	"github.com/sira-ai/sira/handlers/routing/priority"
	"github.com/sira-ai/sira/handlers/routing/version"
	"github.com/sira-ai/sira/handlers/routing/weighted"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

func strategies() *catalog.Catalog[routing.Strategy] {
	return catalog.New("strategy", ab.Entry, bestof.Entry, canary.Entry, cheapest.Entry, contextual.Entry, custom.Entry, fastest.Entry,
		geo.Entry, preference.Entry, priority.Entry, version.Entry, weighted.Entry)
}

// settings that every kind can do with, for targets of providers a to d.
var settings = map[string]string{
	"ab":         `{"experiment": "x", "unit": "tenant", "arms": [{"name": "a", "targets": ["a"]}, {"name": "b", "targets": ["b", "c/m1"]}]}`,
	"canary":     `{"name": "x", "targets": ["a", "b/m1"], "stages": [{"share": 0.5, "for": "1h"}]}`,
	"context":    `{"tiers": [{"below": 0.5, "prefer": ["b"]}, {"prefer": ["c"]}]}`,
	"custom":     `{"score": "candidate.weight - candidate.priority"}`,
	"preference": `{"prefer": ["d", "a/m2"], "avoid": ["b"]}`,
	"version":    `{}`,
}

func build1(t testing.TB, kind, with string) routing.Strategy {
	t.Helper()
	s, err := strategies().Build(kind, catalog.Settings(with), catalog.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func when(t testing.TB, text string) *routing.Condition {
	t.Helper()
	c, err := routing.Compile(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A residency is a promise to the law. Whatever the strategy, wherever the targets
// come from (the model, the route, a fallback), no request leaves its regions.
func TestAResidencyIsNeverBrokenInRandomConfigurations(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(2026, 11))
	regions := []string{"eu-west-1", "eu-central-1", "us-east-1", "us-west-2", "ap-south-1", "ch-1", ""}
	patterns := [][]string{{"eu-*"}, {"eu-west-1", "ch-*"}, {"us-*"}, {"*"}, {"eu-*", "us-east-1"}, {"ap-south-1"}}
	var ranked []routing.Strategy
	for _, kind := range strategies().Kinds() {
		ranked = append(ranked, build1(t, kind, settings[kind]))
	}
	byOrigin := build1(t, "geo", `{"origin": "tenant", "residency": {"t0": ["eu-*"], "t1": ["us-*", "ch-1"]}}`)
	ofOrigin := map[string][]string{"t0": {"eu-*"}, "t1": {"us-*", "ch-1"}}
	conditions := []*routing.Condition{nil, when(t, `tenant == "t0"`), when(t, `tenant startsWith "t"`), when(t, `1 % tools == 0`), when(t, `tenant == "t9"`)}
	holds := func(c int, tenant string) bool { // the fourth fails for every request without tools
		return c == 0 || c == 1 && tenant == "t0" || c == 2 || c == 3
	}
	spec := func() routing.TargetSpec {
		return routing.TargetSpec{
			Target: schemas.Target{Provider: string(rune('a' + random.IntN(4))), Model: fmt.Sprint("m", random.IntN(3)), Region: regions[random.IntN(len(regions))]},
			Weight: random.IntN(4), Priority: random.IntN(3),
		}
	}
	specs := func(n int) (out []routing.TargetSpec) {
		for range n {
			out = append(out, spec())
		}
		return out
	}
	kept, refused := 0, 0
	for n := range configurations {
		models := []routing.Model{{Name: "chat", Targets: specs(1 + random.IntN(4))}, {Name: "f", Targets: specs(random.IntN(4))}, {Name: "g", Targets: specs(random.IntN(4))}}
		tenant := fmt.Sprint("t", random.IntN(3))
		var rules []routing.Rule
		var must [][]string
		for range random.IntN(3) {
			c, allowed := random.IntN(len(conditions)), patterns[random.IntN(len(patterns))]
			rules = append(rules, routing.Rule{Name: "guard", Guard: true, When: conditions[c], Residency: allowed})
			if holds(c, tenant) {
				must = append(must, allowed)
			}
		}
		last := routing.Rule{Name: "last", Strategy: ranked[random.IntN(len(ranked))], Fallback: []string{"f", "g"}[:random.IntN(3)]}
		if random.IntN(3) == 0 {
			last.Targets = specs(1 + random.IntN(3))
		}
		if random.IntN(2) == 0 {
			last.Residency = patterns[random.IntN(len(patterns))]
			must = append(must, last.Residency)
		}
		if random.IntN(4) == 0 {
			last.Strategy = byOrigin
			if allowed := ofOrigin[tenant]; allowed != nil {
				must = append(must, allowed)
			}
		}
		j := job(fmt.Sprint("r", n), "chat")
		j.Request.Tenant = tenant
		err := routing.NewRouter(models, append(rules, last), routing.Sources{}).Handle(t.Context(), j)
		if err != nil {
			refused++
		}
		for _, target := range j.Targets {
			kept++
			for _, allowed := range must {
				if !routing.MatchRegion(allowed, target.Region) {
					t.Fatalf("configuration %d: a request of %s may go to %+v, allowed are %v", n, tenant, target, allowed)
				}
			}
		}
	}
	if kept < configurations/2 || refused < configurations/20 {
		t.Errorf("%d targets were kept and %d requests refused: the configurations tell little", kept, refused)
	}
}

func TestAGuardHoldsForFallbacksAndItsReasonIsRecorded(t *testing.T) {
	t.Parallel()
	at := func(p, region string) routing.TargetConfig {
		return routing.TargetConfig{Provider: p, Model: "m", Region: region}
	}
	r := build(t, routing.Config{
		Models: []routing.ModelConfig{
			{Name: "chat", Targets: []routing.TargetConfig{at("us", "us-east-1"), at("eu", "eu-west-1"), at("any", "")}},
			{Name: "small", Targets: []routing.TargetConfig{at("us2", "us-east-1"), at("eu2", "eu-north-1")}},
		},
		Routes: []routing.RouteConfig{
			{Name: "data-stays", When: `labels.data == "eu"`, Guard: true, Residency: []string{"eu-*"}},
			{Name: "all", Fallback: []string{"small"}},
		},
	})
	j := job("r1", "chat")
	if _, targets := route(t, r, j); strings.Join(targets, " ") != "us/m eu/m any/m us2/m eu2/m" {
		t.Errorf("without the label: %v", targets)
	}
	j.Request.Labels = map[string]string{"data": "eu"}
	if _, targets := route(t, r, j); strings.Join(targets, " ") != "eu/m eu2/m" {
		t.Errorf("with the label: %v", targets)
	}
	reasons := map[string]string{}
	for _, d := range j.Decision {
		if !d.Kept {
			reasons[d.Target.Provider] = d.Reason
		}
	}
	if !strings.Contains(reasons["us"], "residency") || !strings.Contains(reasons["us2"], "residency") || !strings.Contains(reasons["any"], "not known") {
		t.Errorf("reasons %v", reasons)
	}
}

func TestAGuardWithNothingLeftRefuses(t *testing.T) {
	t.Parallel()
	r := build(t, routing.Config{Models: models(), Routes: []routing.RouteConfig{{Name: "g", Guard: true, Residency: []string{"eu-*"}}}})
	f, ok := errors.AsType[*schemas.Failure](r.Handle(t.Context(), job("r1", "chat")))
	if !ok || f.Code != schemas.Unroutable {
		t.Errorf("got %+v", f)
	}
}

func TestMistakesInGuardsAreFaults(t *testing.T) {
	t.Parallel()
	c := routing.Config{Models: models(), Routes: []routing.RouteConfig{
		{Name: "empty", Guard: true},
		{Name: "decides", Guard: true, Residency: []string{"eu-*"}, Fallback: []string{"small"}},
		{Name: "all"},
		{Name: "late", Guard: true, Residency: []string{"e*u"}},
	}}
	var got []string
	for _, f := range c.Faults(strategies()) {
		got = append(got, f.Path)
	}
	want := "routes[0].residency routes[1].guard routes[3].residency[0] routes[3].guard"
	if strings.Join(got, " ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

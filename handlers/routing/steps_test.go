package routing_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/catalog"
)

func TestStepsFilterThenRankThenSplit(t *testing.T) {
	t.Parallel()
	tools := false
	target := func(p, region string) routing.TargetConfig {
		return routing.TargetConfig{Provider: p, Model: "m", Region: region}
	}
	mute := target("mute", "eu-west-1")
	mute.Capabilities = &routing.Capabilities{Tools: &tools, Input: []string{"audio"}, Context: 10}
	r := build(t, routing.Config{
		Models: []routing.ModelConfig{{Name: "chat", Targets: []routing.TargetConfig{
			target("dear", "eu-west-1"), target("far", "us-east-1"), mute, target("cheap", "eu-west-1"), target("new", "eu-west-1"),
		}}},
		Routes: []routing.RouteConfig{{Name: "x", Steps: []routing.StepConfig{
			{Strategy: "context"},
			{Strategy: "geo", Settings: catalog.Settings(`{"residency": {"*": ["eu-*"]}}`)},
			{Strategy: "cheapest"},
			{Strategy: "canary", Settings: catalog.Settings(`{"name": "n", "targets": ["new"], "unit": "tenant", "stages": [{"share": 0.5, "for": "1h"}]}`)},
		}}},
		Sources: routing.Sources{Prices: prices{"dear": "3", "cheap": "1", "new": "2"}},
	})
	seen := map[string]bool{}
	for i := range 50 {
		j := job(fmt.Sprint("r", i), "chat")
		j.Request.Tenant = fmt.Sprint("t", i)
		_, targets := route(t, r, j)
		seen[strings.Join(targets, " ")] = true
		if len(j.Decision) != 5 {
			t.Fatalf("decision %+v", j.Decision)
		}
	}
	if len(seen) != 2 || !seen["new/m cheap/m dear/m"] || !seen["cheap/m dear/m"] {
		t.Errorf("orders %v", seen)
	}
}

func TestOfManyTargetsTheBestAreHandedOn(t *testing.T) {
	t.Parallel()
	m := append(wide(100), routing.ModelConfig{Name: "small", Targets: []routing.TargetConfig{{Provider: "s", Model: "s"}}})
	r := build(t, routing.Config{Models: m, Routes: []routing.RouteConfig{{Name: "x", Fallback: []string{"small"}}}})
	j := job("r1", "chat")
	_, targets := route(t, r, j)
	if len(targets) != 17 || targets[0] != "p0/m" || targets[15] != "p15/m" || targets[16] != "s/s" {
		t.Errorf("targets %v", targets)
	}
	if d := j.Decision[16]; len(j.Decision) != 18 || d.Kept || d.Reason != "model chat: after the first 16, 84 in all" {
		t.Errorf("%d decisions, the 17th %+v", len(j.Decision), d)
	}
	if e := r.Explain(j); len(e.Lists[0].Candidates) != 100 || e.Lists[0].Candidates[99].Rank != 100 {
		t.Errorf("explained are %d candidates", len(e.Lists[0].Candidates))
	}
}

func TestExplainTellsWhatWasTriedAndWhy(t *testing.T) {
	t.Parallel()
	r := build(t, routing.Config{Models: models(), Routes: []routing.RouteConfig{
		{Name: "eu", When: `1 % tools == 0`, Guard: true, Residency: []string{"*"}},
		{Name: "small", Models: []string{"small"}, When: `stream or not stream`},
		{Name: "night", When: `hour < 6`},
		{Name: "broken", When: `1 % tools == 0`},
		{Name: "rest"},
	}})
	e := r.Explain(job("r1", "chat"))
	var got []string
	for _, tried := range e.Routes {
		got = append(got, tried.Name+": "+tried.Why)
	}
	want := "night: its expression is false|broken: its expression can't be evaluated for this request|rest: "
	if strings.Join(got, "|") != want || e.Route != "rest" {
		t.Errorf("route %s of %v", e.Route, got)
	}
	if len(e.Guards) != 1 || !e.Guards[0].Broken || e.Failure == nil {
		t.Errorf("guards %+v, failure %v: targets without a region may not be kept", e.Guards, e.Failure)
	}
}

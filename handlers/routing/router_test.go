package routing_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func build(t testing.TB, c routing.Config) *routing.Router {
	t.Helper()
	r, err := routing.New(c, strategies(), catalog.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func job(id, model string) *pipeline.Job {
	return &pipeline.Job{
		Request: &schemas.Request{ID: id, Tenant: "acme", Model: model},
		Started: time.Date(2026, 11, 23, 14, 30, 0, 0, time.UTC), // a Monday
	}
}

// route returns the name of the route and the targets as provider/model.
func route(t testing.TB, r *routing.Router, j *pipeline.Job) (string, []string) {
	t.Helper()
	if err := r.Handle(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	var targets []string
	for _, target := range j.Targets {
		targets = append(targets, target.Provider+"/"+target.Model)
	}
	return j.Route, targets
}

func models() []routing.ModelConfig {
	return []routing.ModelConfig{
		{Name: "chat", Targets: []routing.TargetConfig{
			{Provider: "b", Model: "large", Priority: 1}, {Provider: "a", Model: "large"}, {Provider: "c", Model: "large"},
		}},
		{Name: "small", Targets: []routing.TargetConfig{{Provider: "a", Model: "small"}, {Provider: "c", Model: "large"}}},
	}
}

func TestWithoutRoutesModelsAreRankedByPriority(t *testing.T) {
	t.Parallel()
	j := job("r1", "chat")
	name, targets := route(t, build(t, routing.Config{Models: models()}), j)
	if diff := cmp.Diff([]string{"a/large", "c/large", "b/large"}, targets); diff != "" || name != "default" {
		t.Errorf("route %s: %s", name, diff)
	}
	if d := j.Decision[2]; !d.Kept || d.Target.Provider != "b" || d.Reason != "model chat: priority 1, weight 1" {
		t.Errorf("decision %+v", d)
	}
}

func TestTheFirstMatchDecides(t *testing.T) {
	t.Parallel()
	r := build(t, routing.Config{Models: models(), Routes: []routing.RouteConfig{
		{Name: "night", When: `hour < 6 or weekday > 5`, Targets: []routing.TargetConfig{{Provider: "n", Model: "n"}}},
		{Name: "vip", When: `labels.team == "vip" and tenant startsWith "ac"`, Fallback: []string{"small"}},
		{Name: "long", When: `input_bytes > 1000`, Models: []string{"chat"}, Fallback: []string{"chat"}},
		{Name: "alias", Models: []string{"gpt"}, Targets: []routing.TargetConfig{{Provider: "z", Model: "gpt-5"}}},
		{Name: "rest", Models: []string{"chat", "small"}},
	}})
	tests := []struct {
		name    string
		job     func(*pipeline.Job)
		model   string
		route   string
		targets []string
	}{
		{"nothing special", func(*pipeline.Job) {}, "chat", "rest", []string{"a/large", "c/large", "b/large"}},
		{"by label; a target is not repeated in the fallback", func(j *pipeline.Job) {
			j.Request.Labels = map[string]string{"team": "vip"}
		}, "chat", "vip", []string{"a/large", "c/large", "b/large", "a/small"}},
		{"by size", func(j *pipeline.Job) {
			j.Request.Messages = []schemas.Message{schemas.TextMessage(schemas.RoleUser, strings.Repeat("x", 1001))}
		}, "chat", "long", []string{"a/large", "c/large", "b/large"}},
		{"by size, but for another model", func(j *pipeline.Job) {
			j.Request.Messages = []schemas.Message{schemas.TextMessage(schemas.RoleUser, strings.Repeat("x", 1001))}
		}, "small", "rest", []string{"a/small", "c/large"}},
		{"by time", func(j *pipeline.Job) { j.Started = j.Started.Add(-10 * time.Hour) }, "chat", "night", []string{"n/n"}},
		{"a model that only a route knows", func(*pipeline.Job) {}, "gpt", "alias", []string{"z/gpt-5"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			j := job("r1", tt.model)
			tt.job(j)
			name, targets := route(t, r, j)
			if diff := cmp.Diff(tt.targets, targets); diff != "" || name != tt.route {
				t.Errorf("route %s, want %s: %s", name, tt.route, diff)
			}
			if len(j.Decision) != len(j.Targets) {
				t.Errorf("%d decisions for %d targets", len(j.Decision), len(j.Targets))
			}
		})
	}
}

func TestAnUnknownModelIsAnsweredWithTheNearestNames(t *testing.T) {
	t.Parallel()
	r := build(t, routing.Config{Models: models()})
	tests := map[string]string{
		"Chta": `there is no model of this name; did you mean "chat"?`,
		"smal": `there is no model of this name; did you mean "small"?`,
		"my secret is 42 and here is the whole prompt": "there is no model of this name",
	}
	for asked, want := range tests {
		err := r.Handle(t.Context(), job("r1", asked))
		f, ok := errors.AsType[*schemas.Failure](err)
		if !ok || f.Code != schemas.Unroutable || f.Message != want {
			t.Errorf("%q: got %v, message %q", asked, err, f.Message)
		}
	}
}

func TestARequestThatNoRouteMatchesIsUnroutable(t *testing.T) {
	t.Parallel()
	r := build(t, routing.Config{Models: models(), Routes: []routing.RouteConfig{{Name: "vip", When: `tenant == "vip"`}}})
	f, ok := errors.AsType[*schemas.Failure](r.Handle(t.Context(), job("r1", "chat")))
	if !ok || f.Code != schemas.Unroutable || f.Message != "no route matches this request" {
		t.Errorf("got %+v", f)
	}
}

// picky keeps what provider a offers.
type picky struct{}

func (picky) Rank(_ *routing.Query, c []routing.Candidate) []routing.Candidate {
	out := c[:0]
	for _, x := range c {
		if x.Target.Provider == "a" {
			out = append(out, x)
		}
	}
	return out
}

func TestWhatAStrategyLeavesOutIsInTheDecision(t *testing.T) {
	t.Parallel()
	spec := func(p string) routing.TargetSpec {
		return routing.TargetSpec{Target: schemas.Target{Provider: p, Model: "m"}, Weight: 1}
	}
	r := routing.NewRouter(
		[]routing.Model{{Name: "chat", Targets: []routing.TargetSpec{spec("b"), spec("a")}}, {Name: "none", Targets: []routing.TargetSpec{spec("b")}}},
		[]routing.Rule{{Name: "x", Strategy: picky{}}}, routing.Sources{},
	)
	j := job("r1", "chat")
	if _, targets := route(t, r, j); len(targets) != 1 {
		t.Errorf("targets %v", targets)
	}
	if d := j.Decision; len(d) != 2 || d[1].Kept || d[1].Target.Provider != "b" || !strings.Contains(d[1].Reason, "left out") {
		t.Errorf("decision %+v", d)
	}
	err := r.Handle(t.Context(), job("r1", "none"))
	if f, ok := errors.AsType[*schemas.Failure](err); !ok || f.Code != schemas.Unroutable {
		t.Errorf("nothing left: got %v", err)
	}
}

func TestWeightedKeepsSharesAndIsStable(t *testing.T) {
	t.Parallel()
	w := func(n int) *int { return &n }
	r := build(t, routing.Config{
		Models: []routing.ModelConfig{{Name: "chat", Targets: []routing.TargetConfig{
			{Provider: "spare", Model: "m", Weight: w(0)},
			{Provider: "a", Model: "m", Weight: w(60)},
			{Provider: "b", Model: "m", Weight: w(30)},
			{Provider: "c", Model: "m", Weight: w(10)},
		}}},
		Routes: []routing.RouteConfig{{Name: "w", Strategy: "weighted", Settings: catalog.Settings(`{"seed":7}`)}},
	})
	const n = 20_000
	first, second := map[string]int{}, map[string]int{}
	for i := range n {
		id := fmt.Sprint("request-", i)
		_, targets := route(t, r, job(id, "chat"))
		if _, again := route(t, r, job(id, "chat")); !cmp.Equal(targets, again) {
			t.Fatalf("%s was given %v, then %v", id, targets, again)
		}
		if targets[3] != "spare/m" {
			t.Fatalf("weight 0 is not last: %v", targets)
		}
		first[targets[0]]++
		if targets[0] == "a/m" {
			second[targets[1]]++
		}
	}
	within := func(what string, got int, share float64, of int) {
		sigma := math.Sqrt(float64(of) * share * (1 - share))
		if d := float64(got) - share*float64(of); math.Abs(d) > 4*sigma {
			t.Errorf("%s: %d of %d, want %.2f", what, got, of, share)
		}
	}
	within("a first", first["a/m"], 0.6, n)
	within("b first", first["b/m"], 0.3, n)
	within("c first", first["c/m"], 0.1, n)
	within("b after a", second["b/m"], 0.75, first["a/m"])
}

func TestAllFaultsAreReportedAtOnceWithTheirPaths(t *testing.T) {
	t.Parallel()
	w := -1
	c := routing.Config{
		Models: []routing.ModelConfig{
			{Name: "chat", Targets: []routing.TargetConfig{{Provider: "a", Model: "m"}, {Provider: "a", Model: "m"}, {Weight: &w}}},
			{Name: "chat"},
		},
		Routes: []routing.RouteConfig{
			{When: `modell == "x"`},
			{Name: "one", When: `tenant`, Strategy: "cheapst", Models: []string{"caht"}, Fallback: []string{"nowhere"}},
			{Name: "one", When: `all(1..9, true)`, Settings: catalog.Settings(`{"sed":1}`), Strategy: "weighted"},
			{Name: "two", When: `hour in 1..9`},
			{Name: "three", When: `tenant ==`},
			{Name: "four", When: strings.Repeat("1 + ", 300) + "1 > 0"},
		},
	}
	var got []string
	for _, f := range c.Faults(strategies()) {
		got = append(got, f.Path)
		if f.Message == "" || strings.Contains(f.Message, "\n") {
			t.Errorf("%s: message %q", f.Path, f.Message)
		}
	}
	want := []string{
		"models[0].targets[1]", "models[0].targets[2].provider", "models[0].targets[2].model", "models[0].targets[2].weight",
		"models[1].name", "models[1].targets",
		"routes[0].name", "routes[0].when",
		"routes[1].when", "routes[1].models[0]", "routes[1].strategy", "routes[1].fallback[0]",
		"routes[2].name", "routes[2].when", "routes[2].settings",
		"routes[3].when", "routes[4].when", "routes[5].when",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := routing.New(c, strategies(), catalog.Env{}); err == nil || strings.Count(err.Error(), "\n") != len(want)-1 {
		t.Errorf("New: %v", err)
	}
}

// The messages are what an operator reads; these are the frequent ones.
func TestFaultsSayWhatToWriteInstead(t *testing.T) {
	t.Parallel()
	tests := []struct {
		route routing.RouteConfig
		want  string
	}{
		{routing.RouteConfig{Name: "r", When: "tenat == 'x'"}, "unknown name tenat (column 1); known are model, tenant"},
		{routing.RouteConfig{Name: "r", When: "hour"}, "expected bool, but got int"},
		{routing.RouteConfig{Name: "r", When: "hour == 'x'"}, "mismatched types int and string"},
		{routing.RouteConfig{Name: "r", Strategy: "prioritty"}, `no strategy of kind "prioritty"; there are ab, best_of`},
		{routing.RouteConfig{Name: "r", Models: []string{"caht"}}, "did you mean chat?"},
		{routing.RouteConfig{Name: "r", When: "stream and size.tokns > 5"}, "no field tokns (column 17)"},
		{routing.RouteConfig{Name: "r", When: "stream and\n  time.hour == 'x'"}, "(line 2, column 13)"},
		{routing.RouteConfig{Name: "r", When: "stream or health.bb.failures > 0.1"}, `no target names a provider "bb" (column 18); did you mean`},
		{routing.RouteConfig{Name: "r", When: "health != nil"}, "health wants the name of a provider"},
		{routing.RouteConfig{Name: "r", When: "candidate.weight > 1"}, "only the strategy custom"},
		{routing.RouteConfig{Name: "r", Steps: []routing.StepConfig{{Strategy: "priority"}}, Strategy: "weighted"}, "make that strategy one of the steps"},
	}
	for _, tt := range tests {
		c := routing.Config{Models: models(), Routes: []routing.RouteConfig{tt.route}}
		f := c.Faults(strategies())
		if len(f) != 1 || !strings.Contains(f[0].Error(), tt.want) {
			t.Errorf("got %v, want %q", f, tt.want)
		}
	}
}

func TestAnExpressionThatFailsDoesNotMatch(t *testing.T) {
	t.Parallel()
	r := build(t, routing.Config{Models: models(), Routes: []routing.RouteConfig{
		{Name: "broken", When: `hour % tools == 0`}, {Name: "rest"},
	}})
	if name, _ := route(t, r, job("r1", "chat")); name != "rest" {
		t.Errorf("route %s", name)
	}
}

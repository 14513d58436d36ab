package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/sinks/clickhouse"
	"github.com/sira-ai/sira/sinks/clickhouse/embedded"
)

const (
	routingExamples = "../../docs/examples/routing/"
	routingDoc      = "../../docs/routing.md"
)

// noConfigurations are the examples that are something else; cmd/sira tests them.
var noConfigurations = []string{"cases.yaml", "world.yaml"}

func TestEveryStrategyHasAnExampleThatLoadsAndRoutes(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "0123456789-0123456789-0123456789")
	t.Setenv("ANTHROPIC_API_KEY", "0123456789-0123456789-0123456789")
	page, err := os.ReadFile(routingDoc)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(routingExamples + "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, f := range files {
		name := filepath.Base(f)
		if !strings.Contains(string(page), "(examples/routing/"+name+")") {
			t.Errorf("docs/routing.md does not mention %s", name)
		}
		if slices.Contains(noConfigurations, name) {
			continue
		}
		cfg, err := Load(f)
		if err != nil {
			t.Errorf("%s:\n%v", name, err)
			continue
		}
		r, err := cfg.Router(catalog.Env{}, routing.Sources{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		job := &pipeline.Job{Request: &schemas.Request{
			ID: "r1", Tenant: "acme", Model: cfg.Models[0].Name, Labels: map[string]string{"user": "ann", "region": "eu-west-1", "data": "eu"},
			Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "What is a log?")},
		}}
		if err := r.Handle(t.Context(), job); err != nil || len(job.Targets) == 0 {
			t.Errorf("%s: %v", name, err)
		}
		regions(t, name, &cfg)
		for _, route := range cfg.Routes {
			shown[route.Strategy] = true
		}
	}
	for _, kind := range strategies().Kinds() {
		if !shown[kind] {
			t.Errorf("no example shows the strategy %s", kind)
		}
		if !strings.Contains(string(page), "\n## "+kind+"\n") {
			t.Errorf("docs/routing.md has no section on %s", kind)
		}
	}
}

// regions checks that a target with a region can be called: its provider has an
// endpoint there.
func regions(t *testing.T, name string, cfg *Config) {
	t.Helper()
	there := map[string]bool{}
	for _, p := range cfg.Providers {
		for _, e := range p.endpoints() {
			there[p.Name+"@"+e.Region] = true
		}
	}
	for _, m := range cfg.Models {
		for _, target := range m.Targets {
			if at := target.Provider + "@" + target.Region; target.Region != "" && !there[at] {
				t.Errorf("%s: there is no endpoint %s", name, at)
			}
		}
	}
}

func TestEveryCatalogIsListed(t *testing.T) {
	t.Parallel()
	for _, k := range AllKinds() {
		if len(k.Kinds) == 0 || k.What == "" || k.Where == "" || !slices.IsSorted(k.Kinds) {
			t.Errorf("%+v", k)
		}
	}
}

// The price book knows most prices by the kind of a provider, which a target does
// not name.
func TestRoutingKnowsThePricesOfAProvidersKind(t *testing.T) {
	t.Parallel()
	cfg, err := Parse("t", []byte("providers: [{name: ours, kind: openai}]\nmodels: [{name: m, targets: [{provider: ours, model: gpt-4o-mini}]}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.Routes = []routing.RouteConfig{{Name: "priced", When: "price.known"}, {Name: "rest"}}
	r, err := cfg.Router(catalog.Env{}, routing.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	job := &pipeline.Job{Request: &schemas.Request{ID: "r1", Tenant: "t", Model: "m"}}
	if err := r.Handle(t.Context(), job); err != nil || job.Route != "priced" {
		t.Errorf("route %s, %v", job.Route, err)
	}
}

// The statement of docs/routing.md, on an experiment in which one arm is twice as
// slow and the other measures are alike.
func TestTheAnalysisOfAnExperimentFindsTheDifference(t *testing.T) {
	if _, err := embedded.Find(); errors.Is(err, embedded.ErrNoLibrary) && os.Getenv("CI") == "" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(routingDoc)
	if err != nil {
		t.Fatal(err)
	}
	statement := regexp.MustCompile("(?s)```sql\n(.*?)```").FindSubmatch(page)
	if statement == nil {
		t.Fatal("docs/routing.md has no statement")
	}
	ctx := t.Context()
	engine, err := embedded.Open(ctx, embedded.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	}()
	s, err := embedded.Serve(ctx, embedded.ServerConfig{Addr: "127.0.0.1:0"}, engine)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dsn := fmt.Sprintf("http://default:@%s/sira", s.Addr())
	if _, err := clickhouse.Migrate(ctx, dsn); err != nil {
		t.Fatal(err)
	}
	conn, _, err := clickhouse.Open(dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// 200 users with 4 requests each; those of odd users met the arm haiku.
	const arm = `if(number % 2 = 1, 'haiku', 'control')`
	for _, sql := range []string{
		`INSERT INTO audit (seq, event_time, action, resource, payload, hash) SELECT number, now64(6), 'request.completed', toString(number),
			concat('{"decision":"{\\"candidates\\":[{\\"reason\\":\\"model chat; experiment=haiku-for-chat arm=', ` + arm + `, '\\"}]}"}') AS p,
			SHA256(concat(toFixedString('', 32), reinterpretAsFixedString(byteSwap(toUInt16(0))), reinterpretAsFixedString(byteSwap(number)), p)) FROM numbers(800)`,
		`INSERT INTO requests (event_time, request_id, labels, outcome, handling_ms) SELECT now64(3), toString(number), map('user', toString(number % 200)),
			if(intDiv(number, 2) % 10 = 0, 'timeout', 'ok'), (100 + intDiv(number, 2) % 7) * if(number % 2 = 1, 2, 1) FROM numbers(800)`,
		`INSERT INTO costs (event_time, request_id, amount, currency) SELECT now64(3), toString(number), toDecimal64(0.001 * (1 + intDiv(number, 2) % 3), 9), 'USD' FROM numbers(800)`,
	} {
		if err := conn.Exec(ctx, sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	rows, err := conn.Query(ctx, "SELECT concat(measure, ' ', arm, ' ', toString(units), ' ', toString(significant)) FROM ("+string(statement[1])+")")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		got = append(got, line)
	}
	if diff := cmp.Diff([]string{"failed haiku 100 0", "ms haiku 100 1", "usd haiku 100 0"}, got); diff != "" || rows.Err() != nil {
		t.Errorf("%v %s", rows.Err(), diff)
	}
}

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/handlers/routing/replay"
)

const routed = `providers:
  - {name: openai, kind: openai}
  - {name: anthropic, kind: anthropic}
models:
  - name: chat
    targets:
      - {provider: openai, model: gpt-4o, region: us-east-1}
      - {provider: anthropic, model: claude-haiku-4-5, region: eu-west-1}
routes:
  - {name: eu, guard: true, when: 'labels.data == "eu"', residency: [eu-*]}
  - {name: night, when: time.hour < 6, strategy: cheapest}
  - {name: sick, when: health.openai.failures > 0.5, targets: [{provider: anthropic, model: claude-sonnet-4-5, region: eu-west-1}]}
  - {name: rest}
`

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCheckListsTheKinds(t *testing.T) {
	code, out, errs := sira(t, "check", "--kinds")
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	for _, kind := range []string{
		"geo", "preference", "ab", "canary", "version", "context", "cheapest", "fastest", "priority", "weighted", "best_of", "custom",
		"openai", "anthropic", "least_load", "round_robin",
	} {
		if !strings.Contains(" "+strings.ReplaceAll(out, "\n", " ")+" ", " "+kind+" ") {
			t.Errorf("there is no %s in\n%s", kind, out)
		}
	}
	_, out, _ = sira(t, "check", "--kinds", "--json")
	for line := range strings.Lines(out) {
		var k struct {
			What, Where string
			Kinds       []string
		}
		if err := json.Unmarshal([]byte(line), &k); err != nil || k.What == "" || k.Where == "" || len(k.Kinds) == 0 {
			t.Errorf("line %s: %v", line, err)
		}
	}
	if code, _, _ := sira(t, "check", "--kinds", "x.yaml"); code != exitUsage {
		t.Errorf("with a file: exit code %d", code)
	}
}

func TestExplainTellsWhyEachCandidateStandsWhereItStands(t *testing.T) {
	config := document(t, routed)
	request := file(t, "r.json", `{"model": "chat", "labels": {"data": "eu"}, "messages": [{"role": "user", "parts": [{"kind": "text", "text": "hi"}]}]}`)
	code, out, errs := sira(t, "route", "explain", request, "--config", config, "--at", "2026-11-23T03:00:00Z")
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	for _, says := range []string{"guard  eu: only regions eu-*", "route  night: matches", "   1  anthropic/claude-haiku-4-5@eu-west-1", "about 0.002565 USD for 5+512 tokens", "   -  openai/gpt-4o@us-east-1", "residency: its region is not allowed"} {
		if !strings.Contains(out, says) {
			t.Errorf("there is no %q in\n%s", says, out)
		}
	}
	var trace routing.Trace
	code, out, _ = sira(t, "route", "explain", request, "--config", config, "--at", "2026-11-23T13:00:00Z", "--json")
	if err := json.Unmarshal([]byte(out), &trace); err != nil || code != exitOK || trace.Route != "rest" || len(trace.Lists) != 1 || len(trace.Lists[0].Candidates) != 2 {
		t.Errorf("exit code %d, %+v, %v", code, trace, err)
	}
	for text, want := range map[string]int{`{"model": "caht"}`: exitFailure, `{"modell": "chat"}`: exitUsage, `{}`: exitUsage, `[`: exitUsage} {
		if code, _, errs := sira(t, "route", "explain", file(t, "r.json", text), "--config", config); code != want {
			t.Errorf("%s: exit code %d, want %d: %s", text, code, want, errs)
		}
	}
	if code, _, errs := sira(t, "route", "explain", request, "--at", "noon"); code != exitUsage || !strings.Contains(errs, "2026-12-24") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

const cases = `config: sira.yaml
cases:
  - name: data stays
    request: {model: chat, labels: {data: eu}}
    prompt: hi
    at: 2026-11-23T13:00:00Z
    expect: {route: rest, targets: [anthropic/*@eu-west-1], never: ["*/*@us-*"]}
  - name: at night the cheapest is first
    request: {model: chat}
    at: 2026-11-23T03:00:00Z
    expect: {route: night, first: anthropic, has: [openai/gpt-4o]}
  - name: away from what is sick
    request: {model: chat}
    at: 2026-11-23T13:00:00Z
    health: {openai/gpt-4o: {latency: 900ms, failures: 0.8}}
    expect: {route: sick, first: anthropic/claude-sonnet-4-5}
  - name: nowhere
    request: {model: nothing}
    expect: {failure: unroutable}
`

func TestRouteTestChecksATableOfCases(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("sira.yaml", routed)
	code, out, errs := sira(t, "route", "test", write("cases.yaml", cases))
	if code != exitOK || !strings.Contains(out, "4 cases, all as expected") {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	wrong := strings.NewReplacer("route: rest, targets: [anthropic/*@eu-west-1]", "route: night, targets: [openai, anthropic]", "first: anthropic/claude-sonnet-4-5", "first: openai").Replace(cases)
	code, out, errs = sira(t, "route", "test", write("wrong.yaml", wrong))
	if code != exitFailure || !strings.Contains(errs, "2 of 4 cases failed") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	want := `FAIL  data stays
      route
        - night
        + rest
      targets
        - openai
        + anthropic/claude-haiku-4-5@eu-west-1
        - anthropic
ok    at night the cheapest is first
FAIL  away from what is sick
      first
        - openai
        + anthropic/claude-sonnet-4-5@eu-west-1
ok    nowhere
`
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	for text, says := range map[string]string{
		"": "no cases", "cases: [{name: x, request: {model: chat}}]": "expect: is empty", "case: []": "case", "cases: [{request: {modl: x}, expect: {route: x}}]": "modl",
		"cases: [{request: {model: x}, expect: {first: /}}]": "names no target", "cases: [{request: {model: x}, at: noon, expect: {route: x}}]": "at:", "config: none.yaml\n" + cases[18:]: "none.yaml",
	} {
		if code, _, errs := sira(t, "route", "test", write("bad.yaml", text)); code != exitUsage || !strings.Contains(errs, says) {
			t.Errorf("%q: exit code %d, %s does not say %q", text, code, errs, says)
		}
	}
}

func TestSimulateComparesPoliciesAndCanBeRepeated(t *testing.T) {
	var b strings.Builder
	b.WriteString("time,input_tokens,output_tokens,model\n")
	for i := range 600 {
		b.WriteString(strings.Join([]string{strings.Repeat("1", 1+i%4), "200", "60", "someone-elses"}, ",") + "\n")
	}
	trace, config := file(t, "trace.csv", b.String()), document(t, routed)
	world := file(t, "world.yaml", "targets:\n  - {target: openai, first_token: 200ms, per_token: 5ms}\ndegraded:\n  - {target: openai/gpt-4o, from: 0, to: 1, slower: 9, failures: 0.4}\n")
	args := []string{"route", "simulate", "--trace", trace, "--config", config, "--world", world, "--policy", "config", "--policy", `fastest={"explore":0.1}`, "--policy", "cheapest"}
	code, out, errs := sira(t, args...)
	if code != exitOK || strings.Count(out, "\n") != 4 || !strings.Contains(out, "fell over") {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	if _, again, _ := sira(t, args...); again != out {
		t.Errorf("the second run differs:\n%s%s", out, again)
	}
	code, out, _ = sira(t, append(args, "--json")...)
	var o replay.Outcome
	first, _, _ := strings.Cut(out, "\n")
	if err := json.Unmarshal([]byte(first), &o); err != nil || code != exitOK || o.Policy != "config" || o.Requests != 600 || o.Failed > 60 {
		t.Errorf("%v: %+v", err, o)
	}
	bad := file(t, "bad.yaml", "degraded: [{target: openai, from: 0.5, to: 0.2}]")
	for says, args := range map[string][]string{
		"--trace is missing": {}, "no such file": {"--trace", "none.csv"}, "no strategy of kind": {"--trace", trace, "--policy", "luck"},
		"there is no model": {"--trace", trace, "--model", "x"}, "degraded[0]": {"--trace", trace, "--world", bad}, "no column for time": {"--trace", bad},
	} {
		code, _, errs := sira(t, append([]string{"route", "simulate", "--config", config}, args...)...)
		if code != exitUsage || !strings.Contains(errs, says) {
			t.Errorf("exit code %d, %s does not say %q", code, errs, says)
		}
	}
}

// The traces of real services are not part of the project: one in their form is
// replayed, and where they are at hand they are too.
func TestTracesInPublishedFormsAreReplayed(t *testing.T) {
	var ours strings.Builder
	ours.WriteString("TIMESTAMP,ContextTokens,GeneratedTokens\n")
	at, draws := time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC), rand.New(rand.NewPCG(1, 1))
	for range 2100 {
		fmt.Fprintf(&ours, "%s,%d,%d\n", at.Format("2006-01-02 15:04:05.0000000"), 1+draws.IntN(4000), 1+draws.IntN(400))
		at = at.Add(time.Duration(draws.ExpFloat64() * float64(200*time.Millisecond)))
	}
	theirs, _ := filepath.Glob("../../../shared/data/workloads/azure_2023/*_conv.csv")
	config := document(t, routed)
	for _, trace := range append(theirs, file(t, "trace.csv", ours.String())) {
		code, out, errs := sira(t, "route", "simulate", "--config", config, "--trace", trace, "--limit", "2000")
		if code != exitOK || strings.Count(out, " 2000 ") != 5 {
			t.Errorf("%s: exit code %d\n%s%s", trace, code, out, errs)
		}
	}
}

func TestTheExampleOfCasesPassesAndTheExampleOfAWorldIsRead(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "0123456789")
	t.Setenv("ANTHROPIC_API_KEY", "0123456789")
	const examples = "../../docs/examples/routing/"
	if code, out, errs := sira(t, "route", "test", examples+"cases.yaml"); code != exitOK {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	trace := file(t, "trace.jsonl", "{\"time\": 0, \"input_tokens\": 100, \"output_tokens\": 10}\n{\"time\": 9, \"input_tokens\": 100, \"output_tokens\": 10}\n")
	code, out, errs := sira(t, "route", "simulate", "--trace", trace, "--world", examples+"world.yaml", "--config", examples+"steps.yaml", "--policy", "config")
	if code != exitOK || !strings.Contains(out, "config") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

// Files of cases and worlds are written by people: whatever they hold, they are
// read or refused.
func FuzzCasesAndWorlds(f *testing.F) {
	for _, seed := range []string{"", cases, "targets: [{target: openai, first_token: 1s}]", "cases: !!binary x", "- 1", "cases: [{request: {model: [x]}}]", "a: &x [*x]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 {
			return
		}
		if file, err := parseCases([]byte(text)); err == nil && len(file.Cases) == 0 {
			t.Error("no cases and no mistake")
		}
		var w replay.World
		if err := parseWorld([]byte(text), &w); err != nil && err.Error() == "" {
			t.Error("a mistake without a text")
		}
	})
}

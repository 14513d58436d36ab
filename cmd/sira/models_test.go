package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/provider/models"
	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/handlers/simulate"
	"github.com/sira-ai/sira/schemas"
)

func TestModelsAreListedByWhatTheyCan(t *testing.T) {
	t.Chdir(t.TempDir())
	list := func(args ...string) []string {
		t.Helper()
		code, out, errs := sira(t, append([]string{"models", "list", "--json"}, args...)...)
		if code != exitOK {
			t.Fatalf("models list %v: exit code %d: %s", args, code, errs)
		}
		var all []string
		for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
			var m models.Model
			if err := d.Decode(&m); err != nil {
				t.Fatal(err)
			}
			all = append(all, m.Provider+"/"+m.Model)
		}
		return all
	}
	want := []string{"openai/omni-moderation-latest"}
	if diff := cmp.Diff(want, list("--operation", "moderate")); diff != "" {
		t.Error(diff)
	}
	want = []string{"openai/gpt-audio", "openai/gpt-audio-mini"}
	if diff := cmp.Diff(want, list("--provider", "openai", "--input", "audio", "--can", "tools")); diff != "" {
		t.Error(diff)
	}
	current, every := list("--provider", "anthropic"), list("--provider", "anthropic", "--retired")
	if len(current) == 0 || len(current) >= len(every) || strings.Contains(strings.Join(current, " "), "claude-3-7") {
		t.Errorf("current %v of %v", current, every)
	}
	code, out, _ := sira(t, "models", "list", "-p", "ai21")
	if code != exitOK || !strings.Contains(out, "jamba-large") || !strings.Contains(out, "256000") || !strings.Contains(out, "deprecated 2026-08-09") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	for flag, says := range map[string]string{"--can=fly": "json_schema", "--provider=acme": "anthropic", "--input=smell": "audio", "--operation=sing": "embed"} {
		if code, _, errs := sira(t, "models", "list", flag); code != exitUsage || !strings.Contains(errs, says) {
			t.Errorf("%s: exit code %d: %s", flag, code, errs)
		}
	}
}

func TestModelIsShownWithPricesAndSources(t *testing.T) {
	t.Chdir(t.TempDir())
	code, out, errs := sira(t, "models", "show", "openai/gpt-4o-mini-2024-07-18")
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	for _, says := range []string{"openai/gpt-4o-mini", "128000", "16384", "input 0.15", "output 0.6", "USD", "litellm", "2026-11-23", "can't", "documents"} {
		if !strings.Contains(out, says) {
			t.Errorf("it does not say %q:\n%s", says, out)
		}
	}
	if code, out, _ := sira(t, "models", "show", "gpt-4o-mini"); code != exitOK || !strings.Contains(out, "azure/gpt-4o-mini") {
		t.Errorf("by name alone: exit code %d:\n%s", code, out)
	}
	var sheet struct {
		Provider, Checked string
		Prices            []map[string]any
		Sources           []string
	}
	_, out, _ = sira(t, "models", "show", "together/openai/gpt-oss-120b", "--json")
	if err := json.Unmarshal([]byte(out), &sheet); err != nil || sheet.Provider != "together" || sheet.Checked == "" || len(sheet.Sources) == 0 {
		t.Errorf("%+v, %v in %s", sheet, err, out)
	}
	if code, _, errs := sira(t, "models", "show", "gpt-99"); code != exitUsage || !strings.Contains(errs, "gpt-99") {
		t.Errorf("unknown: exit code %d: %s", code, errs)
	}
}

func TestListOfAProviderIsComparedWithTheCatalogue(t *testing.T) {
	t.Parallel()
	c, err := models.Default()
	if err != nil {
		t.Fatal(err)
	}
	all := compare(c, "texts", "ai21", []schemas.ModelInfo{{ID: "jamba-large-1.7"}, {ID: "jamba-next", ContextTokens: 7}})
	want := []offer{
		{Provider: "texts", Model: "jamba-large-1.7", Offered: true, Known: true, Context: 256000, Output: 4096, State: "deprecated 2026-08-09"},
		{Provider: "texts", Model: "jamba-mini", Known: true, Context: 256000, Output: 4096, State: "deprecated 2026-08-09"},
		{Provider: "texts", Model: "jamba-next", Offered: true, Context: 7},
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	own := compare(c, "local", "openai", []schemas.ModelInfo{{ID: "gemma"}})
	if diff := cmp.Diff([]offer{{Provider: "local", Model: "gemma", Offered: true}}, own); diff != "" {
		t.Errorf("a server of one's own (-want +got):\n%s", diff)
	}
}

func TestProviderIsAskedThroughTheModelThatGoesNowhereElse(t *testing.T) {
	t.Parallel()
	cfg := app.Config{
		Providers: []app.ProviderConfig{{Name: "east", Kind: "openai"}, {Name: "west", Kind: "openai"}, {Name: "idle", Kind: "cohere"}},
		Models: []routing.ModelConfig{
			{Name: "both", Targets: []routing.TargetConfig{{Provider: "east"}, {Provider: "west"}}},
			{Name: "one", Targets: []routing.TargetConfig{{Provider: "west"}}},
		},
	}
	for provider, want := range map[string]string{"east": "both openai", "west": "one openai"} {
		model, kind, err := listedBy(cfg, provider)
		if err != nil || model+" "+kind != want {
			t.Errorf("%s: %s %s, %v, want %s", provider, model, kind, err, want)
		}
	}
	for provider, says := range map[string]string{"idle": "add one", "north": "east, idle, west"} {
		if _, _, err := listedBy(cfg, provider); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v does not say %q", provider, err, says)
		}
	}
}

// listingGateway runs a gateway whose simulated vendor lists two models, and
// returns the path of a document that says where it is.
func listingGateway(t *testing.T) string {
	t.Helper()
	cfg := app.Defaults()
	cfg.Instance, cfg.DataDir = "test", t.TempDir()
	for _, addr := range []*string{&cfg.HTTP.Addr, &cfg.Kafka.Embedded.Addr, &cfg.Registry.Listen, &cfg.Simulator.Listen} {
		*addr = "127.0.0.1:0"
	}
	cfg.Kafka.Partitions = 1
	cfg.Simulator.Instances = map[string]simulate.Behaviour{"default": {Models: []string{"gpt-4o-mini", "gpt-next"}}}
	a := app.New(cfg, []app.Role{app.RoleKafka, app.RoleRegistry, app.RoleSimulator, app.RoleWorker}, zap.NewNop())
	ctx, cancel := context.WithCancel(context.Background())
	up, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- a.Run(ctx, func() { close(up) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	select {
	case <-up:
	case err := <-ended:
		ended <- nil
		t.Fatalf("starting: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("does not start")
	}
	e := a.Effective()
	return document(t, fmt.Sprintf("data_dir: %q\nkafka:\n  partitions: 1\n  embedded: {addr: %q}\nregistry: {listen: %q}\n",
		e.DataDir, e.Kafka.Embedded.Addr, e.Registry.Listen))
}

func TestRefreshAsksARunningGateway(t *testing.T) {
	file := listingGateway(t)
	code, out, errs := sira(t, "models", "refresh", "--provider", "openai", "--config", file, "--json")
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	got := map[string]offer{}
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var o offer
		if err := d.Decode(&o); err != nil {
			t.Fatal(err)
		}
		got[o.Model] = o
	}
	if a, b, c := got["gpt-4o-mini"], got["gpt-next"], got["gpt-4.1"]; !a.Offered || !a.Known || a.Context != 128000 || !b.Offered || b.Known || c.Offered || !c.Known {
		t.Errorf("%+v, %+v, %+v; want one offered and known, one only offered, one only known", a, b, c)
	}
	if code, out, _ := sira(t, "models", "refresh", "--provider", "openai", "--config", file); code != exitOK || !strings.Contains(out, "not offered") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	if code, _, errs := sira(t, "models", "refresh", "--config", file); code != exitUsage || !strings.Contains(errs, "provider") {
		t.Errorf("no provider: exit code %d: %s", code, errs)
	}
}

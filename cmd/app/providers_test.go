package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/balance/limit"
	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/schemas"
)

// overview returns what the worker says of its endpoints and limits.
func (s *started) overview(t *testing.T) (o overview) {
	t.Helper()
	status, body := get(t, "http://"+s.HTTPAddr()+"/endpoints")
	if status != http.StatusOK {
		t.Fatalf("endpoints: %d %s", status, body)
	}
	if err := json.Unmarshal([]byte(body), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o overview) ids() string {
	var ids []string
	for _, e := range o.Endpoints {
		ids = append(ids, e.ID)
	}
	return strings.Join(ids, " ")
}

// Endpoints come from a file that is rewritten while the worker runs.
func TestEndpointsAreDiscoveredWhileTheWorkerRuns(t *testing.T) {
	t.Parallel()
	sim := start(t, isolated(t), RoleSimulator)
	sim.up(t)
	defer sim.down(t)
	url := "http://" + sim.Effective().Simulator.Listen
	list := filepath.Join(t.TempDir(), "endpoints.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(list+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(list+".new", list); err != nil {
			t.Fatal(err)
		}
	}
	write("- {id: one, address: " + strings.TrimPrefix(url, "http://") + ", region: eu}\n- {id: two, address: '" + url + "/two/openai/v1'}\n")
	cfg := isolated(t)
	cfg.Providers = []ProviderConfig{{
		Name: "pool", Kind: "openai", Settings: Settings{"base_url": "http://unused.test/one/openai/v1", "api_key": "any"},
		Discover: &DiscoverConfig{Kind: "file", Settings: Settings{"path": list, "interval": "50ms"}},
	}}
	cfg.Models = []routing.ModelConfig{{Name: "gpt-4o-mini", Targets: []routing.TargetConfig{{Provider: "pool", Model: "gpt-4o-mini"}}}}
	s := start(t, cfg, RoleKafka, RoleRegistry, RoleWorker)
	s.up(t)
	s.isReady(t)
	eventually(t, func() string {
		if ids := s.overview(t).ids(); ids != "one two" {
			return "endpoints are " + ids
		}
		return ""
	})
	for _, id := range []string{"r1", "r2", "r3"} {
		if res := s.ask(t, id); res.Status != schemas.Succeeded {
			t.Errorf("%s: %+v", id, res.Failure)
		}
	}
	write("- {id: three, address: '" + url + "/three/openai/v1'}\n")
	eventually(t, func() string {
		if ids := s.overview(t).ids(); ids != "three" {
			return "endpoints are " + ids
		}
		return ""
	})
	if res := s.ask(t, "r4"); res.Status != schemas.Succeeded || res.Attempts[0].Target.Endpoint != "three" {
		t.Errorf("%+v %+v", res.Failure, res.Attempts)
	}
	write("- nonsense") // what was known stays
	s.down(t)
}

func TestAFoundAddressTakesThePlaceOfTheConfiguredOne(t *testing.T) {
	t.Parallel()
	for _, tt := range [][3]string{
		{"https://vllm.example.com/v1", "10.0.0.7:8000", "https://10.0.0.7:8000/v1"},
		{"https://vllm.example.com/v1", "http://other.test/api", "http://other.test/api"},
		{"", "10.0.0.7:8000", "http://10.0.0.7:8000"},
	} {
		if got := addressed(tt[0], tt[1]); got != tt[2] {
			t.Errorf("%q at %q is %q, want %q", tt[0], tt[1], got, tt[2])
		}
	}
}

func TestDiscoverySettingsAreChecked(t *testing.T) {
	t.Parallel()
	got := faultsOf(t, `providers:
  - {name: a, kind: openai, discover: {kind: consul}}
  - {name: b, kind: openai, discover: {kind: file, settings: {pth: x}}}
  - {name: c, kind: openai, discover: {kind: file, settings: {path: x}}}
`)
	if len(got) != 2 || !strings.Contains(got.Error(), "dns, file, kubernetes") || !strings.Contains(got.Error(), "pth") {
		t.Errorf("faults:\n%v", got)
	}
}

// Two workers share a limit of a tenant; the requests of one that is over it wait,
// which shows.
func TestWorkersShareLimitsAndShowWhoWaits(t *testing.T) {
	t.Parallel()
	cfg := isolated(t)
	cfg.Limits.Rules = []limit.Rule{{Scope: limit.Tenant, Requests: 240, Burst: 1}}
	cfg.Worker.Static = new(false)
	s := start(t, cfg, RoleKafka, RoleRegistry, RoleSimulator, RoleWorker)
	s.up(t)
	s.isReady(t)
	if res := s.ask(t, "r1"); res.Status != schemas.Succeeded { // once the worker holds its share
		t.Fatalf("%+v", res.Failure)
	}
	other := s.Effective()
	other.Instance, other.DataDir, other.HTTP.Addr = "second", t.TempDir(), "127.0.0.1:0"
	other.Kafka.Brokers = []string{other.Kafka.Embedded.Addr}
	second := start(t, other, RoleWorker)
	second.up(t)
	second.isReady(t)
	for _, w := range []*started{s, second} {
		eventually(t, func() string {
			if _, metrics := get(t, "http://"+w.HTTPAddr()+"/metrics"); !strings.Contains(metrics, "sira_limit_share 0.5") {
				return "the share is not a half"
			}
			return ""
		})
	}
	second.down(t)
	eventually(t, func() string {
		if _, metrics := get(t, "http://"+s.HTTPAddr()+"/metrics"); !strings.Contains(metrics, "sira_limit_share 1\n") {
			return "the share is not whole again"
		}
		return ""
	})
	s.enqueue(t, 20)
	eventually(t, func() string {
		waiting := s.overview(t).Waiting
		if len(waiting) != 1 || waiting[0].Scope != limit.Tenant || waiting[0].Name != "acme" || waiting[0].Waiting == 0 || waiting[0].ETA <= 0 {
			return fmt.Sprintf("waiting: %+v", waiting)
		}
		return ""
	})
	_, metrics := get(t, "http://"+s.HTTPAddr()+"/metrics")
	for _, name := range []string{`sira_limit_waiting{scope="tenant"}`, "sira_limit_position_bucket", "sira_limit_eta_seconds_bucket"} {
		if !strings.Contains(metrics, name) {
			t.Errorf("metrics lack %s", name)
		}
	}
	s.down(t)
}

// enqueue puts n requests of one tenant on the topic.
func (s *started) enqueue(t *testing.T, n int) {
	t.Helper()
	cl, err := s.Client().NewClient(zap.NewNop(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	cfg := s.Effective()
	for i := range n {
		value := fmt.Sprintf(`{"id":"q%d","tenant":"acme","model":"gpt-4o-mini","messages":[{"role":"user","parts":[{"kind":"text","text":"hi"}]}]}`, i)
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: cfg.RequestTopic("interactive"), Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
}

package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/anomaly/fleet"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

func TestPredictionIsRefusedWithItsPlace(t *testing.T) {
	t.Parallel()
	_, err := Parse("sira.yaml", []byte("prediction:\n  mode: on\n  enter: 0.05\n  silence: 1s\n"))
	if err == nil {
		t.Fatal("it was accepted")
	}
	for _, want := range []string{"prediction", "mode is", "enter is 0.05", "silence is 1s"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	cfg, err := Parse("sira.yaml", []byte("prediction: {mode: observe, trickle: 10}\n"))
	if err != nil || cfg.Prediction.Mode != fleet.ModeObserve || cfg.Prediction.Trickle != 10 || cfg.Prediction.Enter != 0.6 {
		t.Errorf("read as %+v, %v", cfg.Prediction, err)
	}
}

func TestRoutesAndModelsSayWhatIsJudgedTogether(t *testing.T) {
	t.Parallel()
	cfg, err := Parse("sira.yaml", []byte(`
providers:
  - {name: a, kind: openai, api_key: k}
  - {name: b, kind: openai, api_key: k}
  - {name: c, kind: openai, api_key: k}
  - {name: d, kind: openai, api_key: k}
models:
  - {name: one, targets: [{provider: b, model: m}, {provider: a, model: m, priority: 1}]}
  - {name: two, targets: [{provider: d, model: m}]}
routes:
  - {name: r, when: 'model == "one"', targets: [{provider: b, model: m}, {provider: c, model: m}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	l := cfg.layout()
	for provider, want := range map[string]string{"a": "a", "b": "a", "c": "a", "d": "d"} {
		if got := l.Fleet(provider); got != want {
			t.Errorf("%s is of fleet %s, want %s", provider, got, want)
		}
	}
}

func TestAModelThatCannotBeReadEndsTheStart(t *testing.T) {
	t.Parallel()
	cfg := Defaults()
	cfg.Prediction.Model = filepath.Join(t.TempDir(), "model.json")
	if _, _, err := cfg.predictionModel(); err == nil || !strings.Contains(err.Error(), "prediction.model") {
		t.Errorf("error %v", err)
	}
	if err := os.WriteFile(cfg.Prediction.Model, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := cfg.predictionModel(); err == nil {
		t.Error("an empty model was accepted")
	}
}

// Only act moves calls; observe computes the same and says what it would do.
func TestOnlyActMovesCalls(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]int{fleet.ModeAct: 5, fleet.ModeObserve: 100} {
		cfg, err := Parse("sira.yaml", []byte("providers: [{name: p, kind: openai, api_key: k}]\nmodels: [{name: m, targets: [{provider: p, model: m}]}]\nprediction: {mode: "+mode+"}\n"))
		if err != nil {
			t.Fatal(err)
		}
		a, g := New(cfg, nil, zap.NewNop()), &group{failed: make(chan error, 1)}
		pools, err := a.pools(g, catalog.Env{Log: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		p := &predictor{config: cfg.Prediction, pools: pools}
		advice := fleet.Advice{Name: fleet.Name{Provider: "p", Endpoint: "p"}, Share: 5, Probability: 0.9}
		p.advise([]fleet.Advice{advice, {Name: fleet.Name{Provider: "gone", Endpoint: "x"}, Share: 5}})
		if got := pools["p"].Endpoint("p").Share(); got != want {
			t.Errorf("%s: the share is %d percent, want %d", mode, got, want)
		}
		if v := p.views(); len(v) != 2 || v[1].Share != 5 || v[1].Source != schemas.SourceAnalyst {
			t.Errorf("%s: it says %+v", mode, v)
		}
		if err := g.stop(); err != nil {
			t.Error(err)
		}
	}
}

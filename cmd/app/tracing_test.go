package app

import (
	"fmt"
	"strings"
	"testing"

	"go.uber.org/zap"
)

func TestTracingIsOffUnlessEnabled(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{"", "tracing: {sample: 0.5}"} {
		cfg, err := Parse("sira.yaml", []byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		if tracer, err := cfg.Tracer(zap.NewNop(), nil); tracer != nil || err != nil {
			t.Errorf("%q makes a tracer, or %v", doc, err)
		}
	}
}

func TestExampleOfTracingBuildsAndShowsNoSecret(t *testing.T) {
	t.Setenv("OTLP_TOKEN", "token-0")
	t.Setenv("OPENAI_API_KEY", "key-0")
	cfg, err := Load("../../docs/examples/tracing.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Tracing.Headers["authorization"].Reveal(); got != "Bearer token-0" {
		t.Errorf("the header is %q", got)
	}
	if text := fmt.Sprintf("%+v", cfg.Tracing); strings.Contains(text, "token-0") {
		t.Error("the configuration prints the header")
	}
	tracer, err := cfg.Tracer(zap.NewNop(), nil)
	if err != nil || tracer == nil {
		t.Fatalf("tracer %v, %v", tracer, err)
	}
	if err := tracer.Close(); err != nil {
		t.Error(err)
	}
}

func TestFaultsOfTracingHaveTheirPlace(t *testing.T) {
	t.Parallel()
	_, err := Parse("sira.yaml", []byte("tracing:\n  enabled: true\n  endpoint: collector:4317\n  sample: 7\n  smaple: 1\n"))
	if err == nil || !strings.Contains(err.Error(), "did you mean sample?") {
		t.Errorf("a wrong key: %v", err)
	}
	_, err = Parse("sira.yaml", []byte("tracing:\n  enabled: true\n  endpoint: collector:4317\n  sample: 7\n"))
	for _, says := range []string{"sira.yaml:2:", "tracing: endpoint is", "tracing: sample is 7: write 0 to 1"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v lacks %q", err, says)
		}
	}
}

package app

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/invoke"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// loadExample reads a document whose variables are set to something.
func loadExample(t *testing.T, name, text string) (Config, bool) {
	t.Helper()
	for _, m := range reference.FindAllStringSubmatch(text, -1) {
		if !strings.HasPrefix(m[1], "file:") {
			t.Setenv(m[1], "0123456789-0123456789-0123456789")
		}
	}
	cfg, err := Parse(name, []byte(text))
	if err != nil {
		t.Errorf("%s:\n%v", name, err)
	}
	return cfg, err == nil
}

// Every kind of balancer and of discovery has an example, and every example builds.
func TestExamplesOfResilienceBuild(t *testing.T) {
	files, err := filepath.Glob("../../docs/examples/resilience/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	shown := map[string]bool{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		cfg, ok := loadExample(t, f, string(text))
		if !ok {
			continue
		}
		a, g := New(cfg, nil, zap.NewNop()), &group{failed: make(chan error, 1)}
		pools, err := a.pools(g, catalog.Env{Log: zap.NewNop()})
		if err != nil {
			t.Errorf("%s: %v", f, err)
		}
		if _, err := a.limits(); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		if _, err := invoke.New(cfg.Invoke, pools, invoke.Limits{}); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		if err := g.stop(); err != nil {
			t.Errorf("%s: %v", f, err)
		}
		for _, p := range cfg.Providers {
			shown[p.Balance] = true
			if p.Discover != nil {
				shown[p.Discover.Kind] = true
			}
		}
	}
	for _, kind := range append(balancers().Kinds(), sources().Kinds()...) {
		if !shown[kind] {
			t.Errorf("no example shows %s", kind)
		}
	}
}

// fence is a whole document within a page.
var fence = regexp.MustCompile("(?ms)^```yaml sira\\.yaml\n(.*?)^```$")

func TestDocumentsWithinPagesLoad(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	n := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range fence.FindAllSubmatch(text, -1) {
			loadExample(t, page, string(m[1]))
			n++
		}
	}
	if n == 0 {
		t.Error("no page shows a document")
	}
}

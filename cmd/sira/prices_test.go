package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPricesAreListedShownCheckedAndCompared(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list.json")
	list := `{"gpt-4o": {"litellm_provider": "openai", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1.1e-05}}`
	if err := os.WriteFile(file, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("prices:\n  - {provider: p, model: m, from: today}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := document(t, "data_dir: x\n")
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{exitOK, "anthropic/claude-opus-5@2026-07-24", []string{"list", "--provider", "anthropic"}},
		{exitOK, `"cache_read":"1.25"`, []string{"show", "openai/gpt-4o", "--json"}},
		{exitFinding, "", []string{"show", "openai/nothing"}},
		{exitUsage, "", []string{"show", "nothing"}},
		{exitUsage, "", []string{"list", "--at", "tomorrow"}},
		{exitOK, "8 of 8 configured targets have a price", []string{"check"}},
		{exitUsage, "", []string{"check", bad}},
		{exitFinding, "output  10    11", []string{"compare", file}},
		{exitOK, `output: 11, source`, []string{"compare", file, "--yaml"}},
	} {
		code, out, errs := sira(t, append([]string{"prices", "--config", config}, c.args...)...)
		if code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("sira prices %s: exit code %d, want %d with %q\n%.600s\n%s", strings.Join(c.args, " "), code, c.code, c.says, out, errs)
		}
	}
}

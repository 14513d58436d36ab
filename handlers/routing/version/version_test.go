package version

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/routing"
	rt "github.com/sira-ai/sira/handlers/routing/routingtest"
)

func TestVersionsAreFoundInTheVendorsNames(t *testing.T) {
	t.Parallel()
	for model, want := range map[string]number{
		"gpt-4o-2024-08-06": {2024, 8, 6}, "claude-sonnet-4-5-20250929": {2025, 9, 29}, "gpt-4.1-mini": {4, 1}, "gpt-4o": {4}, "o3": {3},
		"gemini-2.5-flash": {2, 5}, "command-a-03-2025": {3}, "mistral": nil, "llama-3.1-8b-instruct": {3, 1}, "text-9999-99-99": {9999},
		"x-123456789012345678901234567890": nil, "": nil,
	} {
		if diff := cmp.Diff(want, versionOf(model)); diff != "" {
			t.Errorf("%s: %s", model, diff)
		}
	}
}

func TestWantedVersionsAndTheEndOfAModel(t *testing.T) {
	t.Parallel()
	const settings = `{"want": "latest", "newest": true,
		"aliases": {"latest": ">=2024-01-01", "stable": "2024-08-06"},
		"versions": {"special": "2024-09-01"},
		"dates": {"m-2024-05-13": {"deprecated": "2026-01-01", "retired": "2027-01-01", "successor": "m-2024-11-20"},
			"m-2024-02-01": {"retired": "2026-11-23"}, "m-2024-11-20": {"retired": "2026-11-24"}}}`
	tests := []struct {
		asked string
		want  []string
	}{
		{"", []string{"p/m-2024-11-20", "p/special", "p/m-2024-08-06", "p/m-2024-05-13"}},
		{"stable", []string{"p/m-2024-08-06"}},
		{"2024-05-13", []string{"p/m-2024-05-13"}},
		{">=2024-05-13 <2024-11-20", []string{"p/special", "p/m-2024-08-06", "p/m-2024-05-13"}},
		{"2024-02-01", []string{}},
		{"4.x", []string{"p/n-4.1"}},
		{"whatever", []string{}},
	}
	s := rt.Build(t, Entry, settings)
	for _, tt := range tests {
		q := routing.NewQuery(rt.Job("r1", "model_version", tt.asked), routing.Sources{})
		c := s.Rank(q, rt.Targets("p/m-2024-02-01", "p/m-2024-05-13", "p/m-2024-08-06", "p/m-2024-11-20", "p/special", "p/n-4.1", "p/none"))
		if diff := cmp.Diff(tt.want, rt.Order(c)); diff != "" {
			t.Errorf("%q: %s", tt.asked, diff)
		}
		for i := range c {
			const notice = "deprecated since 2026-01-01, retires 2027-01-01, use m-2024-11-20"
			if old := c[i].Target.Model == "m-2024-05-13"; old != (q.Notes(&c[i]) == notice) {
				t.Errorf("%q: %s is noted %q", tt.asked, c[i].Target.Model, q.Notes(&c[i]))
			}
		}
	}
}

func TestMistakesAreFound(t *testing.T) {
	t.Parallel()
	for settings, says := range map[string]string{
		`{"want": "newest"}`: "no version", `{"aliases": {"a": ">"}}`: "aliases.a", `{"versions": {"m": "one"}}`: "versions.m",
		`{"dates": {"m": {}}}`: "dates.m", `{"dates": {"m": {"retired": "23.11.2026"}}}`: "write it as 2026-11-23",
		`{"dates": {"m": {"retired": "2026-01-01", "deprecated": "2026-02-01"}}}`: "before",
	} {
		if got := rt.Check(Entry, settings); !strings.Contains(got, says) {
			t.Errorf("%s: %q does not say %q", settings, got, says)
		}
	}
}

// What a request wants is read from a label.
func FuzzParseRange(f *testing.F) {
	for _, seed := range []string{"", "4.1", "4.x", ">=2024-05-13 <2025-01-01", "20240513", "9999999999", ">", ".x", "1.2.3.4.5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want, err := parseRange(text)
		if err == nil && len(want) == 0 {
			t.Fatalf("%q names nothing and is no mistake", text)
		}
		within(want, versionOf(text))
	})
}

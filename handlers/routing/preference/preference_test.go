package preference_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/handlers/routing/preference"
	rt "github.com/sira-ai/sira/handlers/routing/routingtest"
)

func TestTheMostSpecialWishCounts(t *testing.T) {
	t.Parallel()
	const settings = `{"labels": true, "avoid": ["a"], "prefer": ["b/m"],
		"tenants": {"acme": {"prefer": ["c"]}, "other": {"prefer": ["d"]}},
		"users": {"ann": {"avoid": ["c"], "prefer": ["d", "b"]}, "bob": {"require": ["a", "b"], "optimise": "price"}}}`
	tests := []struct {
		name   string
		labels []string
		want   []string
	}{
		{"the tenant's, the general avoidance", nil, []string{"c/m", "b/m", "d/m", "a/m"}},
		{"the user's", []string{"user", "ann"}, []string{"d/m", "b/m", "a/m", "c/m"}},
		{"the request's", []string{"user", "ann", "prefer", "a/m, b", "avoid", "d/*"}, []string{"a/m", "b/m", "c/m", "d/m"}},
		{"a requirement drops the others", []string{"user", "bob"}, []string{"b/m", "a/m"}},
		{"of a request too", []string{"require", "d"}, []string{"d/m"}},
		{"one that can't be read can't be met", []string{"require", "/"}, []string{}},
		{"cheapest among equals", []string{"prefer", "x", "avoid", "x", "optimise", "price"}, []string{"d/m", "c/m", "b/m", "a/m"}},
		{"fastest among equals", []string{"prefer", "x", "avoid", "x", "optimise", "speed"}, []string{"b/m", "a/m", "c/m", "d/m"}},
		{"both", []string{"prefer", "x", "avoid", "x", "optimise", "both"}, []string{"b/m", "d/m", "c/m", "a/m"}},
	}
	sources := routing.Sources{
		Prices: rt.Prices{"a/m": "0.4", "b/m": "0.03", "c/m": "0.02", "d/m": "0.01"},
		Health: rt.Health{
			"a/m": {Latency: 200 * time.Millisecond}, "b/m": {Latency: 100 * time.Millisecond},
			"c/m": {Latency: 600 * time.Millisecond}, "d/m": {Latency: 900 * time.Millisecond},
		},
	}
	s := rt.Build(t, preference.Entry, settings)
	for _, tt := range tests {
		q := routing.NewQuery(rt.Job("r1", tt.labels...), sources)
		got := s.Rank(q, rt.Targets("a/m", "b/m", "c/m", "d/m"))
		if diff := cmp.Diff(tt.want, rt.Order(got)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestMistakesAreFound(t *testing.T) {
	t.Parallel()
	for settings, says := range map[string]string{
		`{"prefer": ["/x"]}`: "prefer[0]", `{"tenants": {"acme": {"avoid": [""]}}}`: "tenants.acme",
		`{"users": {"ann": {"optimise": "fun"}}}`: "price, speed, both", `{"preferred": []}`: "preferred",
	} {
		if got := rt.Check(preference.Entry, settings); !strings.Contains(got, says) {
			t.Errorf("%s: %q does not say %q", settings, got, says)
		}
	}
}

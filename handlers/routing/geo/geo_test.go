package geo_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/handlers/routing/geo"
	rt "github.com/sira-ai/sira/handlers/routing/routingtest"
)

func TestTheNearestIsFirst(t *testing.T) {
	t.Parallel()
	all := []string{"a/us@us-east-1", "b/none", "c/eu@eu-west-1", "d/fr@eu-central-1"}
	tests := []struct {
		name, settings, region string
		want                   []string
	}{
		{"the same region, then the same continent", ``, "eu-central-1", []string{"d/fr", "c/eu", "a/us", "b/none"}},
		{"nothing known of the origin", ``, "", []string{"a/us", "b/none", "c/eu", "d/fr"}},
		{"as the configuration says", `{"near": {"br-*": ["us-*", "eu-west-1"]}}`, "br-1", []string{"a/us", "c/eu", "b/none", "d/fr"}},
		{"the longest entry counts", `{"near": {"*": ["eu-*"], "br-*": ["us-*"]}}`, "br-1", []string{"a/us", "b/none", "c/eu", "d/fr"}},
		{"residency leaves out, also what is not known", `{"residency": {"eu*": ["eu-*"]}}`, "eu-west-1", []string{"c/eu", "d/fr"}},
		{"no residency for this origin", `{"residency": {"eu*": ["eu-*"]}}`, "us-east-1", []string{"a/us", "c/eu", "d/fr", "b/none"}},
		{"a residency for all others", `{"residency": {"us*": ["us-*"], "*": ["eu-west-1"]}}`, "", []string{"c/eu"}},
		{"by a field of the request", `{"origin": "tenant", "residency": {"acme": ["us-*"]}}`, "", []string{"a/us"}},
	}
	for _, tt := range tests {
		q := routing.NewQuery(rt.Job("r1", "region", tt.region), routing.Sources{})
		got := rt.Build(t, geo.Entry, tt.settings).Rank(q, rt.Targets(all...))
		if diff := cmp.Diff(tt.want, rt.Order(got)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestAmongEquallyNearTheFastestIsFirst(t *testing.T) {
	t.Parallel()
	q := routing.NewQuery(rt.Job("r1", "region", "eu-west-1"), routing.Sources{Health: rt.Health{
		"a/m": {Latency: time.Second, FirstToken: 400 * time.Millisecond}, "b/m": {Latency: 2 * time.Second, FirstToken: 100 * time.Millisecond},
		"c/m": {Latency: time.Millisecond, FirstToken: time.Millisecond},
	}})
	got := rt.Build(t, geo.Entry, `{"measured": true}`).Rank(q, rt.Targets("c/m@us-east-1", "a/m@eu-north-1", "b/m@eu-north-1"))
	if diff := cmp.Diff([]string{"b/m", "a/m", "c/m"}, rt.Order(got)); diff != "" {
		t.Error(diff)
	}
}

func TestMistakesAreFound(t *testing.T) {
	t.Parallel()
	for settings, says := range map[string]string{
		`{"origin": "labels.region =="}`: "origin:", `{"origin": "hour"}`: "origin:",
		`{"near": {"eu": []}}`: "names no region", `{"residency": {"eu": [""]}}`: "a region is empty", `{"nearest": {}}`: "nearest",
	} {
		if got := rt.Check(geo.Entry, settings); !strings.Contains(got, says) {
			t.Errorf("%s: %q does not say %q", settings, got, says)
		}
	}
}

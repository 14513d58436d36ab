package ab_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/handlers/routing/ab"
	rt "github.com/sira-ai/sira/handlers/routing/routingtest"
)

const halves = `{"experiment": "tone", "arms": [{"name": "control", "weight": 70, "targets": ["a"]}, {"name": "new", "weight": 30, "targets": ["b", "c/m"]}]}`

func arm(t testing.TB, s routing.Strategy, user string) string {
	t.Helper()
	q := routing.NewQuery(rt.Job("r1", "user", user), routing.Sources{})
	c := s.Rank(q, rt.Targets("c/m", "a/m", "b/m", "d/m"))
	_, found, _ := strings.Cut(q.Notes(&c[0]), "arm=")
	return found
}

func TestAUnitKeepsItsArmOverRestartsAndWorkers(t *testing.T) {
	t.Parallel()
	one, other := rt.Build(t, ab.Entry, halves), rt.Build(t, ab.Entry, halves)
	for i := range 2000 {
		user := fmt.Sprint("user-", i)
		if a, b := arm(t, one, user), arm(t, other, user); a != b || a == "" {
			t.Fatalf("%s meets %q, then %q", user, a, b)
		}
	}
	// What these were given once, they must be given for ever: another hash would
	// move the users of every running experiment.
	got := []string{arm(t, one, "ann"), arm(t, one, "bob"), arm(t, one, "cid"), arm(t, one, "dan"), arm(t, one, "eve"), arm(t, one, "fay")}
	if diff := cmp.Diff([]string{"control", "control", "control", "new", "new", "control"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestSharesAreWithinAHundredthAndOtherWeightsMoveFewUnits(t *testing.T) {
	t.Parallel()
	s := rt.Build(t, ab.Entry, halves)
	even := rt.Build(t, ab.Entry, strings.NewReplacer("70", "60", "30", "40").Replace(halves))
	salted := rt.Build(t, ab.Entry, strings.Replace(halves, `"arms"`, `"salt": "2", "arms"`, 1))
	const n = 50_000
	control, moved, back, salt := 0, 0, 0, 0
	for i := range n {
		user := fmt.Sprint("u", i)
		before, after := arm(t, s, user), arm(t, even, user)
		if before == "control" {
			control++
		}
		if before != after {
			moved++
			if after == "control" {
				back++
			}
		}
		if before != arm(t, salted, user) {
			salt++
		}
	}
	if share := float64(control) / n; math.Abs(share-0.7) > 0.01 {
		t.Errorf("control has %.4f of the units, want 0.70", share)
	}
	if share := float64(moved) / n; math.Abs(share-0.1) > 0.01 || back != 0 {
		t.Errorf("from 70:30 to 60:40 %.4f of the units moved, %d of them back to control", share, back)
	}
	if share := float64(salt) / n; math.Abs(share-0.42) > 0.02 { // 2 × 0.7 × 0.3
		t.Errorf("another salt moved %.4f of the units, want them drawn anew", share)
	}
}

func TestTheArmIsFirstTheOthersFollow(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, user, more string
		want             []string
		note             string
	}{
		{"one arm", "ann", "", []string{"a/m", "c/m", "b/m", "d/m"}, "experiment=tone arm=control"},
		{"the other", "dan", "", []string{"c/m", "b/m", "a/m", "d/m"}, "experiment=tone arm=new"},
		{"no fallback to another arm", "dan", `"strict": true,`, []string{"c/m", "b/m", "d/m"}, "experiment=tone arm=new"},
		{"no unit, no experiment", "", "", []string{"c/m", "a/m", "b/m", "d/m"}, ""},
	}
	for _, tt := range tests {
		q := routing.NewQuery(rt.Job("r1", "user", tt.user), routing.Sources{})
		c := rt.Build(t, ab.Entry, "{"+tt.more+halves[1:]).Rank(q, rt.Targets("c/m", "a/m", "b/m", "d/m"))
		if diff := cmp.Diff(tt.want, rt.Order(c)); diff != "" || q.Notes(&c[0]) != tt.note {
			t.Errorf("%s: note %q: %s", tt.name, q.Notes(&c[0]), diff)
		}
		if last := q.Notes(&c[len(c)-1]); last != "" {
			t.Errorf("%s: a target of no arm is noted %q", tt.name, last)
		}
	}
}

func TestAFallbackWithoutTheArmIsNoExposure(t *testing.T) {
	t.Parallel()
	q := routing.NewQuery(rt.Job("r1", "user", "dan"), routing.Sources{})
	if c := rt.Build(t, ab.Entry, halves).Rank(q, rt.Targets("a/m", "d/m")); q.Notes(&c[0]) != "" {
		t.Errorf("noted %q", q.Notes(&c[0]))
	}
}

func TestMistakesAreFound(t *testing.T) {
	t.Parallel()
	for settings, says := range map[string]string{
		`{}`: "experiment:", `{"experiment": "a b"}`: "no name", `{"experiment": "x", "arms": []}`: "two or more",
		`{"experiment": "x", "unit": "hour", "arms": []}`:                                                                           "unit:",
		`{"experiment": "x", "arms": [{"name": "a", "targets": ["a"]}, {"name": "a", "targets": ["b"]}]}`:                           "taken",
		`{"experiment": "x", "arms": [{"name": "a", "targets": ["a"]}, {"name": "b"}]}`:                                             "arms[1].targets",
		`{"experiment": "x", "arms": [{"name": "a", "weight": 0, "targets": ["a"]}, {"name": "b", "weight": 0, "targets": ["b"]}]}`: "all weights are 0",
	} {
		if got := rt.Check(ab.Entry, settings); !strings.Contains(got, says) {
			t.Errorf("%s: %q does not say %q", settings, got, says)
		}
	}
}

// go test -bench . -benchmem ./handlers/routing/ab.
func BenchmarkRank(b *testing.B) {
	s := rt.Build(b, ab.Entry, halves)
	q := routing.NewQuery(rt.Job("r1", "user", "ann"), routing.Sources{})
	c := rt.Targets("c/m", "a/m", "b/m", "d/m")
	b.ReportAllocs()
	for b.Loop() {
		s.Rank(q, c)
	}
}

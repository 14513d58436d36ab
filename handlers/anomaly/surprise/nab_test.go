package surprise

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sira-ai/sira/handlers/anomaly"
	"github.com/sira-ai/sira/handlers/anomaly/nab"
)

// benchmark reads the Numenta Anomaly Benchmark, which is no part of the project.
func benchmark(t *testing.T) *nab.Corpus {
	t.Helper()
	if race {
		t.Skip("a third of a million points are too many under the race detector")
	}
	dir := os.Getenv("SIRA_NAB")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "shared", "data", "anomaly", "nab")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the Numenta Anomaly Benchmark is not at %s: name its folder in SIRA_NAB", dir)
	}
	c, err := nab.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func scores(t *testing.T, c *nab.Corpus, settings string) [][]float64 {
	t.Helper()
	s, err := c.Run(t.Context(), func() (anomaly.Detector, error) { return build(t, settings), nil })
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The figures are those of docs/detection.md. The second one takes away what
// every published figure has: for each category of series the threshold is
// chosen on the other categories alone.
func TestScoreOnTheBenchmarkIsNoWorseThanWritten(t *testing.T) {
	c := benchmark(t)
	s := scores(t, c, "")
	for _, want := range []struct {
		profile            string
		score, otherSeries float64
	}{
		{"standard", 71.4, 67},
		{"reward_low_FP_rate", 62.5, 57},
		{"reward_low_FN_rate", 76.3, 71},
	} {
		for _, p := range c.Profiles {
			if p.Name != want.profile {
				continue
			}
			r, err := c.Optimise(s, p)
			if err != nil {
				t.Fatal(err)
			}
			other := leaveOneOut(t, c, [][][]float64{s}, p)
			t.Logf("%s: %.2f, with thresholds of other categories %.2f", p.Name, r.Score, other)
			if r.Score < want.score || other < want.otherSeries {
				t.Errorf("%s: %.2f and %.2f, want at least %.1f and %.1f", p.Name, r.Score, other, want.score, want.otherSeries)
			}
		}
	}
}

// Run with SIRA_GRID=1 go test ./handlers/anomaly/surprise -run Grid -v -timeout 10m.
func TestGridOfSettings(t *testing.T) {
	if os.Getenv("SIRA_GRID") == "" {
		t.Skip("takes minutes: set SIRA_GRID=1")
	}
	c := benchmark(t)
	p := c.Profiles[0]
	var all [][][]float64
	for _, settings := range []string{
		"", `{"rest":40}`, `{"rest":60}`, `{"rest":120}`, `{"rest":160}`, `{"memory":3000}`, `{"memory":6000}`, `{"memory":8000}`,
		`{"memory":6000,"rest":120}`, `{"warmup":50}`, `{"warmup":200}`,
	} {
		s := scores(t, c, settings)
		all = append(all, s)
		r, err := c.Optimise(s, p)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%-32s %.2f", settings, r.Score)
	}
	t.Logf("settings and threshold chosen on the other categories: %.2f", leaveOneOut(t, c, all, p))
}

// leaveOneOut scores every category with the settings and the threshold that are
// best on all others.
func leaveOneOut(t *testing.T, c *nab.Corpus, runs [][][]float64, p nab.Profile) float64 {
	t.Helper()
	category := func(s nab.Series) string { name, _, _ := strings.Cut(s.Name, "/"); return name }
	done, raw := map[string]bool{}, 0.0
	for i := range c.Series {
		out := category(c.Series[i])
		if done[out] {
			continue
		}
		done[out] = true
		best, threshold, run := math.Inf(-1), 0.0, 0
		for k, s := range runs {
			rest, scores := part(c, s, func(s nab.Series) bool { return category(s) != out })
			r, err := rest.Optimise(scores, p)
			if err != nil {
				t.Fatal(err)
			}
			if r.Raw > best {
				best, threshold, run = r.Raw, r.Threshold, k
			}
		}
		held, scores := part(c, runs[run], func(s nab.Series) bool { return category(s) == out })
		r, err := held.At(scores, p, threshold)
		if err != nil {
			t.Fatal(err)
		}
		if held.Windows() > 0 {
			t.Logf("  %-22s %6.1f of 100 (run %d, threshold %.3f)", out, r.Score, run, threshold)
		}
		raw += r.Raw
	}
	return nab.Normalise(raw, c.Windows(), p)
}

func part(c *nab.Corpus, scores [][]float64, keep func(nab.Series) bool) (*nab.Corpus, [][]float64) {
	p := &nab.Corpus{Profiles: c.Profiles}
	var s [][]float64
	for i := range c.Series {
		if keep(c.Series[i]) {
			p.Series = append(p.Series, c.Series[i])
			s = append(s, scores[i])
		}
	}
	return p, s
}

package nab

import (
	"archive/tar"
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/anomaly"
)

var standard = Profile{Name: "standard", TP: 1, FN: 1, FP: 0.11}

// series returns rows a minute apart, with windows.
func series(rows int, windows ...Window) Series {
	s := Series{Name: "a/s.csv", Windows: windows}
	for i := range rows {
		s.At = append(s.At, time.Date(2026, 1, 1, 0, i, 0, 0, time.UTC))
		s.Values = append(s.Values, float64(i))
	}
	return s
}

// fired returns scores that are 1 in the given rows and 0 elsewhere.
func fired(n int, rows ...int) [][]float64 {
	scores := make([]float64, n)
	for _, r := range rows {
		scores[r] = 1
	}
	return [][]float64{scores}
}

// The expected figures are worked out by hand from the published rule.
func TestRuleIsThePublishedOne(t *testing.T) {
	s := func(y float64) float64 { return 2/(1+math.Exp(5*y)) - 1 }
	// 100 rows, 15 of probation, one window of ten rows.
	c := &Corpus{Series: []Series{series(100, Window{40, 49})}}
	for _, tc := range []struct {
		name string
		rows []int
		want float64
	}{
		{"nothing found", nil, -1},
		{"found at its beginning", []int{40}, 1},
		{"found at its end", []int{49}, s(-0.1) / s(-1)},
		{"only the earliest counts", []int{45, 40, 49}, 1},
		{"probation does not count", []int{0, 14}, -1},
		{"a false alarm before any window costs fully", []int{15, 40}, 1 - 0.11},
		{"a false alarm right behind the window costs little", []int{40, 50}, 1 + 0.11*s(1.0/9)},
		{"every row of a burst costs", []int{20, 21, 22}, -1 - 0.33},
		{"far behind the window costs fully", []int{40, 99}, 1 - 0.11},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := c.At(fired(100, tc.rows...), standard, 0.5)
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(r.Raw-tc.want) > 1e-12 {
				t.Errorf("raw score %v, want %v", r.Raw, tc.want)
			}
			if want := 100 * (tc.want + 1) / 2; math.Abs(r.Score-want) > 1e-9 {
				t.Errorf("score %v, want %v", r.Score, want)
			}
		})
	}
}

func TestOptimiseFindsTheBestThresholdForAllSeriesTogether(t *testing.T) {
	c := &Corpus{Series: []Series{series(100, Window{40, 49}), series(100, Window{60, 69})}}
	scores := append(fired(100), fired(100)...)
	scores[0][40], scores[1][65], scores[1][20] = 0.9, 0.6, 0.3
	r, err := c.Optimise(scores, standard)
	if err != nil {
		t.Fatal(err)
	}
	if r.Threshold != 0.6 || r.Found != 2 || r.FalseAlarms != 0 {
		t.Errorf("threshold %v finds %d with %d false alarms, want 0.6, 2 and 0", r.Threshold, r.Found, r.FalseAlarms)
	}
	// Exhaustively: no other threshold is better.
	for _, threshold := range []float64{0, 0.1, 0.3, 0.6, 0.9, 1} {
		at, err := c.At(scores, standard, threshold)
		if err != nil {
			t.Fatal(err)
		}
		if at.Score > r.Score {
			t.Errorf("threshold %v scores %v, better than the optimum %v", threshold, at.Score, r.Score)
		}
	}
}

func TestNeverFiringIsZeroAndPerfectIsHundred(t *testing.T) {
	c := &Corpus{Series: []Series{series(100, Window{40, 49}, Window{70, 79})}}
	for want, scores := range map[float64][][]float64{0: fired(100), 100: fired(100, 40, 70)} {
		for _, p := range []Profile{standard, {TP: 1, FN: 2, FP: 0.11}} {
			r, err := c.Optimise(scores, p)
			if err != nil {
				t.Fatal(err)
			}
			if math.Abs(r.Score-want) > 1e-9 {
				t.Errorf("score %v, want %v", r.Score, want)
			}
		}
	}
}

func TestScoresOfAnotherCorpusAreRefused(t *testing.T) {
	c := &Corpus{Series: []Series{series(100, Window{40, 49})}}
	for _, scores := range [][][]float64{nil, {make([]float64, 99)}} {
		if _, err := c.Optimise(scores, standard); err == nil {
			t.Errorf("%d series were accepted", len(scores))
		}
	}
}

const profilesJSON = `{"reward_low_FN_rate":{"CostMatrix":{"tpWeight":1,"fnWeight":2,"fpWeight":0.11,"tnWeight":1}},
"standard":{"CostMatrix":{"tpWeight":1,"fnWeight":1,"fpWeight":0.11,"tnWeight":1}},
"reward_low_FP_rate":{"CostMatrix":{"tpWeight":1,"fnWeight":1,"fpWeight":0.22,"tnWeight":1}}}`

func corpus() fstest.MapFS {
	return fstest.MapFS{
		"config/profiles.json":         {Data: []byte(profilesJSON)},
		"labels/combined_windows.json": {Data: []byte(`{"a/s.csv":[["2014-04-01 00:10:00.000000","2014-04-01 00:15:00.000000"]]}`)},
		"data/a/s.csv": {Data: []byte("timestamp,value\n2014-04-01 00:00:00,1\n2014-04-01 00:05:00,2.5\n" +
			"2014-04-01 00:10:00,-3e2\n2014-04-01 00:15:00,4\n2014-04-01 00:20:00,5\n")},
		"data/README.md": {Data: []byte("not a series")},
	}
}

func TestFolderInTheLayoutIsRead(t *testing.T) {
	c, err := load(corpus())
	if err != nil {
		t.Fatal(err)
	}
	s := c.Series[0]
	if diff := cmp.Diff([]float64{1, 2.5, -300, 4, 5}, s.Values); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Window{{2, 3}}, s.Windows); diff != "" {
		t.Error(diff)
	}
	var names []string
	for _, p := range c.Profiles {
		names = append(names, p.Name)
	}
	if diff := cmp.Diff([]string{"standard", "reward_low_FP_rate", "reward_low_FN_rate"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestFolderOfAnotherLayoutIsRefusedWithTheReason(t *testing.T) {
	for _, tc := range []struct{ name, file, content, want string }{
		{"no labels", "labels/combined_windows.json", "", "there is no labels/combined_windows.json"},
		{"no profiles", "config/profiles.json", "", "there is no config/profiles.json"},
		{"labels that are no JSON", "labels/combined_windows.json", "[", "labels/combined_windows.json"},
		{"a series without a word", "data/b/t.csv", "timestamp,value\n2014-04-01 00:00:00,1\n", "says nothing of b/t.csv"},
		{"a label without series", "labels/combined_windows.json", `{"a/s.csv":[],"x.csv":[]}`, "labels x.csv"},
		{"no anomaly at all", "labels/combined_windows.json", `{"a/s.csv":[]}`, "no anomaly at all"},
		{"a window between rows", "labels/combined_windows.json", `{"a/s.csv":[["2014-04-01 00:11:00","2014-04-01 00:15:00"]]}`, "does not begin and end at times of its rows"},
		{"a window with one end", "labels/combined_windows.json", `{"a/s.csv":[["2014-04-01 00:10:00"]]}`, "has 1 times"},
		{"another header", "data/a/s.csv", "time,v\n", "must name the columns timestamp and value"},
		{"not a number", "data/a/s.csv", "timestamp,value\n2014-04-01 00:00:00,NaN\n", `s.csv:2: value is "NaN", not a number`},
		{"not a time", "data/a/s.csv", "timestamp,value\nyesterday,1\n", `s.csv:2: "yesterday" is no time`},
		{"negative weights", "config/profiles.json", `{"p":{"CostMatrix":{"tpWeight":-1}}}`, "needs a CostMatrix"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fsys := corpus()
			if tc.content == "" {
				delete(fsys, tc.file)
			} else {
				fsys[tc.file] = &fstest.MapFile{Data: []byte(tc.content)}
			}
			_, err := load(fsys)
			if !errors.Is(err, ErrLayout) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want ErrLayout with %q", err, tc.want)
			}
		})
	}
}

func FuzzSeriesFile(f *testing.F) {
	f.Add("timestamp,value\n2014-04-01 00:00:00,1\n")
	f.Add("value,timestamp,label\n1,2014-04-01 00:00:00,0\n")
	f.Add("\"\n")
	f.Fuzz(func(t *testing.T, content string) {
		s, err := readSeries(fstest.MapFS{"data/s.csv": {Data: []byte(content)}}, "data/s.csv")
		if err == nil && (len(s.Values) == 0 || len(s.Values) != len(s.At)) {
			t.Errorf("%d values at %d times without an error", len(s.Values), len(s.At))
		}
	})
}

// stub scores the values 0 to 1 as they are.
type stub struct{}

func (stub) Observe(_ time.Time, v float64) anomaly.Verdict { return anomaly.Verdict{Score: v / 100} }

func TestEverySeriesHasADetectorOfItsOwn(t *testing.T) {
	c := &Corpus{Series: []Series{series(10), series(20)}}
	built := make(chan struct{}, 10)
	scores, err := c.Run(t.Context(), func() (anomaly.Detector, error) {
		built <- struct{}{}
		return stub{}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(built) != 2 || len(scores[0]) != 10 || scores[1][19] != 0.19 {
		t.Errorf("%d detectors, %d scores, last %v", len(built), len(scores[0]), scores[1][19])
	}
	if _, err := c.Run(t.Context(), func() (anomaly.Detector, error) { return nil, io.EOF }); !errors.Is(err, io.EOF) {
		t.Errorf("error %v, want that of the detector", err)
	}
}

// published finds the benchmark's folder. It is no part of the project.
func published(t testing.TB) (string, *Corpus) {
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
	c, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return dir, c
}

func TestPublishedScoresOfADetectorGiveItsPublishedFigures(t *testing.T) {
	t.Parallel()
	dir, c := published(t)
	results := filepath.Join(t.TempDir(), "windowedGaussian")
	unpack(t, filepath.Join(dir, "results_windowedGaussian_pointwise.tar.gz"), filepath.Dir(results))
	scores, err := c.ReadResults(results)
	if err != nil {
		t.Fatal(err)
	}
	final := finalResults(t, dir)["windowedGaussian"]
	for _, p := range c.Profiles {
		r, err := c.Optimise(scores, p)
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(r.Score-final[p.Name]) > 1e-6 {
			t.Errorf("%s: %.6f, published %.6f", p.Name, r.Score, final[p.Name])
		}
		for _, s := range r.Series {
			if want := totals(t, dir, "windowedGaussian", p.Name)[s.Name]; math.Abs(s.Raw-want) > 1e-6 {
				t.Errorf("%s: %s has %.6f, published %.6f", p.Name, s.Name, s.Raw, want)
			}
		}
	}
}

// For the other detectors only the raw scores of whole series are published:
// these check what a window and a profile weigh.
func TestPublishedTotalsGiveThePublishedScoreboard(t *testing.T) {
	t.Parallel()
	dir, c := published(t)
	if c.Windows() != 116 || len(c.Series) != 58 || c.Rows() != 365_558 {
		t.Errorf("%d windows in %d series of %d rows: another version of the benchmark", c.Windows(), len(c.Series), c.Rows())
	}
	for detector, final := range finalResults(t, dir) {
		for _, p := range c.Profiles {
			all := totals(t, dir, detector, p.Name)
			if len(all) != len(c.Series)+1 {
				t.Logf("%s: only %d series are published: left out", detector, len(all)-1)
				continue
			}
			if got := Normalise(all[""], c.Windows(), p); math.Abs(got-final[p.Name]) > 1e-6 {
				t.Errorf("%s, %s: %.6f, published %.6f", detector, p.Name, got, final[p.Name])
			}
		}
	}
}

func finalResults(t *testing.T, dir string) map[string]map[string]float64 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "results", "final_results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var final map[string]map[string]float64
	if err := json.Unmarshal(b, &final); err != nil {
		t.Fatal(err)
	}
	return final
}

// totals returns the published raw score of every series, that of all under "".
func totals(t *testing.T, dir, detector, profile string) map[string]float64 {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "results", detector, fmt.Sprintf("%s_%s_scores.csv", detector, profile)))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]float64)
	for _, row := range rows[1:] {
		v, err := strconv.ParseFloat(row[4], 64)
		if err != nil {
			t.Fatal(err)
		}
		all[row[2]] = v
	}
	return all
}

func unpack(t *testing.T, archive, into string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(into)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		name := strings.TrimPrefix(h.Name, "results/")
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := root.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

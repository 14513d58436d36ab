package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// labelled writes a corpus of one series with a spike that is labelled, and
// returns its folder.
func labelled(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var rows strings.Builder
	rows.WriteString("timestamp,value\n")
	at := func(i int) string {
		return time.Date(2026, 1, 1, 0, 5*i, 0, 0, time.UTC).Format(time.DateTime)
	}
	for i := range 400 {
		v := float64(i % 7)
		if i == 300 {
			v = 500
		}
		fmt.Fprintf(&rows, "%s,%v\n", at(i), v)
	}
	for name, content := range map[string]string{
		"data/web/latency.csv":            rows.String(),
		"labels/combined_windows.json":    fmt.Sprintf(`{"web/latency.csv":[[%q,%q]]}`, at(295), at(320)),
		"config/profiles.json":            `{"standard":{"CostMatrix":{"tpWeight":1,"fnWeight":1,"fpWeight":0.11}}}`,
		"results/other/web/other_latency": "",
	} {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDetectScorePrintsEveryProfile(t *testing.T) {
	dir := labelled(t)
	for _, kind := range detectors().Kinds() {
		code, out, errs := sira(t, "detect", "score", dir, "--detector", kind, "--json")
		if code != exitOK {
			t.Fatalf("%s: exit code %d\n%s", kind, code, errs)
		}
		var r scored
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err)
		}
		if r.Detector != kind || r.Profile != "standard" || r.Found != 1 || r.Score < 90 {
			t.Errorf("%s: a spike of a hundred deviations scores %.1f (found %d)", kind, r.Score, r.Found)
		}
	}
	_, out, _ := sira(t, "detect", "score", dir, "--series")
	for _, want := range []string{"standard", "web/latency.csv", "1 windows, 400 rows"} {
		if !strings.Contains(out, want) {
			t.Errorf("table without %q:\n%s", want, out)
		}
	}
}

func TestDetectScoreSaysWhatIsWrong(t *testing.T) {
	dir := labelled(t)
	for _, tc := range []struct {
		name string
		args []string
		want string
	}{
		{"not the layout", []string{t.TempDir()}, "not in the layout of NAB"},
		{"no folder", []string{filepath.Join(dir, "nowhere")}, "nowhere"},
		{"no such detector", []string{dir, "--detector", "oracle"}, `no detector of kind "oracle"`},
		{"settings it does not have", []string{dir, "--detector", "gaussian", "--settings", `{"windw":1}`}, "windw"},
		{"settings that make no sense", []string{dir, "--detector", "gaussian", "--settings", `{"window":1}`}, "write a step"},
		{"results that are not there", []string{dir, "--results", filepath.Join(dir, "results", "other")}, "other_latency.csv"},
		{"two things at once", []string{dir, "--results", dir, "--detector", "gaussian"}, "write either --results, or"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, _, errs := sira(t, append([]string{"detect", "score"}, tc.args...)...)
			if code != exitUsage || !strings.Contains(errs, tc.want) {
				t.Errorf("exit code %d, %q; want %d and %q", code, errs, exitUsage, tc.want)
			}
		})
	}
}

package main

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/schemas"
)

// sira runs a command line and returns its exit code and what it printed. It
// exchanges the process's streams, so tests that use it do not run in parallel.
func sira(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	stdout, stderr := os.Stdout, os.Stderr
	defer func() { os.Stdout, os.Stderr = stdout, stderr }()
	files := [2]*os.File{}
	for i := range files {
		f, err := os.CreateTemp(t.TempDir(), "stream")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	os.Stdout, os.Stderr = files[0], files[1]
	code = run(t.Context(), args)
	texts := [2]string{}
	for i, f := range files {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		texts[i] = string(b)
	}
	return code, texts[0], texts[1]
}

func document(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sira.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const faulty = "kafkaa: {}\nworker:\n  concurency: 5\n  drain: never\n"

func TestMistakesOfTheCallerEndWithTwo(t *testing.T) {
	t.Chdir(t.TempDir())
	bad, missing := document(t, faulty), filepath.Join(t.TempDir(), "none.yaml")
	for name, c := range map[string]struct {
		args string
		says []string
	}{
		"unknown flag":      {"up --nonsense", []string{"--nonsense", "sira up --help"}},
		"unknown role":      {"run --roles boss", []string{"boss", "worker"}},
		"unknown lane":      {"enqueue --lane fast hi", []string{"fast", "interactive, standard, bulk"}},
		"nothing to send":   {"enqueue", []string{"--file"}},
		"nothing to cancel": {"cancel", []string{"sira cancel --help"}},
		"whose request":     {"cancel --tenant= r1", []string{"tenant", "write 1 to"}},
		"prompt and file":   {"enqueue --file x hi", []string{"--file"}},
		"faults":            {"check " + bad, []string{":1:1", "did you mean kafka?", ":3:3", "did you mean concurrency?", ":4:"}},
		"faults at a start": {"run --config " + bad, []string{"did you mean kafka?", "did you mean concurrency?"}},
		"no document":       {"check " + missing, []string{"none.yaml"}},
		"few requests":      {"demo --requests 5", []string{"100"}},
		"log level":         {"up --log loud", []string{"--log"}},
		"letters and all":   {"dead redrive --all 0/1", []string{"--all"}},
		"no letters":        {"dead redrive", []string{"--all"}},
		"unknown command":   {"upp", []string{"upp", "did you mean up?"}},
		"rate":              {"bench --rate fast", []string{"--rate", "50..500"}},
		"speed of a rate":   {"bench --speed 2", []string{"--trace"}},
		"no such format":    {"bench --format xml", []string{"json,avro"}},
		"no saved run":      {"bench compare " + bad + " " + bad, []string{"saved run"}},
		"unknown part":      {"dead lisst", []string{"lisst", "did you mean list?"}},
		"too many":          {"version 1", nil},
	} {
		code, out, errs := sira(t, strings.Fields(c.args)...)
		if code != exitUsage {
			t.Errorf("%s: exit code %d, want 2\n%s%s", name, code, out, errs)
		}
		for _, s := range c.says {
			if !strings.Contains(errs, s) {
				t.Errorf("%s: stderr does not say %q:\n%s", name, s, errs)
			}
		}
	}
}

func TestCheckPrintsAFaultALineAsJSON(t *testing.T) {
	code, out, _ := sira(t, "check", "--json", document(t, faulty))
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != exitUsage || len(lines) != 3 {
		t.Fatalf("exit code %d, %d lines:\n%s", code, len(lines), out)
	}
	for _, l := range lines {
		var f app.Fault
		if err := json.Unmarshal([]byte(l), &f); err != nil || f.Line == 0 || f.Column == 0 || f.Message == "" {
			t.Errorf("line %s: %v", l, err)
		}
	}
	code, out, errs := sira(t, "check", "--json", document(t, "data_dir: x\n"))
	if code != exitOK || !strings.Contains(out, `"ok":true`) {
		t.Errorf("a good document: exit code %d\n%s%s", code, out, errs)
	}
}

func TestVersionIsPrinted(t *testing.T) {
	code, out, _ := sira(t, "version", "--json")
	var v map[string]string
	if err := json.Unmarshal([]byte(out), &v); code != exitOK || err != nil || v["version"] != version || v["go"] == "" {
		t.Errorf("exit code %d, %s: %v", code, out, err)
	}
	if code, out, _ := sira(t, "version"); code != exitOK || !strings.HasPrefix(out, "sira "+version) {
		t.Errorf("exit code %d, %s", code, out)
	}
}

func TestEveryCommandShowsAnExample(t *testing.T) {
	t.Parallel()
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Name() == "help" || c.Name() == "completion" {
			return
		}
		if c.Short == "" || (!c.HasSubCommands() && !strings.Contains(c.Example, c.CommandPath())) {
			t.Errorf("%s: short %q, example %q", c.CommandPath(), c.Short, c.Example)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
}

func TestRedrivenLetterIsTheRequestAsItCame(t *testing.T) {
	t.Parallel()
	cfg := app.Defaults()
	header := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	d := deadRecord{ID: "0/7", Origin: "sira.requests.bulk/3/12", record: &kgo.Record{Key: []byte("k"), Value: []byte("v"), Headers: []kgo.RecordHeader{
		header(schemas.HeaderID, "r1"), header(schemas.HeaderTenant, "acme"), header("their-own", "x"), header(headerRedriven, "1"),
		header(schemas.HeaderDeadReason, "unroutable"), header(schemas.HeaderDeadDetail, "d"), header(schemas.HeaderDeadOrigin, "o"), header(schemas.HeaderDeadTime, "1"), header(schemas.HeaderDeadAttempt, "2"),
		header(schemas.HeaderAttempt, "3"), header(schemas.HeaderNotBefore, "1"), header(schemas.HeaderOrigin, "o"), header(schemas.HeaderHistory, "[]"), header(schemas.HeaderLane, "bulk"), header(schemas.HeaderDeadline, "1"),
		header(schemas.HeaderDataRef, "ref"),
	}}}
	got, err := redriven(cfg, d)
	if err != nil {
		t.Fatal(err)
	}
	var headers []string
	for _, h := range got.Headers {
		headers = append(headers, h.Key+"="+string(h.Value))
	}
	want := "sira-id=r1 sira-tenant=acme their-own=x sira-dataref=ref sira-redriven=2"
	if s := strings.Join(headers, " "); s != want || got.Topic != "sira.requests.bulk" || string(got.Key) != "k" || string(got.Value) != "v" {
		t.Errorf("topic %s, key %s, headers\n%s\nwant\n%s", got.Topic, got.Key, s, want)
	}
	for _, origin := range []string{"", "elsewhere/0/1", "sira.results/0/1"} {
		d.Origin = origin
		if rec, err := redriven(cfg, d); err == nil {
			t.Errorf("a letter from %q is sent to %s", origin, rec.Topic)
		}
	}
}

func TestDemoSendsEveryKindOfTrouble(t *testing.T) {
	t.Parallel()
	cfg := app.Defaults()
	cfg.DataDir = t.TempDir()
	records, err := demoRecords(t.Context(), cfg, 300, 1)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, rec := range records {
		kinds["lane "+rec.Topic]++
		for _, h := range rec.Headers {
			if h.Key == schemas.HeaderDataRef {
				kinds["claim check"]++
			}
		}
		var r schemas.Request
		switch {
		case json.Unmarshal(rec.Value, &r) != nil:
			kinds["not readable"]++
		case strings.Contains(string(rec.Value), `"prompt"`):
			kinds["unknown field"]++
		case !r.Deadline.IsZero():
			kinds["expired"]++
		default:
			kinds["model "+r.Model]++
			kinds["tenant "+r.Tenant]++
			if r.Stream {
				kinds["streamed"]++
			}
			if len(rec.Value) > 20_000 {
				kinds["long"]++
			}
		}
	}
	for _, k := range []string{
		"lane sira.requests.interactive", "lane sira.requests.standard", "lane sira.requests.bulk", "claim check", "not readable", "unknown field", "expired", "streamed", "long",
		"model gpt-preview", "model gpt-9-ultra", "model overloaded", "model gpt-4o", "model claude-haiku-4-5", "tenant acme", "tenant globex", "tenant initech", "tenant umbrella",
	} {
		if kinds[k] == 0 {
			t.Errorf("no record is of the kind %q; there are %v", k, kinds)
		}
	}
	if len(records) != 300 {
		t.Errorf("%d records, want 300", len(records))
	}
}

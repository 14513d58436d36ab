package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/sinks/clickhouse"
	"github.com/sira-ai/sira/sinks/clickhouse/embedded"
)

var update = flag.Bool("update", false, "write docs/questions.md anew")

// full returns a house with a small load.
func full(t *testing.T) *house {
	t.Helper()
	if _, err := embedded.Find(); errors.Is(err, embedded.ErrNoLibrary) && os.Getenv("CI") == "" {
		t.Skip("libchdb.so is not here; run `make chdb`")
	}
	h, err := open(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.engine.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := h.load(t.Context(), 20_000, t.Logf); err != nil {
		t.Fatal(err)
	}
	return h
}

// tolerance is what quantiles of merged states may be off by, of their value.
const tolerance = 0.03

func TestRollupsAndRawTablesGiveTheSameAnswers(t *testing.T) {
	h := full(t)
	all, err := questions()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 10 {
		t.Errorf("there are %d questions", len(all))
	}
	for _, q := range all {
		rollup, raw := h.lines(t, q.Rollup), h.lines(t, q.Raw)
		if len(raw) < 2 || len(rollup) != len(raw) {
			t.Errorf("%s: %d lines from rollups, %d raw", q.Name, len(rollup), len(raw))
			continue
		}
		for i := range raw {
			if !alike(rollup[i], raw[i]) {
				t.Errorf("%s (-raw +rollup):\n%s", q.Name, cmp.Diff(raw[i], rollup[i]))
				break
			}
		}
	}
	for _, r := range clickhouse.Rollups() {
		if n := h.lines(t, "SELECT count() > 0 FROM "+r.Name)[1][0]; n != "1" {
			t.Errorf("%s is empty", r.Name)
		}
	}
}

// lines returns an answer with the names of its columns as its first line.
func (h *house) lines(t *testing.T, sql string) [][]string {
	t.Helper()
	r, err := h.run(t.Context(), at(sql, moment), "TabSeparatedWithNames")
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var out [][]string
	for line := range strings.Lines(string(r.Data)) {
		out = append(out, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
	}
	return out
}

// alike reports whether two lines are equal, lists of quantiles up to tolerance.
func alike(a, b []string) bool {
	return slices.EqualFunc(a, b, func(x, y string) bool {
		if !strings.HasPrefix(x, "[") {
			return x == y
		}
		var p, q []float64
		if json.Unmarshal([]byte(x), &p) != nil || json.Unmarshal([]byte(y), &q) != nil {
			return x == y
		}
		return slices.EqualFunc(p, q, func(v, w float64) bool { return math.Abs(v-w) <= 1+tolerance*max(v, w) })
	})
}

func TestSlowAnswersAreFaults(t *testing.T) {
	t.Parallel()
	f := figures{Answers: []answer{
		{"a", took{BestMS: 100}, took{BestMS: 1000, MedianMS: 5000}},
		{"b", took{BestMS: 100.5}, took{BestMS: 1001}},
	}}
	err := f.faults(100*time.Millisecond, time.Second)
	if err == nil || strings.Count(err.Error(), "b from") != 2 || strings.Contains(err.Error(), "a from") {
		t.Errorf("got %v", err)
	}
}

const (
	pageFile    = "../../docs/questions.md"
	figuresFile = "figures.json"
)

func TestPageOfQuestionsIsUpToDate(t *testing.T) {
	t.Parallel()
	want := page(t)
	if *update {
		if err := os.WriteFile(pageFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("docs/questions.md is stale; run go test ./integration/questions -run Page -update\n%s", diff)
	}
}

const pageIntro = `# Ten questions

What data teams ask of a gateway, as SQL over views whose names stay (` + "`spend_daily`, `calls_hourly`, `calls_daily`, `requests_daily`," + `
` + "`models_daily`, `recent_requests`" + `; see the [data dictionary](data-dictionary.md)), and over the raw tables. Both give the same answers: a test asks
all of them both ways. Counts, tokens and money are equal to the last digit; quantiles come from states of t-digests, which
agree within 3 %%.

Rollups are filled by materialized views in the insert of the raw rows, so they are never behind. Always aggregate them: their rows
are merged in the background.

    sira sql "SELECT day, tenant, currency, sum(amount) FROM spend_daily GROUP BY ALL ORDER BY day"

## What was measured

    make questions ROWS=%d

It loads a made-up fortnight (200 tenants, 1,600 keys, six models, four providers, twelve endpoints), merges the tables, asks each question
once to warm up and five times more, and fails if the best answer takes longer than 100 ms from rollups or 1 s raw. CPU is the
processor time of all threads in the round that took least of it: a quiet machine of two processors needs a little more than
half of that. ClickHouse %s, embedded, %d processors, %s. Milliseconds:

`

// page is the text of docs/questions.md.
func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(figuresFile)
	if err != nil {
		t.Fatal(err)
	}
	var f figures
	if err := json.Unmarshal(text, &f); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, pageIntro, f.Requests, f.Engine, f.CPUs, f.Remark)
	b.WriteString("| Question | rollups, best | median | CPU | rows read | raw, best | median | CPU | rows read |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, a := range f.Answers {
		fmt.Fprintf(&b, "| [%s](#%s) | %.1f | %.1f | %.1f | %d | %.1f | %.1f | %.1f | %d |\n", a.Question, a.Question,
			a.Rollup.BestMS, a.Rollup.MedianMS, a.Rollup.CPUMS, a.Rollup.Rows, a.Raw.BestMS, a.Raw.MedianMS, a.Raw.CPUMS, a.Raw.Rows)
	}
	if err := f.faults(100*time.Millisecond, time.Second); err != nil {
		fmt.Fprintf(&b, "\nOver the limit in this run:\n\n- %s\n", strings.ReplaceAll(err.Error(), "\n", "\n- "))
	}
	b.WriteString("\nOn disk, merged. Audit events are one for ten requests here, and one for each request in life:\n\n| Table | rows | MiB | bytes a row |\n| --- | --- | --- | --- |\n")
	for _, s := range f.Tables {
		fmt.Fprintf(&b, "| %s | %d | %.1f | %.1f |\n", s.Table, s.Rows, float64(s.Bytes)/(1<<20), s.perRow())
	}
	all, err := questions()
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range all {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n```sql\n%s\n```\n\nRaw:\n\n```sql\n%s\n```\n", q.Name, q.Words, q.Rollup, q.Raw)
	}
	return b.String()
}

package bench

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sira-ai/sira/schemas"
)

// played returns a run whose requests take 100 to 200 ms, times factor.
func played(n int, factor float64, seed uint64) *Run {
	schedule := make([]Arrival, n)
	for i := range schedule {
		schedule[i].At = time.Duration(i) * 10 * time.Millisecond
	}
	t := newTally(schedule, []Kind{{Format: JSON}, {Format: Avro, Stream: true}})
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	t.start(began)
	rnd := rand.New(rand.NewPCG(seed, 1))
	for i, a := range schedule {
		t.sent(i, began.Add(a.At))
		took := time.Duration(factor * float64(100+rnd.IntN(100)) * float64(time.Millisecond))
		if i%2 == 1 {
			t.begin(i, began.Add(a.At+took/2))
		}
		t.settle(i, began.Add(a.At+took), "")
	}
	r := t.run("bench-test")
	r.Load, r.Model, r.Lane, r.Tenants = "100 requests/s", "m", "standard", 1
	return r
}

// A process that stands still for a second sends a hundred requests late. Measured
// from the moment of sending each would have taken 5 ms.
func TestLateSendingIsLatency(t *testing.T) {
	t.Parallel()
	schedule := make([]Arrival, 200)
	for i := range schedule {
		schedule[i].At = time.Duration(i) * 10 * time.Millisecond
	}
	tally := newTally(schedule, []Kind{{Format: JSON}})
	began := time.Now()
	tally.start(began)
	for i, a := range schedule {
		sent := max(a.At, time.Second) // it stood still from the start
		tally.sent(i, began.Add(sent))
		tally.settle(i, began.Add(sent+5*time.Millisecond), "")
	}
	r := tally.run("x")
	if got := r.Latency[0].P50; got < 4 || got > 20 {
		t.Errorf("p50 is %g ms, want that of the half that was in time", got)
	}
	if got := r.Latency[0].P90; got < 750 || got > 850 { // 0.8 s late
		t.Errorf("p90 is %g ms, want 805: the lateness counts", got)
	}
	if got := r.SentLate.Max; got < 990 || got > 1010 {
		t.Errorf("sent late by %g ms at most, want 1000", got)
	}
}

func TestEveryRequestIsCountedOnce(t *testing.T) {
	t.Parallel()
	schedule := make([]Arrival, 4)
	tally := newTally(schedule, []Kind{{Format: JSON}})
	began := time.Now()
	tally.start(began)
	for i := range schedule {
		tally.sent(i, began)
	}
	tally.settle(0, began.Add(time.Second), "")
	tally.settle(1, began.Add(time.Second), schemas.Expired)
	tally.settle(0, began.Add(2*time.Second), "")
	r := tally.run("x")
	got := []int{r.Requests, r.Answered, r.Failed, r.Lost, r.Doubled, r.Failures[schemas.Expired], int(r.Latency[0].Count)}
	if d := cmp.Diff([]int{4, 2, 1, 2, 1, 1, 2}, got); d != "" {
		t.Errorf("-want +got\n%s", d)
	}
}

func TestWaitEndsWithTheLastResultOrTheLimit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answered int
		want     time.Duration
	}{
		"all are there": {2, quiet},
		"one is lost":   {1, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tally := newTally(make([]Arrival, 2), []Kind{{Format: JSON}})
				began := time.Now()
				tally.start(began)
				for i := range c.answered {
					tally.settle(i, began, "")
				}
				if err := tally.wait(t.Context(), time.Minute); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(began); took != c.want {
					t.Errorf("waited %s, want %s", took, c.want)
				}
			})
		})
	}
}

func TestSavedRunIsReadBackWhole(t *testing.T) {
	t.Parallel()
	r := played(500, 1, 1)
	path := filepath.Join(t.TempDir(), "run.json")
	if err := r.Save(path); err != nil {
		t.Fatal(err)
	}
	back, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r, back, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("-saved +read\n%s", d)
	}
	for _, text := range []string{"", "{}", `{"version":9}`, `{"version":1,"latency":[{"count":1,"hdr":"AAAA"}]}`, `{"version":1,"latency":[{"count":1}]}`} {
		if _, err := ReadRun([]byte(text)); err == nil {
			t.Errorf("%s is read as a run", text)
		}
	}
}

func TestComparisonTellsChangeFromNoise(t *testing.T) {
	t.Parallel()
	a := played(3000, 1, 1)
	for name, c := range map[string]struct {
		b    *Run
		want Verdict
	}{
		"another run of the same": {played(3000, 1, 2), Same},
		"a tenth slower":          {played(3000, 1.1, 2), Slower},
		"a tenth faster":          {played(3000, 0.9, 2), Faster},
	} {
		got, err := Compare(a, c.b)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 3*len(percentiles) {
			t.Fatalf("%s: %d differences of 3 series", name, len(got))
		}
		for _, d := range got {
			if d.Series == "all" && d.Percentile < 99.9 && d.Verdict != c.want {
				t.Errorf("%s: percentile %g is %s (%v, %v), want %s", name, d.Percentile, d.Verdict, d.RangeA, d.RangeB, c.want)
			}
			if d.RangeA[0] > d.A || d.RangeA[1] < d.A {
				t.Errorf("%s: %g is outside of its range %v", name, d.A, d.RangeA)
			}
		}
		if _, found := Worst(got, 0.05); found != (c.want == Slower) {
			t.Errorf("%s: worse by more than 5 %%: %v", name, found)
		}
	}
	if got := Unlike(a, a); len(got) != 0 {
		t.Errorf("a run is unlike itself in %v", got)
	}
}

var elsewhere = regexp.MustCompile(`(?i)(src|href)=|url\(|@import|<script|https?://`)

func TestReportNeedsNothingElse(t *testing.T) {
	t.Parallel()
	a, b := played(500, 1, 1), played(500, 1.5, 2)
	b.Load = `<script>alert("x")</script>`
	for _, runs := range [][]*Run{{a}, {a, b}} {
		var page bytes.Buffer
		if err := WriteReport(&page, []string{"before", "after"}[:len(runs)], runs...); err != nil {
			t.Fatal(err)
		}
		text := page.String()
		if found := elsewhere.FindString(text); found != "" {
			t.Errorf("the page holds %q", found)
		}
		for _, want := range []string{"prefers-color-scheme: dark", "Latency by percentile", "Latency over time", "Requests a second", "bench-test"} {
			if !strings.Contains(text, want) {
				t.Errorf("the page of %d runs has no %q", len(runs), want)
			}
		}
		if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
			t.Error("a chart holds what is no number")
		}
		if slower := strings.Contains(text, ">slower<"); slower != (len(runs) == 2) {
			t.Errorf("a page of %d runs says slower: %v", len(runs), slower)
		}
	}
}

// A run that nobody answered has a report, too.
func TestReportOfARunWithoutAnswers(t *testing.T) {
	t.Parallel()
	tally := newTally(make([]Arrival, 3), []Kind{{Format: JSON}})
	tally.start(time.Now())
	var page bytes.Buffer
	if err := WriteReport(&page, []string{"lost"}, tally.run("x")); err != nil {
		t.Fatal(err)
	}
	if text := page.String(); strings.Contains(text, "NaN") || strings.Contains(text, "Inf") || !strings.Contains(text, `class="bad"`) {
		t.Errorf("the page is\n%s", text)
	}
}

func FuzzReadRun(f *testing.F) {
	good, err := json.Marshal(played(20, 1, 1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"version":1,"latency":[{"count":1,"hdr":"HISTFAAAAAA="}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ReadRun(b)
		if err != nil {
			return
		}
		if _, err := Compare(r, r); err != nil {
			t.Fatalf("a run that was read can't be compared: %v", err)
		}
	})
}

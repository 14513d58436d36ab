package alert

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/schemas"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func TestBurnRateIsTheShareOfBadByTheShareThatMayBe(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ratio     Ratio
		objective float64
		want      float64
	}{
		{Ratio{0, 0}, 99.9, 0}, {Ratio{0, 100}, 99.9, 0}, {Ratio{1, 1000}, 99.9, 1}, {Ratio{144, 10000}, 99.9, 14.4}, {Ratio{100, 100}, 99, 100}, {Ratio{1, 2}, 50, 1},
	} {
		if got := c.ratio.Burn(c.objective); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%v of %g %%: %g, want %g", c.ratio, c.objective, got, c.want)
		}
	}
}

// The published parameters follow from shares of the budget: 2 % in an hour, 5 % in
// six hours and 10 % in three days of thirty.
func TestRecommendedWindowsSpendThePublishedShares(t *testing.T) {
	t.Parallel()
	const period = 30 * 24 * time.Hour
	for i, share := range []float64{0.02, 0.05, 0.1} {
		w := recommended()[i]
		if got := w.Rate * w.Long.Hours() / period.Hours(); math.Abs(got-share) > 1e-9 {
			t.Errorf("%+v spends %g of the budget, want %g", w, got, share)
		}
		if w.Long != 12*w.Short {
			t.Errorf("%+v: the short window is a twelfth of the long one", w)
		}
	}
}

func TestBurnNeedsBothWindows(t *testing.T) {
	t.Parallel()
	r := BurnRule{Rule: Rule{Name: "answers"}, Objective: 99}
	r.complete()
	at := func(long, short, six, half, days uint64) []Count {
		return []Count{{Windows: map[time.Duration]Ratio{
			time.Hour: {long, 1000}, 5 * time.Minute: {short, 100}, 6 * time.Hour: {six, 6000}, 30 * time.Minute: {half, 500}, 72 * time.Hour: {days, 72000},
		}}}
	}
	for name, c := range map[string]struct {
		counts []Count
		want   string
	}{
		"calm":                {at(5, 1, 30, 3, 300), ""},
		"fast":                {at(200, 20, 250, 120, 900), "page 3 20.0"},
		"fast, but over":      {at(200, 0, 250, 0, 300), ""},
		"slow":                {at(80, 8, 480, 40, 700), "page 2 8.0"},
		"very slow":           {at(20, 2, 120, 10, 1440), "ticket 1 2.0"},
		"few, by the minimum": {[]Count{{Windows: map[time.Duration]Ratio{time.Hour: {4, 5}, 5 * time.Minute: {4, 5}}}}, ""},
	} {
		got := ""
		for _, f := range r.Find(c.counts) {
			got += fmt.Sprintf("%s %d %.1f", f.Severity, f.Level, f.Value)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	f := r.Find(at(200, 20, 250, 120, 900))[0]
	if want := "the error budget burns 20.0 times too fast: 200 of 1000 requests within 1 h were bad (objective 99 %); at this pace 30 days of budget last 36 h"; f.Summary != want {
		t.Errorf("%s\nwant\n%s", f.Summary, want)
	}
}

func TestHighestThresholdOfABudgetSpeaks(t *testing.T) {
	t.Parallel()
	var r BudgetRule
	stand := func(mode string, used float64) []Standing {
		return []Standing{{Budget: "b", Tenant: "acme", Mode: mode, Used: used, Limit: "500 USD", Resets: noon, Warnings: []int{50, 80}}}
	}
	for _, c := range []struct {
		mode string
		used float64
		want string
		says string
	}{
		{"hard", 49.9, "", ""},
		{"hard", 50, "ticket 50", "at 100 %"},
		{"hard", 99.9, "ticket 80", "at 100 %"},
		{"hard", 100, "page 100", "fail with budget_exceeded until"},
		{"soft", 130, "ticket 100", "go on beyond"},
	} {
		got := ""
		for _, f := range r.Find(stand(c.mode, c.used)) {
			got += fmt.Sprintf("%s %d", f.Severity, f.Level)
			if !strings.Contains(f.Summary, c.says) {
				t.Errorf("%s at %g: %s", c.mode, c.used, f.Summary)
			}
		}
		if got != c.want {
			t.Errorf("%s at %g: %q, want %q", c.mode, c.used, got, c.want)
		}
	}
	r.At = []Threshold{{Percent: 120, Severity: Page}}
	if got := r.Find(stand("soft", 119)); len(got) != 0 {
		t.Errorf("below the rule's own threshold: %v", got)
	}
}

func TestBudgetThatOutlastsItsWindowIsNoAlert(t *testing.T) {
	t.Parallel()
	r := ForecastRule{Ahead: 72 * time.Hour, When: "expected"}
	for _, c := range []struct {
		gone, resets time.Duration
		want         int
	}{{0, 100, 0}, {10, 100, 1}, {10, 9, 0}, {73, 100, 0}} {
		o := Outlook{Budget: "b", Resets: noon.Add(c.resets * time.Hour), Left: 12.5, Currency: "USD"}
		if c.gone > 0 {
			o.Gone = noon.Add(c.gone * time.Hour)
		}
		if got := r.Find([]Outlook{o}, noon); len(got) != c.want {
			t.Errorf("gone after %d h of %d: %v", c.gone, c.resets, got)
		}
	}
}

// steady finds every value that differs from the first one surprising.
type steady struct {
	first *float64
	seen  *int
}

func (s *steady) Observe(_ time.Time, v float64) Surprise {
	*s.seen++
	if s.first == nil {
		s.first = &v
	}
	if v != *s.first {
		return Surprise{1, "another value"}
	}
	return Surprise{}
}

func TestVanishedTrafficIsAnAnomaly(t *testing.T) {
	t.Parallel()
	r := AnomalyRule{Rule: Rule{Name: "traffic"}, Measure: Requests}
	r.complete()
	seen := 0
	w := NewWatch(&r, func() (Detector, error) { return &steady{seen: &seen}, nil })
	if from := w.Since(noon); !from.Equal(noon.Add(-72 * time.Hour)) {
		t.Errorf("the past begins at %s", from)
	}
	labels := map[string]string{"model": "a"}
	past := Series{Labels: labels}
	for i := 12; i >= 1; i-- {
		past.Points = append(past.Points, Point{noon.Add(-time.Duration(i) * r.Step), 7})
	}
	found, err := w.Find([]Series{past}, noon)
	if err != nil || len(found) != 0 || seen != 12 {
		t.Fatalf("steady traffic: %v, error %v, %d points", found, err, seen)
	}
	// The same look again sees nothing new.
	if _, err := w.Find(nil, noon); err != nil || seen != 12 || !w.Since(noon).Equal(noon) {
		t.Errorf("a second look saw %d points, since %s", seen, w.Since(noon))
	}
	found, err = w.Find(nil, noon.Add(2*r.Step))
	if err != nil || len(found) != 1 || found[0].Value != 0 || seen != 14 || !strings.Contains(found[0].Summary, "requests of 0 in the 5 min from 12:05 is unusual (surprise 1.00): another value") {
		t.Errorf("no traffic at all: %v, error %v, %d points", found, err, seen)
	}
	back := Series{Labels: labels, Points: []Point{{noon.Add(2 * r.Step), 7}, {noon.Add(3 * r.Step), 7}, {noon.Add(4 * r.Step), 7}}}
	if found, err = w.Find([]Series{back}, noon.Add(5*r.Step)); err != nil || len(found) != 0 {
		t.Errorf("when it is back: %v, error %v", found, err)
	}
	if _, err := w.Find(make([]Series, maxSeries+1), noon); err == nil {
		t.Error("more series than there is memory for were taken")
	}
}

func TestLimitIsComparedWithTheLastStep(t *testing.T) {
	t.Parallel()
	limit := 0.5
	r := AnomalyRule{Rule: Rule{Name: "p"}, Measure: Probability, Above: &limit}
	r.complete()
	w := NewWatch(&r, nil)
	found, err := w.Find([]Series{{Points: []Point{{noon, 0.4}, {noon, 0.9}}}, {Points: []Point{{noon, 0.9}, {noon, 0.5}}}, {}}, noon)
	if err != nil || len(found) != 1 || found[0].Summary != "failure_probability is 0.9, above 0.5" {
		t.Errorf("%v, error %v", found, err)
	}
}

func TestSilencesMatchAsAlertmanagerDoes(t *testing.T) {
	t.Parallel()
	a := &schemas.Alert{Rule: "answers", Kind: KindBurn, Severity: Page, Labels: map[string]string{"model": "gpt-4o", "x": "a=b"}}
	for text, want := range map[string]bool{
		"rule=answers": true, "rule=answer": false, "model!=gpt-4o": false, "model!=": true, "tenant=": true, "tenant!=acme": true,
		"model=~gpt": false, "model=~gpt-.*": true, "model=~a|gpt-4o": true, "model!~gpt-.*": false, "severity=page": true, "kind=budget": false, "x=a=b": true,
	} {
		s, err := ParseSilence(schemas.AlertSilence{Matchers: []string{text}, From: noon, Until: noon.Add(time.Hour)})
		if err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if got := s.Mutes(a, noon); got != want {
			t.Errorf("%s: %t, want %t", text, got, want)
		}
		if s.Mutes(a, noon.Add(-1)) || s.Mutes(a, noon.Add(time.Hour)) {
			t.Errorf("%s mutes outside of its time", text)
		}
	}
	for _, matchers := range [][]string{nil, {""}, {"=x"}, {"model"}, {"model~x"}, {"model=~("}, {"mo del=x"}, make([]string, maxMatchers+1)} {
		if _, err := ParseSilence(schemas.AlertSilence{Matchers: matchers}); err == nil {
			t.Errorf("%q was taken", matchers)
		}
	}
}

// FuzzSilence reads matchers, which come from a table that others write too.
func FuzzSilence(f *testing.F) {
	for _, s := range []string{"rule=answers", "model=~gpt-.*", "a!=b", "x!~(y|z)", "=~", "a=~(", "é=1"} {
		f.Add(s)
	}
	a := &schemas.Alert{Rule: "answers", Labels: map[string]string{"model": "m"}}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSilence(schemas.AlertSilence{Matchers: []string{text}, From: noon, Until: noon.Add(time.Hour)})
		if err != nil {
			return
		}
		if s.Mutes(a, noon.Add(-time.Minute)) {
			t.Error("it mutes before it begins")
		}
		s.Mutes(a, noon)
	})
}

func TestFaultsSayWhereAndWhatToWrite(t *testing.T) {
	t.Parallel()
	c := Config{
		Burn: []BurnRule{
			{Rule: Rule{Name: "a", To: []string{"nobody"}}, Objective: 100, Models: []string{"m"}, By: []string{"team"}, Ignore: []string{"bad luck"}},
			{Rule: Rule{Name: "a"}, Objective: 99, By: []string{"endpoint"}, Windows: []Window{{Long: 72 * time.Hour, Short: 6 * time.Hour, Rate: 1}, {Long: time.Minute, Short: time.Hour, Rate: 101}}},
		},
		Anomaly:  []AnomalyRule{{Rule: Rule{Name: "b", For: time.Minute}, Measure: "luck", Step: time.Second}},
		Budget:   []BudgetRule{{Rule: Rule{Name: "alerts_blind", Severity: "sms"}, Budgets: []string{"none"}}},
		Forecast: []ForecastRule{{Rule: Rule{Labels: map[string]string{"a-b": "c"}}, When: "never", Ahead: time.Minute}},
	}
	c.Complete()
	var got []string
	for _, f := range c.Faults(Known{Receivers: []string{"ops"}, Models: []string{"fast"}}) {
		got = append(got, f.Path+": "+f.Message)
	}
	want := []string{
		`burn[0].to[0]: no receiver is named "nobody"; there are ops`,
		`burn[0].models[0]: no model is named "m"; there are fast`,
		`burn[0].by[0]: "team" is unknown here: write model, tenant, provider, endpoint`,
		`burn[0].ignore[0]: "bad luck" is no outcome of a request: write codes of docs/contracts.md, such as invalid_request`,
		`burn[0].objective: 100 is not between 0 and 100: write the percentage of requests that are to be good, such as 99.5`,
		`burn[1].name: there is another rule "a": each needs its own name`,
		`burn[1].windows[0].long: windows above 6h0m0s are counted by model and tenant only: write a shorter one, or another by`,
		`burn[1].windows[1]: 1m0s and 1h0m0s are no pair: write a short window of 1m or more and a longer one up to 744h, such as {long: 1h, short: 5m, rate: 14.4}`,
		`burn[1].windows[1].rate: 101 can't be exceeded with an objective of 99 %: write more than 0 and less than 100`,
		`anomaly[0].measure: "luck" is unknown: write requests, failing_percent, latency_p50_ms, latency_p99_ms, spend, failure_probability`,
		`anomaly[0].step: 1s is not between 1m and 24h: write 5m`,
		`anomaly[0].for: an anomaly is a single step: leave it out, and see keep`,
		`anomaly[0].history: 72h0m0s is not between 150 and 4000 steps: write 2m30s or more`,
		`budget[0].name: there is another rule "alerts_blind": each needs its own name`,
		`budget[0].severity: "sms" is unknown: write page, ticket`,
		`budget[0].budgets[0]: no budget is named "none"; there are none yet`,
		`forecast[0].name: the rule has no name: write one, such as forecast`,
		`forecast[0].labels: "a-b" is no name for a label here: write letters, digits and _, and not rule, kind or severity`,
		`forecast[0].when: "never" is unknown: write expected, earliest`,
		`forecast[0].ahead: 1m0s is not between 1h and 744h: write 72h`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

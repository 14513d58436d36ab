package alert

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"
)

// Series is a measure in equal steps.
type Series struct {
	Labels map[string]string
	Points []Point // in the order of time
}

// Point is a whole step of a series.
type Point struct {
	At    time.Time // the step's start
	Value float64
}

// Surprise is what a detector says of a point: 0 is ordinary, 1 has never been seen.
type Surprise struct {
	Score float64
	Why   string
}

// Detector watches one series, point after point.
type Detector interface {
	Observe(at time.Time, value float64) Surprise
}

// Watch remembers what is usual in the series of an anomaly rule. It is not safe for
// concurrent use.
type Watch struct {
	rule   *AnomalyRule
	detect func() (Detector, error)
	series map[string]*watched
}

type watched struct {
	detector Detector
	labels   map[string]string
	next     time.Time // the first step that was not seen yet
	last     time.Time // the last step that had anything
	alarm    *Finding
	at       time.Time // of the alarm
}

// maxSeries bounds the memory of a rule: a detector of 72 h in steps of 5 min keeps
// about 200 KB.
const maxSeries = 200

// NewWatch returns a watch without a past; detect makes a detector for each series.
func NewWatch(rule *AnomalyRule, detect func() (Detector, error)) *Watch {
	return &Watch{rule: rule, detect: detect, series: map[string]*watched{}}
}

// Since returns the first step that Find wants to see, given that now is in the
// first step that it does not.
func (w *Watch) Since(now time.Time) time.Time {
	if w.rule.Above != nil {
		return now.Add(-w.rule.Step)
	}
	from := now.Add(-w.rule.History)
	if len(w.series) == 0 {
		return from
	}
	oldest := now
	for _, s := range w.series {
		if s.next.Before(oldest) {
			oldest = s.next
		}
	}
	if oldest.Before(from) {
		return from
	}
	return oldest
}

// Find takes the whole steps before now and returns what is unusual in them.
func (w *Watch) Find(all []Series, now time.Time) ([]Finding, error) {
	if w.rule.Above != nil {
		return w.above(all), nil
	}
	if len(all) > maxSeries {
		return nil, fmt.Errorf("the rule %s has %d series and can watch %d: group by less, or name models or tenants", w.rule.Name, len(all), maxSeries)
	}
	here := make(map[string]bool, len(all))
	for i := range all {
		key := ID("", all[i].Labels)
		here[key] = true
		s := w.series[key]
		if s == nil {
			d, err := w.detect()
			if err != nil {
				return nil, err
			}
			s = &watched{detector: d, labels: all[i].Labels}
			w.series[key] = s
		}
		w.observe(s, all[i].Points, now)
	}
	var out []Finding
	for _, key := range slices.Sorted(maps.Keys(w.series)) {
		s := w.series[key]
		if !here[key] {
			w.observe(s, nil, now)
		}
		if now.Sub(s.last) > w.rule.History { // nothing of it is left to learn from
			delete(w.series, key)
			continue
		}
		// An alarm is told of for two steps, so that a look that fails, or a restart, does
		// not lose it.
		if s.alarm != nil && now.Sub(s.at) <= 3*w.rule.Step {
			out = append(out, *s.alarm)
		}
	}
	return out, nil
}

// observe lets the detector see the points that are new. Where things are counted, a
// step without any is a zero, from the first step that had one.
func (w *Watch) observe(s *watched, points []Point, now time.Time) {
	counted := w.rule.Measure == Requests || w.rule.Measure == Spend
	for _, p := range points {
		if p.At.Before(s.next) {
			continue
		}
		for counted && !s.next.IsZero() && s.next.Before(p.At) {
			w.see(s, Point{At: s.next})
		}
		s.last = p.At
		w.see(s, p)
	}
	for counted && !s.next.IsZero() && s.next.Before(now) {
		w.see(s, Point{At: s.next})
	}
	s.next = now
}

func (w *Watch) see(s *watched, p Point) {
	s.next = p.At.Add(w.rule.Step)
	v := s.detector.Observe(p.At, p.Value)
	if math.IsNaN(p.Value) || v.Score < w.rule.Score {
		return
	}
	s.at = p.At
	s.alarm = &Finding{
		Labels: s.labels, Level: 1, Value: p.Value, Threshold: w.rule.Score,
		Summary: fmt.Sprintf("%s of %.6g in the %s from %s is unusual (surprise %.2f): %s", w.rule.Measure, p.Value, brief(w.rule.Step), p.At.UTC().Format("15:04"), v.Score, v.Why),
	}
}

// above compares the last point of each series with the limit.
func (w *Watch) above(all []Series) []Finding {
	var out []Finding
	for i := range all {
		if len(all[i].Points) == 0 {
			continue
		}
		p := all[i].Points[len(all[i].Points)-1]
		if p.Value > *w.rule.Above {
			out = append(out, Finding{
				Labels: all[i].Labels, Level: 1, Value: p.Value, Threshold: *w.rule.Above,
				Summary: fmt.Sprintf("%s is %.6g, above %.6g", w.rule.Measure, p.Value, *w.rule.Above),
			})
		}
	}
	return out
}

// Standing is how much of a budget is used in its present window.
type Standing struct {
	Budget   string
	Tenant   string // empty: all together
	Mode     string
	Used     float64 // percent of the limit, with what is set aside
	Limit    string  // with its currency
	Resets   time.Time
	Warnings []int // percent, of the budget itself
}

// Find returns a finding for each budget that reached a threshold; the highest one
// speaks.
func (r *BudgetRule) Find(all []Standing) []Finding {
	var out []Finding
	for i := range all {
		s := &all[i]
		var top *Threshold
		at := r.thresholds(s)
		for j := range at {
			if s.Used >= float64(at[j].Percent) && (top == nil || at[j].Percent > top.Percent) {
				top = &at[j]
			}
		}
		if top == nil {
			continue
		}
		labels := map[string]string{"budget": s.Budget}
		if s.Tenant != "" {
			labels["tenant"] = s.Tenant
		}
		out = append(out, Finding{
			Labels: labels, Severity: top.Severity, Level: top.Percent, Value: s.Used, Threshold: float64(top.Percent),
			Summary: fmt.Sprintf("%.1f %% of the budget %s of %s is used; %s", s.Used, s.Budget, s.Limit, s.next()),
		})
	}
	return out
}

// thresholds are the rule's, or else the budget's own and its limit. Reaching the
// limit of a hard budget is for a page: requests fail.
func (r *BudgetRule) thresholds(s *Standing) []Threshold {
	if len(r.At) > 0 {
		return r.At
	}
	out := []Threshold{{Percent: 100, Severity: Ticket}}
	if s.Mode == "hard" {
		out[0].Severity = Page
	}
	for _, p := range s.Warnings {
		if p < 100 {
			out = append(out, Threshold{Percent: p, Severity: Ticket})
		}
	}
	return out
}

// next says what happens at the limit.
func (s *Standing) next() string {
	until := " until " + s.Resets.UTC().Format("2006-01-02 15:04 MST")
	switch {
	case s.Mode != "hard":
		return "requests go on beyond it, the window lasts" + until
	case s.Used >= 100:
		return "requests fail with budget_exceeded" + until
	}
	return "at 100 % requests fail with budget_exceeded" + until
}

// Outlook is when a budget is forecast to be used up.
type Outlook struct {
	Budget   string
	Tenant   string
	Mode     string
	Gone     time.Time // zero: not within what was looked at
	Resets   time.Time
	Left     float64 // of the limit, in Currency
	Currency string
}

// Find returns a finding for each budget that will not last.
func (r *ForecastRule) Find(all []Outlook, now time.Time) []Finding {
	var out []Finding
	for i := range all {
		o := &all[i]
		if o.Gone.IsZero() || !o.Gone.Before(o.Resets) || o.Gone.Sub(now) > r.Ahead {
			continue
		}
		labels := map[string]string{"budget": o.Budget}
		if o.Tenant != "" {
			labels["tenant"] = o.Tenant
		}
		out = append(out, Finding{
			Labels: labels, Level: 1, Value: o.Gone.Sub(now).Hours(), Threshold: r.Ahead.Hours(),
			Summary: fmt.Sprintf("the budget %s is forecast to be used up at %s (%s), %s before its window ends; %.6g %s are left",
				o.Budget, o.Gone.UTC().Format("2006-01-02 15:04 MST"), r.When, brief(o.Resets.Sub(o.Gone)), o.Left, o.Currency),
		})
	}
	return out
}

package chart

import (
	"strings"
	"testing"
	"time"
)

func TestTimesHaveAFewRoundTicks(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 3, 4, 11, 7, 0, 0, time.UTC)
	for lasts, first := range map[time.Duration]string{
		30 * time.Minute: "11:10", 6 * time.Hour: "12:00", 24 * time.Hour: "12:00", 7 * 24 * time.Hour: "Mar 5", 60 * 24 * time.Hour: "Mar 16", 0: "11:15",
	} {
		a := Times(from, from.Add(lasts))
		if len(a.ticks) < 3 || len(a.ticks) > 10 || a.ticks[0].label != first {
			t.Errorf("%s: %d ticks, %+v", lasts, len(a.ticks), a.ticks)
		}
		for _, k := range a.ticks {
			if p := a.place(k.at); p < 0 || p > 1 {
				t.Errorf("%s: the tick %s is at %g", lasts, k.label, p)
			}
		}
	}
}

func TestLongestBarTakesAllTheRoom(t *testing.T) {
	t.Parallel()
	svg := string(Bars("t", []Bar{
		{Name: "a<b", Parts: []Part{{"ok", 2, 60}, {"timeout", 1, 40}}, Note: "100"},
		{Name: strings.Repeat("é", 50), Parts: []Part{{"ok", 2, 50}, {"none", 1, 0}, {"less", 1, -5}}},
	}))
	for _, says := range []string{`width="252.00"`, `width="168.00"`, `width="210.00"`, "a&lt;b", strings.Repeat("é", 29) + "…", "<title>timeout: 40</title>"} {
		if !strings.Contains(svg, says) {
			t.Errorf("no %s in\n%s", says, svg)
		}
	}
	if strings.Contains(svg, "none") || strings.Contains(svg, "less") || strings.Contains(svg, "NaN") {
		t.Errorf("parts of no length are drawn:\n%s", svg)
	}
	if svg := string(Bars("t", []Bar{{Name: "a"}})); strings.Contains(svg, "NaN") {
		t.Error(svg)
	}
}

package chart

import "time"

// Times returns an axis of moments in seconds since 1970, UTC, with about six round
// ticks.
func Times(from, to time.Time) Axis {
	if !to.After(from) {
		to = from.Add(time.Hour)
	}
	step, form := time.Minute, "15:04"
	for _, s := range []struct {
		step time.Duration
		form string
	}{
		{5 * time.Minute, "15:04"},
		{15 * time.Minute, "15:04"},
		{time.Hour, "15:04"},
		{3 * time.Hour, "15:04"},
		{6 * time.Hour, "Jan 2 15:04"},
		{24 * time.Hour, "Jan 2"},
		{7 * 24 * time.Hour, "Jan 2"},
		{14 * 24 * time.Hour, "Jan 2"},
		{30 * 24 * time.Hour, "Jan 2"},
		{365 * 24 * time.Hour, "2006"},
	} {
		if to.Sub(from) <= 8*step {
			break
		}
		step, form = s.step, s.form
	}
	a := Axis{from: float64(from.Unix()), to: float64(to.Unix())}
	for at := from.UTC().Truncate(step); !at.After(to) && len(a.ticks) < 40; at = at.Add(step) {
		if !at.Before(from) {
			a.ticks = append(a.ticks, tick{float64(at.Unix()), at.Format(form)})
		}
	}
	return a
}

package alert

import (
	"fmt"
	"time"
)

// Count is how many requests were good and bad in some windows until now.
type Count struct {
	Labels  map[string]string
	Windows map[time.Duration]Ratio
}

// Ratio is requests of a window. Those that count for nothing are in neither.
type Ratio struct{ Bad, All uint64 }

// Burn returns how many times faster than the objective allows a window uses up the
// error budget: the share of bad requests divided by the share that may be bad. At
// 1 the budget lasts exactly its period. Source: The Site Reliability Workbook,
// chapter 5, "Alert on Burn Rate" (https://sre.google/workbook/alerting-on-slos/).
// objective is in percent and below 100.
func (r Ratio) Burn(objective float64) float64 {
	if r.All == 0 {
		return 0
	}
	return float64(r.Bad) / float64(r.All) / (1 - objective/100)
}

// Lengths returns all lengths of windows, without doubles.
func (r *BurnRule) Lengths() []time.Duration {
	var out []time.Duration
	seen := map[time.Duration]bool{}
	for _, w := range r.Windows {
		for _, d := range []time.Duration{w.Long, w.Short} {
			if !seen[d] {
				seen[d] = true
				out = append(out, d)
			}
		}
	}
	return out
}

// Find returns a finding for each count that exceeds a burn rate in the long window
// and in the short one: the long one says that it matters, the short one that it
// goes on. The worst pair of windows speaks.
func (r *BurnRule) Find(counts []Count) []Finding {
	var out []Finding
	for _, c := range counts {
		for i := len(r.Windows) - 1; i >= 0; i-- {
			w := &r.Windows[i]
			long, short := c.Windows[w.Long], c.Windows[w.Short]
			rate := long.Burn(r.Objective)
			if rate <= w.Rate || short.Burn(r.Objective) <= w.Rate || long.Bad < uint64(r.Failures) {
				continue
			}
			out = append(out, Finding{
				Labels: c.Labels, Severity: w.Severity, Level: i + 1, Value: rate, Threshold: w.Rate,
				Summary: fmt.Sprintf("the error budget burns %.1f times too fast: %d of %d requests within %s were bad (objective %g %%); at this pace %s of budget last %s",
					rate, long.Bad, long.All, brief(w.Long), r.Objective, brief(r.Period), brief(time.Duration(float64(r.Period)/rate))),
			})
			break
		}
	}
	return out
}

// brief writes a duration to one unit.
func brief(d time.Duration) string {
	switch {
	case d >= 72*time.Hour:
		return fmt.Sprintf("%.0f days", d.Hours()/24)
	case d >= 2*time.Hour || d == time.Hour:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
	return fmt.Sprintf("%.0f min", d.Minutes())
}

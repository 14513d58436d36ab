package forecast

import (
	"math"
	"slices"
)

// model forecasts the next steps of a series that has at least two seasons.
type model struct {
	name     string
	forecast func(series []float64, season, horizon int) []float64
}

func models() []model {
	single := []model{
		{"seasonal_naive", seasonalNaive},
		{"holt_winters", holtWinters},
		{"profile", profile},
		{"blend", blend},
	}
	return append(single, model{"median", func(series []float64, season, horizon int) []float64 {
		var all [][]float64
		for _, m := range single {
			all = append(all, m.forecast(series, season, horizon))
		}
		out := make([]float64, horizon)
		values := make([]float64, len(all))
		for h := range out {
			for i := range all {
				values[i] = all[i][h]
			}
			out[h] = middle(values)
		}
		return out
	}})
}

// seasonalNaive says that everything is as it was a season ago.
func seasonalNaive(series []float64, season, horizon int) []float64 {
	out := make([]float64, horizon)
	last := series[len(series)-season:]
	for h := range out {
		out[h] = last[h%season]
	}
	return out
}

// holtWinters is additive with a damped trend (Holt 1957, Winters 1960, Gardner and
// McKenzie 1985); its weights are those of a small grid that predicted the series
// best, one step ahead.
func holtWinters(series []float64, season, horizon int) []float64 {
	best := math.Inf(1)
	var out []float64
	for _, alpha := range []float64{0.05, 0.2, 0.5, 0.8} {
		for _, beta := range []float64{0, 0.05} {
			for _, gamma := range []float64{0.05, 0.2, 0.5} {
				if sse, f := smooth(series, season, horizon, alpha, beta, gamma); sse < best {
					best, out = sse, f
				}
			}
		}
	}
	return out
}

// damping keeps a trend from running away.
const damping = 0.95

// smooth runs Holt and Winters's recursions and returns the squared error of one
// step ahead, and the forecast.
func smooth(series []float64, season, horizon int, alpha, beta, gamma float64) (float64, []float64) {
	level := mean(series[:season])
	trend := 0.0
	slots := make([]float64, season)
	for i := range slots {
		slots[i] = series[i] - level
	}
	sse := 0.0
	for i := season; i < len(series); i++ {
		slot := &slots[i%season]
		off := series[i] - (level + damping*trend + *slot)
		sse += off * off
		before := level
		level = alpha*(series[i]-*slot) + (1-alpha)*(level+damping*trend)
		trend = beta*(level-before) + (1-beta)*damping*trend
		*slot = gamma*(series[i]-level) + (1-gamma)**slot
	}
	out := make([]float64, horizon)
	ahead, power := 0.0, 1.0
	for h := range out {
		power *= damping
		ahead += power * trend
		out[h] = math.Max(0, level+ahead+slots[(len(series)+h)%season])
	}
	return sse, out
}

// profileSeasons are the seasons that a profile is made of.
const profileSeasons = 8

// profile is the median of each slot over the last seasons, each relative to its
// season's mean, on top of a level that follows the last season.
func profile(series []float64, season, horizon int) []float64 {
	n := min(profileSeasons, len(series)/season)
	start := len(series) - n*season
	slots := make([]float64, season)
	values := make([]float64, n)
	means := make([]float64, n)
	for k := range n {
		means[k] = mean(series[start+k*season : start+(k+1)*season])
	}
	for i := range slots {
		for k := range n {
			values[k] = series[start+k*season+i] - means[k]
		}
		slots[i] = middle(values)
	}
	level := means[0]
	for _, m := range means[1:] {
		level = 0.5*m + 0.5*level
	}
	out := make([]float64, horizon)
	for h := range out {
		out[h] = math.Max(0, level+slots[h%season])
	}
	return out
}

// blend is what came a season and two seasons ago, half of each, moved by how far
// the last hours were from their own past; the move fades.
func blend(series []float64, season, horizon int) []float64 {
	const recent, fade = 6, 0.9
	n := len(series)
	past := func(i int) float64 { return (series[i-season] + series[i-2*season]) / 2 }
	off, count := 0.0, 0
	for i := max(2*season, n-recent); i < n; i++ {
		off, count = off+series[i]-past(i), count+1
	}
	if count > 0 {
		off /= float64(count)
	}
	out := make([]float64, horizon)
	for h := range out {
		i := n + h%season
		off *= fade
		out[h] = math.Max(0, past(i)+off)
	}
	return out
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// middle returns the median and leaves values as they are.
func middle(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// Package forecast says what will be spent, and how much traffic comes, with
// intervals that hold as often as they say. Several models are tried on the
// series's own past, and the one with the smallest error speaks. The intervals are
// what its past forecasts were off by (split conformal), so they assume nothing
// about the shape of errors.
//
// A forecast is a statistic: it computes with floats, and nothing is ever booked
// from it.
package forecast

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Config says how to forecast.
type Config struct {
	Season  int     `json:"season"`  // steps after which things repeat: 24 for hours of a day, 168 for those of a week
	Horizon int     `json:"horizon"` // steps to look ahead
	Level   float64 `json:"level"`   // share of cases that an interval holds in; 0.9
	Origins int     `json:"origins"` // moments of the past that models are tried at, at most; 150
	// Memory is after how many steps a past error counts half: traffic changes its
	// habits. A season.
	Memory int `json:"memory"`
}

// Validate sets defaults and says what to write instead.
func (c *Config) Validate() error {
	if c.Season == 0 {
		c.Season = 24
	}
	if c.Horizon == 0 {
		c.Horizon = c.Season
	}
	if c.Level == 0 {
		c.Level = 0.9
	}
	if c.Origins == 0 {
		c.Origins = 150
	}
	if c.Memory == 0 {
		c.Memory = c.Season
	}
	var errs []error
	if c.Season < 2 || c.Season > 10_000 {
		errs = append(errs, errors.New("season: write a number of steps from 2 to 10000"))
	}
	if c.Horizon < 1 || c.Horizon > 10_000 {
		errs = append(errs, errors.New("horizon: write a number of steps from 1 to 10000"))
	}
	if c.Level <= 0.5 || c.Level >= 1 {
		errs = append(errs, errors.New("level: write a share between 0.5 and 1, such as 0.9"))
	}
	if c.Origins < 1 || c.Origins > 1000 {
		errs = append(errs, errors.New("origins: write a number from 1 to 1000"))
	}
	if c.Memory < 1 {
		errs = append(errs, errors.New("memory: write a number of steps from 1"))
	}
	return errors.Join(errs...)
}

// Point is a forecast of one step.
type Point struct {
	Expected float64 `json:"expected"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
}

// Score is how a model did on the past.
type Score struct {
	Model string  `json:"model"`
	Error float64 `json:"error"` // mean absolute error
}

// Forecast is what is to come.
type Forecast struct {
	Model   string  `json:"model"`
	Scores  []Score `json:"scores"`  // best first
	Origins int     `json:"origins"` // past forecasts that the intervals come from
	// Calibrated reports whether there were enough of them for the intervals to be
	// taken at their word.
	Calibrated bool    `json:"calibrated"`
	Points     []Point `json:"points"` // of each step
	Sums       []Point `json:"sums"`   // of all steps up to each
}

// ErrTooShort means that a series has less than two seasons and a horizon.
var ErrTooShort = errors.New("the series is too short")

// enoughOrigins make an interval of 90 % credible.
const enoughOrigins = 15

// Make forecasts a series of equal steps, oldest first. Values below zero are
// neither expected nor returned.
func Make(series []float64, cfg Config) (*Forecast, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if need := 2*cfg.Season + cfg.Horizon; len(series) < need {
		return nil, fmt.Errorf("%w: it has %d steps, a forecast of %d with a season of %d needs %d", ErrTooShort, len(series), cfg.Horizon, cfg.Season, need)
	}
	for i, v := range series {
		if math.IsNaN(v) || math.IsInf(v, 0) || v < 0 {
			return nil, fmt.Errorf("step %d is %v: write numbers from 0", i, v)
		}
	}
	trials := try(series, &cfg)
	best := trials[0]
	f := &Forecast{Model: best.model.name, Origins: len(best.past), Calibrated: best.span(&cfg) >= enoughOrigins}
	for _, t := range trials {
		f.Scores = append(f.Scores, Score{t.model.name, t.mae})
	}
	f.Points, f.Sums = best.intervals(best.model.forecast(series, cfg.Season, cfg.Horizon), level(series, cfg.Season), &cfg)
	return f, nil
}

// trial is how one model did at past origins.
type trial struct {
	model model
	mae   float64
	past  []attempt // newest first
}

// attempt is a forecast of the past: by step, actual less expected, relative to the
// level of its time. The newest ones know only their first steps yet.
type attempt struct {
	off   []float64
	scale float64
	age   int // steps since the origin
}

// span is how many forecasts of the whole horizon do not overlap by more than
// half.
func (t *trial) span(cfg *Config) int {
	return 2 * (t.past[len(t.past)-1].age - cfg.Horizon) / max(1, min(cfg.Horizon, cfg.Season))
}

// try lets every model forecast from past origins, as if the rest was not there,
// and returns the trials, smallest error first.
func try(series []float64, cfg *Config) []trial {
	first, last := 2*cfg.Season, len(series)-1
	stride := max(1, (last-first+cfg.Origins)/cfg.Origins)
	var out []trial
	for _, m := range models() {
		t := trial{model: m}
		sum, n := 0.0, 0.0
		for origin := last; origin >= first; origin -= stride {
			got := m.forecast(series[:origin], cfg.Season, cfg.Horizon)
			a := attempt{off: make([]float64, min(cfg.Horizon, len(series)-origin)), scale: level(series[:origin], cfg.Season), age: len(series) - origin}
			for h := range a.off {
				a.off[h] = (series[origin+h] - got[h]) / a.scale
				w := weight(a.age-h, cfg)
				sum, n = sum+w*math.Abs(a.off[h])*a.scale, n+w
			}
			t.past = append(t.past, a)
		}
		t.mae = sum / n
		out = append(out, t)
	}
	slices.SortStableFunc(out, func(a, b trial) int { return cmp.Compare(a.mae, b.mae) })
	return out
}

// weight is how much something counts that was so many steps ago.
func weight(age int, cfg *Config) float64 { return math.Exp2(-float64(age) / float64(cfg.Memory)) }

// level is the mean of the last season, the size that errors are measured in: a
// service that has grown tenfold is off by ten times as much.
func level(series []float64, season int) float64 {
	tail := series[max(0, len(series)-season):]
	sum := 0.0
	for _, v := range tail {
		sum += v
	}
	return math.Max(sum/float64(len(tail)), 1e-12)
}

// intervals surrounds a forecast with what past ones of the same step were off by,
// relative to the level of their time; likewise for sums.
func (t *trial) intervals(expected []float64, now float64, cfg *Config) (points, sums []Point) {
	points, sums = make([]Point, len(expected)), make([]Point, len(expected))
	totals := make([]float64, len(t.past))
	var near, sofar []weighed
	sum := 0.0
	for h, e := range expected {
		near, sofar = t.near(near[:0], h, cfg), sofar[:0]
		for i := range t.past {
			if a := &t.past[i]; h < len(a.off) {
				totals[i] += a.off[h]
				sofar = append(sofar, weighed{totals[i], weight(a.age-h, cfg)})
			}
		}
		if len(sofar) == 0 { // no past forecast went that far
			sofar = append(sofar, weighed{0, 1})
		}
		low, high := bounds(near, cfg.Level)
		points[h] = around(e, low*now, high*now)
		sum += e
		low, high = bounds(sofar, cfg.Level)
		sums[h] = around(sum, low*now, high*now)
	}
	return points, sums
}

// weighed is an error and how much it counts.
type weighed struct{ off, weight float64 }

// nearSteps on both sides of a step have errors of the same kind as its own.
const nearSteps = 3

// near returns the errors of a step and its neighbours.
func (t *trial) near(out []weighed, h int, cfg *Config) []weighed {
	for i := range t.past {
		a := &t.past[i]
		for k := max(0, h-nearSteps); k <= min(h+nearSteps, len(a.off)-1); k++ {
			out = append(out, weighed{a.off[k], weight(a.age-k, cfg)})
		}
	}
	return out
}

func around(expected, low, high float64) Point {
	expected = math.Max(0, expected)
	return Point{Expected: expected, Low: math.Max(0, math.Min(expected, expected+low)), High: math.Max(expected, expected+high)}
}

// bounds returns the values that leave half of what share leaves out below and
// above. The error that is to come counts as the largest of all, which keeps the
// promise where values are few (conformal prediction; weights as in Barber,
// Candès, Ramdas and Tibshirani 2023).
func bounds(values []weighed, share float64) (low, high float64) {
	slices.SortFunc(values, func(a, b weighed) int { return cmp.Compare(a.off, b.off) })
	total := 1.0
	for _, v := range values {
		total += v.weight
	}
	tail := total * (1 - share) / 2
	n := len(values)
	low, high = values[0].off, values[n-1].off
	for i, below := 0, 1.0; i < n; i++ {
		if below += values[i].weight; below >= tail {
			low = values[i].off
			break
		}
	}
	for i, above := n-1, 1.0; i >= 0; i-- {
		if above += values[i].weight; above >= tail {
			high = values[i].off
			break
		}
	}
	return low, high
}

// Exhaustion says when something that is used up will be gone.
type Exhaustion struct {
	// Steps ahead, from 1; 0: not within the horizon.
	Earliest int `json:"earliest"`
	Expected int `json:"expected"`
	Latest   int `json:"latest"`
}

// Exhausts returns when sums reach what is left.
func (f *Forecast) Exhausts(left float64) Exhaustion {
	var e Exhaustion
	for h, p := range f.Sums {
		for _, c := range []struct {
			sum float64
			to  *int
		}{{p.High, &e.Earliest}, {p.Expected, &e.Expected}, {p.Low, &e.Latest}} {
			if *c.to == 0 && c.sum >= left {
				*c.to = h + 1
			}
		}
	}
	return e
}

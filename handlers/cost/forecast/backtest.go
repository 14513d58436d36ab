package forecast

import (
	"fmt"
	"math"
)

// Report is how forecasts did on a past that they had not seen.
type Report struct {
	Steps    int            `json:"steps"`     // of the series
	Origins  int            `json:"origins"`   // forecasts that were made
	Points   int            `json:"points"`    // steps that were forecast
	MAE      float64        `json:"mae"`       // mean absolute error
	Naive    float64        `json:"naive_mae"` // of the seasonal naive forecast of the same steps
	MASE     float64        `json:"mase"`      // MAE by the mean absolute seasonal difference before each origin (Hyndman and Koehler 2006)
	Relative float64        `json:"relative"`  // MAE by Naive
	Coverage float64        `json:"coverage"`  // share of steps inside their interval
	Sums     float64        `json:"coverage_sums"`
	Level    float64        `json:"level"`
	Chosen   map[string]int `json:"chosen"` // how often each model spoke
}

// Backtest forecasts from every stride-th step since start, each time with nothing
// but the steps before: the model is chosen, and the interval made, from those
// alone.
func Backtest(series []float64, cfg Config, start, stride int) (*Report, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if stride < 1 || start < 2*cfg.Season+cfg.Horizon || start+cfg.Horizon > len(series) {
		return nil, fmt.Errorf("%w: a backtest from step %d needs %d steps before it and %d after", ErrTooShort, start, 2*cfg.Season+cfg.Horizon, cfg.Horizon)
	}
	r := &Report{Steps: len(series), Level: cfg.Level, Chosen: map[string]int{}}
	inside, sums := 0, 0
	var mase float64
	for origin := start; origin+cfg.Horizon <= len(series); origin += stride {
		f, err := Make(series[:origin], cfg)
		if err != nil {
			return nil, err
		}
		r.Origins++
		r.Chosen[f.Model]++
		naive := seasonalNaive(series[:origin], cfg.Season, cfg.Horizon)
		scale := difference(series[:origin], cfg.Season)
		total := 0.0
		for h, p := range f.Points {
			actual := series[origin+h]
			total += actual
			off := math.Abs(actual - p.Expected)
			r.MAE, r.Naive, mase = r.MAE+off, r.Naive+math.Abs(actual-naive[h]), mase+off/scale
			if actual >= p.Low && actual <= p.High {
				inside++
			}
			r.Points++
		}
		if s := f.Sums[cfg.Horizon-1]; total >= s.Low && total <= s.High {
			sums++
		}
	}
	n := float64(r.Points)
	r.MAE, r.Naive, r.MASE = r.MAE/n, r.Naive/n, mase/n
	r.Relative = r.MAE / math.Max(r.Naive, 1e-12)
	r.Coverage, r.Sums = float64(inside)/n, float64(sums)/float64(r.Origins)
	return r, nil
}

// difference is the mean absolute difference to a season before.
func difference(series []float64, season int) float64 {
	sum := 0.0
	for i := season; i < len(series); i++ {
		sum += math.Abs(series[i] - series[i-season])
	}
	return math.Max(sum/float64(len(series)-season), 1e-12)
}

// Package gaussian compares a value with the mean and the deviation of a moving
// window. It is the benchmark's own yardstick (Windowed Gaussian of
// numenta/NAB), here to compare others with; it knows neither season nor trend.
package gaussian

import (
	"errors"
	"math"
	"time"

	"github.com/sira-ai/sira/handlers/anomaly"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Config sets the size of the window.
type Config struct {
	Window int `json:"window,omitempty"` // points; 6400
	Step   int `json:"step,omitempty"`   // points between two looks at a full window; 100
}

// Entry offers this detector as kind "gaussian".
var Entry anomaly.Entry = catalog.Define("gaussian", Config{Window: 6400, Step: 100}, New)

// Validate reports what is wrong with c.
func (c *Config) Validate() error {
	if c.Step < 1 || c.Window <= c.Step {
		return errors.New("window and step: write a step of at least 1 and a window above it, such as 6400 and 100")
	}
	return nil
}

// New returns a detector.
func New(c Config, _ catalog.Env) (anomaly.Detector, error) { return &detector{Config: c}, nil }

type detector struct {
	Config
	window []float64
	next   []float64 // what moves into a full window at the next step
	mean   float64
	sd     float64
}

// Observe scores the value by the share of a normal distribution that lies
// nearer to the mean of the window.
func (d *detector) Observe(_ time.Time, v float64) anomaly.Verdict {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return anomaly.Verdict{}
	}
	var verdict anomaly.Verdict
	if len(d.window) > 0 {
		tail := math.Erfc(math.Abs(v-d.mean)/d.sd/math.Sqrt2) / 2
		verdict.Score = 1 - tail
		verdict.Reason = anomaly.Reason{Kind: anomaly.Value, Observed: v, Expected: d.mean, Rarity: -math.Log10(max(tail, 1e-300))}
	}
	if len(d.window) < d.Window {
		d.window = append(d.window, v)
		d.fit()
		return verdict
	}
	if d.next = append(d.next, v); len(d.next) == d.Step {
		d.window = append(d.window[:0], d.window[d.Step:]...)
		d.window = append(d.window, d.next...)
		d.next = d.next[:0]
		d.fit()
	}
	return verdict
}

func (d *detector) fit() {
	sum, n := 0.0, float64(len(d.window))
	for _, v := range d.window {
		sum += v
	}
	d.mean, sum = sum/n, 0
	for _, v := range d.window {
		sum += (v - d.mean) * (v - d.mean)
	}
	if d.sd = math.Sqrt(sum / n); d.sd == 0 {
		d.sd = 0.000001
	}
}

package nab

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Result is how a detector does under one profile.
type Result struct {
	Profile     string
	Score       float64 // 0 is a detector that never fires, 100 a perfect one
	Threshold   float64 // rows with this anomaly score or more are detections
	Raw         float64 // before normalisation
	Found       int     // windows with a detection
	Missed      int     // windows without
	FalseAlarms int     // detected rows outside of windows
	Series      []SeriesResult
}

// SeriesResult is one series' part of a Result.
type SeriesResult struct {
	Name        string
	Raw         float64
	Found       int
	Missed      int
	FalseAlarms int
}

// Optimise scores under the threshold that is best for all series together,
// which is how published figures are made. scores has an anomaly score for each
// row of each series of c.
func (c *Corpus) Optimise(scores [][]float64, p Profile) (Result, error) {
	if err := c.fits(scores); err != nil {
		return Result{}, err
	}
	raw := -p.FN * float64(c.Windows())
	best, threshold := raw, math.Inf(1)
	events := c.events(scores, p)
	gains := make(map[[2]int]float64) // what a window has brought so far, its cost not counted
	for i := 0; i < len(events); {
		level := events[i].score
		for ; i < len(events) && events[i].score == level; i++ {
			e := events[i]
			if e.window < 0 {
				raw += e.value
				continue
			}
			key := [2]int{e.series, e.window}
			old := gains[key]
			if gain := e.value + p.FN; gain > old {
				gains[key] = gain
				raw += gain - old
			}
		}
		if raw > best {
			best, threshold = raw, level
		}
	}
	return c.At(scores, p, threshold)
}

// At scores under a given threshold.
func (c *Corpus) At(scores [][]float64, p Profile, threshold float64) (Result, error) {
	if err := c.fits(scores); err != nil {
		return Result{}, err
	}
	r := Result{Profile: p.Name, Threshold: threshold, Series: make([]SeriesResult, len(c.Series))}
	for i := range c.Series {
		s := &r.Series[i]
		s.Name = c.Series[i].Name
		best := make([]float64, len(c.Series[i].Windows))
		for w := range best {
			best[w] = math.Inf(-1)
		}
		c.Series[i].walk(p, func(row, window int, value float64) {
			switch {
			case scores[i][row] < threshold:
			case window >= 0:
				best[window] = max(best[window], value)
			default:
				s.FalseAlarms++
				s.Raw += value
			}
		})
		for _, value := range best {
			if math.IsInf(value, -1) {
				s.Missed++
				s.Raw -= p.FN
			} else {
				s.Found++
				s.Raw += value
			}
		}
		r.Raw += s.Raw
		r.Found += s.Found
		r.Missed += s.Missed
		r.FalseAlarms += s.FalseAlarms
	}
	r.Score = Normalise(r.Raw, c.Windows(), p)
	return r, nil
}

// Normalise turns a raw score into NAB's scale.
func Normalise(raw float64, windows int, p Profile) float64 {
	null, perfect := -p.FN*float64(windows), p.TP*float64(windows)
	return 100 * (raw - null) / (perfect - null)
}

func (c *Corpus) fits(scores [][]float64) error {
	if len(scores) != len(c.Series) {
		return fmt.Errorf("scores of %d series for a corpus of %d", len(scores), len(c.Series))
	}
	for i := range c.Series {
		if len(scores[i]) != len(c.Series[i].Values) {
			return fmt.Errorf("%d scores for the %d rows of %s", len(scores[i]), len(c.Series[i].Values), c.Series[i].Name)
		}
	}
	return nil
}

// event is a row that counts, with what detecting it is worth.
type event struct {
	score  float64
	value  float64
	series int
	window int // -1 outside of windows
}

// events returns every row that counts, the highest anomaly score first.
func (c *Corpus) events(scores [][]float64, p Profile) []event {
	events := make([]event, 0, c.Rows())
	for i := range c.Series {
		c.Series[i].walk(p, func(row, window int, value float64) {
			events = append(events, event{score: scores[i][row], value: value, series: i, window: window})
		})
	}
	slices.SortStableFunc(events, func(a, b event) int { return cmp.Compare(b.score, a.score) })
	return events
}

// walk tells for each row after the probation what a detection there is worth:
// within a window from TP at its first row down to nearly nothing at its last;
// outside a cost that grows from nothing, right behind a window, to FP.
func (s *Series) walk(p Profile, row func(row, window int, value float64)) {
	next, probation := 0, Probation(len(s.Values))
	for k := range s.Values {
		for next < len(s.Windows) && k > s.Windows[next].Last {
			next++
		}
		if k < probation {
			continue
		}
		if next < len(s.Windows) && k >= s.Windows[next].First {
			w := s.Windows[next]
			y := -float64(w.Last-k+1) / float64(w.Last-w.First+1)
			row(k, next, p.TP*sigmoid(y)/sigmoid(-1))
			continue
		}
		if next == 0 {
			row(k, -1, -p.FP)
			continue
		}
		w := s.Windows[next-1]
		row(k, -1, p.FP*sigmoid(float64(k-w.Last)/float64(w.Last-w.First)))
	}
}

// sigmoid is NAB's scaled sigmoid: nearly 1 at -1, 0 at 0, -1 from 3 on.
func sigmoid(y float64) float64 {
	if y > 3 || math.IsNaN(y) {
		return -1
	}
	return 2/(1+math.Exp(5*y)) - 1
}

// Fires reports whether any threshold was better than silence.
func (r Result) Fires() bool { return !math.IsInf(r.Threshold, 1) }

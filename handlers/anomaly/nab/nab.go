// Package nab reads folders in the layout of the Numenta Anomaly Benchmark and
// scores detectors by its rule.
//
// The rule is that of numenta/NAB at ea702d75 (nab/sweeper.py, scorer.py and
// runner.py): a detection is worth the more the earlier it is within a labelled
// window, only the earliest counts, a window without one costs, and so does
// every row that is flagged outside of windows. One threshold holds for all
// series, and it is the one that scores best on these very series: figures of
// this benchmark, everybody's, are tuned on the data that they are measured on.
package nab

import (
	"errors"
	"time"
)

// Corpus is a folder of labelled series with the profiles they are scored by.
type Corpus struct {
	Series   []Series // by name
	Profiles []Profile
}

// Series is one file of measurements.
type Series struct {
	Name    string // path below data/, with slashes
	At      []time.Time
	Values  []float64
	Windows []Window // in the order of time, apart from each other
}

// Window is a labelled anomaly: the rows from First to Last, both included.
type Window struct{ First, Last int }

// Profile weighs what a detector finds, misses and invents.
type Profile struct {
	Name string
	TP   float64 // gain of a window found at its beginning
	FN   float64 // cost of a window without detection
	FP   float64 // cost of a detected row far from any window
}

// Windows returns how many windows the corpus has.
func (c *Corpus) Windows() int {
	n := 0
	for i := range c.Series {
		n += len(c.Series[i].Windows)
	}
	return n
}

// Rows returns how many points the corpus has.
func (c *Corpus) Rows() int {
	n := 0
	for i := range c.Series {
		n += len(c.Series[i].Values)
	}
	return n
}

// Probation returns how many rows at the beginning of a series of n rows do not
// count: 15 %, and no more than 750.
func Probation(n int) int { return min(n*15/100, 750) }

// ErrLayout is in the chain of errors about a folder that is not laid out as
// NAB's is.
var ErrLayout = errors.New("not in the layout of NAB")

package surprise

import (
	"math"
	"time"

	"github.com/sira-ai/sira/handlers/anomaly"
)

// The views. Each makes of a point one statistic that is high when the point is
// strange in its way.
const (
	high = iota
	low
	jump
	level5
	level20
	level60
	spread10
	spread40
	hour
	hour5
	hour20
	hour60
	week
	viewCount
)

// sight is a statistic with what is told to people about it.
type sight struct {
	stat     float64 // not a number: this view has nothing to say yet
	kind     anomaly.Kind
	observed float64
	expected float64
	typical  bool // expected is the median of the statistic instead
}

// views keeps what the statistics are made of.
type views struct {
	seen   int
	last   float64
	means  [3]mean // the recent
	longs  [3]mean // and what they are compared with, 20 times as slow
	steps  [2]mean
	hours  [48]slot
	weeks  [168]slot
	residu [3]mean
}

var (
	levelPoints  = [3]float64{5, 20, 60}
	spreadPoints = [2]float64{10, 40}
)

const levelRatio = 20

// mean is an exponentially weighted mean that begins as a plain one.
type mean struct{ v, n float64 }

func (m *mean) add(x, most float64) {
	m.n = min(m.n+1, most)
	m.v += (x - m.v) / m.n
}

// slot is the mean of a part of the day or the week.
type slot struct{ mean }

// residual returns how far v is from the slot's mean, once that has seen enough
// points, and adds v to it.
func (s *slot) residual(v, least, most float64) (residual, expected float64) {
	residual, expected = math.NaN(), s.v
	if s.n >= least {
		residual = v - s.v
	}
	s.add(v, most)
	return residual, expected
}

// look returns what every view sees of the next point.
func (w *views) look(at time.Time, v float64) [viewCount]sight {
	var s [viewCount]sight
	s[high] = sight{stat: v, kind: anomaly.Value, observed: v, typical: true}
	s[low] = sight{stat: -v, kind: anomaly.Value, observed: v, typical: true}
	step := 0.0
	if w.seen > 0 {
		step = math.Abs(v - w.last)
	}
	w.seen, w.last = w.seen+1, v
	s[jump] = sight{stat: step, kind: anomaly.Jump, observed: step, typical: true}
	for i, n := range levelPoints {
		recent, long := &w.means[i], &w.longs[i]
		if w.seen == 1 {
			long.v = v // the first point is no surprise
		}
		recent.add(v, n)
		s[level5+i] = sight{stat: math.Abs(recent.v - long.v), kind: anomaly.Level, observed: recent.v, expected: long.v}
		long.add(v, levelRatio*n)
	}
	for i, n := range spreadPoints {
		w.steps[i].add(step, n)
		s[spread10+i] = sight{stat: w.steps[i].v, kind: anomaly.Spread, observed: w.steps[i].v, typical: true}
	}
	w.season(&s, at, v)
	return s
}

// season compares with the same half hour of other days and the same hour of
// other weeks, in the location of at.
func (w *views) season(s *[viewCount]sight, at time.Time, v float64) {
	r, expected := w.hours[at.Hour()*2+at.Minute()/30].residual(v, 3, 40)
	s[hour] = sight{stat: math.Abs(r), kind: anomaly.Season, observed: v, expected: expected}
	for i, n := range levelPoints {
		stat := math.NaN()
		if !math.IsNaN(r) {
			w.residu[i].add(r, n)
			stat = math.Abs(w.residu[i].v)
		}
		s[hour5+i] = sight{stat: stat, kind: anomaly.Season, observed: expected + w.residu[i].v, expected: expected}
	}
	r, expected = w.weeks[int(at.Weekday())*24+at.Hour()].residual(v, 2, 20)
	s[week] = sight{stat: math.Abs(r), kind: anomaly.Season, observed: v, expected: expected}
}

// Package surprise is a detector for any measured series. It looks at each point
// in a dozen simple ways (how high it is, how far it jumped, where the recent
// mean went, how it fits the hour), says for each how rarely that has happened
// in this series, and adds up. It knows nothing of the series beforehand, needs
// no training and no settings, and can name what surprised it.
//
// How the settings were chosen, and what they are worth on series that they were
// not chosen on, is told in docs/detection.md.
package surprise

import (
	"errors"
	"math"
	"time"

	"github.com/sira-ai/sira/handlers/anomaly"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Config is one setting for every series. Counts are of points.
type Config struct {
	Memory int `json:"memory,omitempty"` // how many points are compared with; 4000
	Warmup int `json:"warmup,omitempty"` // how many points come before any is called surprising; 100
	Rest   int `json:"rest,omitempty"`   // how fast an alarm is forgotten: its memory fades to a third in so many; 80
}

// Entry offers this detector as kind "surprise".
var Entry anomaly.Entry = catalog.Define("surprise", Config{Memory: 4000, Warmup: 100, Rest: 80}, New)

// Validate reports everything that is wrong with c.
func (c *Config) Validate() error {
	var faults []error
	if c.Warmup < 2*tailMin {
		faults = append(faults, errors.New("warmup is too short to know a tail by: write at least 16, such as 100"))
	}
	if c.Memory < c.Warmup || c.Memory > 1<<20 {
		faults = append(faults, errors.New("memory: write at least the warmup and at most 1048576, such as 4000"))
	}
	if c.Rest < 1 {
		faults = append(faults, errors.New("rest: write 1 or more, such as 80"))
	}
	return errors.Join(faults...)
}

// New returns a detector without a past. It keeps at most 16 bytes for each
// point of Memory and each of its views, which is under 1 MB with the defaults.
func New(c Config, _ catalog.Env) (anomaly.Detector, error) {
	d := &detector{warmup: c.Warmup, alarms: newAlarms(c.Rest)}
	for i := range d.tails {
		d.tails[i].memory = c.Memory
	}
	return d, nil
}

type detector struct {
	warmup int
	views  views
	tails  [viewCount]tail
	alarms alarms
}

// Observe scores a point. 0.5 is a surprise of the size that is worth an alarm;
// what follows an alarm scores 0 unless it is clearly more surprising.
func (d *detector) Observe(at time.Time, v float64) anomaly.Verdict {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return anomaly.Verdict{}
	}
	seen := d.views.look(at, v)
	sum, top, why := 0.0, 0.0, -1
	for i := range seen {
		if math.IsNaN(seen[i].stat) {
			continue
		}
		t := &d.tails[i]
		if len(t.sorted) >= d.warmup {
			r := t.rarity(seen[i].stat)
			// Euclidean: several views that agree count for more than one, and one
			// that is certain is not outvoted.
			sum += r * r
			if r > top {
				top, why = r, i
			}
		}
	}
	x := d.alarms.admit(math.Sqrt(sum))
	var verdict anomaly.Verdict
	if x > 0 && why >= 0 {
		verdict.Score = 1 - math.Exp2(-x/worthAlarm)
		verdict.Reason = d.reason(&seen[why], why, top)
	}
	for i := range seen {
		if !math.IsNaN(seen[i].stat) {
			d.tails[i].add(seen[i].stat)
		}
	}
	return verdict
}

func (d *detector) reason(s *sight, view int, rarity float64) anomaly.Reason {
	r := anomaly.Reason{Kind: s.kind, Observed: s.observed, Expected: s.expected, Rarity: rarity}
	if s.typical { // expected is whatever is typical of the view
		r.Expected = d.tails[view].median()
	}
	if view == low {
		r.Expected = -r.Expected
	}
	if (view == high || view == low) && s.stat > d.tails[view].most() {
		r.Kind = anomaly.Extreme
	}
	return r
}

// worthAlarm is the size of a surprise, in decimal orders of rarity over all
// views, that scores 0.5.
const worthAlarm = 7

// alarms forgets nothing at once: after an alarm only a bigger surprise is let
// through, and a series that alarms often must surprise more.
type alarms struct {
	fade, tire    float64 // per point
	last, fatigue float64
}

const (
	raise      = 1.5  // a surprise must exceed what is left of the last by this factor
	fatigue    = 0.03 // each recent alarm divides the score once more by 1 + this
	fatigueAge = 3000 // points in which an alarm's part in fatigue fades to a third
)

func newAlarms(rest int) alarms {
	return alarms{fade: math.Exp(-1 / float64(rest)), tire: math.Exp(-1.0 / fatigueAge)}
}

// admit returns what remains of a surprise after those before it.
func (a *alarms) admit(x float64) float64 {
	a.last *= a.fade
	a.fatigue *= a.tire
	if x <= a.last*raise {
		return 0
	}
	a.last = x
	y := x / (1 + fatigue*a.fatigue)
	if x > worthAlarm {
		a.fatigue++
	}
	return y
}

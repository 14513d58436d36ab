// Package anomaly says how surprising a measurement is, given those before it:
// the contract of online detectors. Implementations are in the folders beside
// it; nab measures them on the Numenta Anomaly Benchmark, and endpoint and
// predict watch the endpoints of providers.
package anomaly

import (
	"fmt"
	"time"

	"github.com/sira-ai/sira/pipeline/catalog"
)

// Detector watches one series. It is given every point once, in the order of
// time, and answers before it sees the next. It is deterministic, keeps bounded
// memory however long the series is, does not block, and is not safe for
// concurrent use: a series has one owner.
//
// A value that is not a number, or is infinite, leaves the detector as it was.
type Detector interface {
	Observe(at time.Time, value float64) Verdict
}

// Entry is a kind of detector for the catalog. Every build returns a detector
// without a past.
type Entry = catalog.Entry[Detector]

// Verdict is what a detector says of one point.
type Verdict struct {
	Score  float64 // 0 is ordinary, 1 has never been seen; comparable between series
	Reason Reason  // why, where Score is above 0
}

// Reason explains a score with what was seen and what was expected. It is a plain
// value, so that a point nobody asks about costs no words.
type Reason struct {
	Kind     Kind
	Observed float64
	Expected float64
	Rarity   float64 // decimal logarithm of how rarely this happens by chance: 3 is once in a thousand points
}

// Kind is which sort of surprise a reason tells of.
type Kind uint8

// The kinds of surprise.
const (
	None    Kind = iota
	Value        // the value itself is unusual
	Extreme      // the value is outside of everything seen so far
	Jump         // the step from the value before is unusual
	Level        // the recent mean left its usual place
	Spread       // recent values vary more, or less, than usual
	Season       // unusual for this time of the day or week
	Shape        // the recent course resembles nothing seen so far
)

var kinds = [...]string{"nothing unusual", "value", "new extreme", "jump", "level", "spread", "season", "shape"}

func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return "unknown"
}

// String returns the reason in a few words.
func (r Reason) String() string {
	if r.Kind == None {
		return r.Kind.String()
	}
	return fmt.Sprintf("%s: %.4g where %.4g is expected, rarer than 1 in 10^%.1f", r.Kind, r.Observed, r.Expected, r.Rarity)
}

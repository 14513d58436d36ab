package bench

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// maxArrivals bounds a schedule: it is held in memory, 40 bytes for each request.
const maxArrivals = 20_000_000

// Arrival is one request of a schedule.
type Arrival struct {
	At     time.Duration // after the start
	Input  int           // tokens of the prompt; 0: a short question
	Output int           // tokens that the answer may have; 0: no bound
	Model  string        // as the trace names it; empty: the run's model
}

// Rate is how many requests arrive a second, from the start to the end of a run.
type Rate struct{ From, To float64 }

// ParseRate reads a steady rate such as 200, or a ramp such as 50..500.
func ParseRate(s string) (Rate, error) {
	from, to, ramp := strings.Cut(s, "..")
	if !ramp {
		to = from
	}
	a, errA := strconv.ParseFloat(strings.TrimSpace(from), 64)
	b, errB := strconv.ParseFloat(strings.TrimSpace(to), 64)
	if errA != nil || errB != nil || a < 0 || b < 0 || a+b <= 0 || math.IsInf(a+b, 0) || math.IsNaN(a+b) {
		return Rate{}, fmt.Errorf("rate %q: write requests a second, such as 200, or a ramp, such as 50..500", s)
	}
	return Rate{a, b}, nil
}

// String writes the rate as ParseRate reads it.
func (r Rate) String() string {
	f := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	if r.From == r.To {
		return f(r.From)
	}
	return f(r.From) + ".." + f(r.To)
}

// Schedule returns the arrivals of a run of the given length. Even ones keep equal
// distances; poisson ones arrive independently of each other, as those of many
// users do, and repeat with the seed.
func (r Rate) Schedule(length time.Duration, poisson bool, seed uint64) ([]Arrival, error) {
	total := (r.From + r.To) / 2 * length.Seconds()
	if total < 1 || total > maxArrivals {
		return nil, fmt.Errorf("a rate of %s for %s makes %.0f requests; choose them so that there are 1 to %d", r, length, total, maxArrivals)
	}
	step := func() float64 { return 1 }
	if poisson {
		step = rand.New(rand.NewPCG(seed, 1)).ExpFloat64
	}
	out := make([]Arrival, 0, int(total)+1)
	// A process of rate 1 is stretched by the inverse of the expected number of
	// arrivals (the time-rescaling theorem), which serves even and poisson alike.
	for n := 0.0; ; n += step() {
		at := r.when(n, length.Seconds())
		if at >= length.Seconds() || len(out) == maxArrivals {
			return out, nil
		}
		out = append(out, Arrival{At: time.Duration(at * float64(time.Second))})
	}
}

// when returns the second at which n requests are expected to have arrived.
func (r Rate) when(n, length float64) float64 {
	slope := (r.To - r.From) / length
	if slope == 0 {
		return n / r.From
	}
	under := r.From*r.From + 2*slope*n
	if under < 0 { // a falling ramp never gets there
		return length
	}
	return (math.Sqrt(under) - r.From) / slope
}

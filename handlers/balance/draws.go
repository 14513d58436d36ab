package balance

import (
	"math/bits"
	"sync/atomic"
)

// Draws is a sequence of random numbers that depends on its seed alone. It is
// safe for concurrent use and takes no lock; callers at once share the sequence.
type Draws struct {
	seed uint64
	n    atomic.Uint64
}

// NewDraws returns the sequence of a seed.
func NewDraws(seed uint64) *Draws { return &Draws{seed: Mix(seed)} }

// Next returns 64 even bits.
func (d *Draws) Next() uint64 { return Mix(d.seed + d.n.Add(1)*0x9e3779b97f4a7c15) }

// Below returns an even number from 0 up to, without, n, which is above 0. For n
// below 2^32 no number is favoured by more than one part in 2^32.
func (d *Draws) Below(n uint64) uint64 {
	high, _ := bits.Mul64(d.Next(), n)
	return high
}

// Unit returns an even number from 0 up to, without, 1.
func (d *Draws) Unit() float64 { return float64(d.Next()>>11) / (1 << 53) }

// Mix scatters x over 64 bits, one to one: the finalizer of splitmix64 (Steele,
// Lea, Flood 2014).
func Mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Lottery draws one of several by weight without looking at all of them: it takes
// any with even chances, keeps it with the chance that its weight has to the
// heaviest, and else takes another (von Neumann's rejection). The heaviest is what
// was seen so far. It is safe for concurrent use.
type Lottery struct{ heaviest atomic.Int64 }

// Draw is one try: the place, below n, that was taken, and the ticket. It is kept if
// [Lottery.Wins] says so. n is below 2^32.
func (l *Lottery) Draw(draws *Draws, n int) (place int, ticket int64) {
	high, low := bits.Mul64(draws.Next(), uint64(n))
	mark, _ := bits.Mul64(low, uint64(l.heaviest.Load()))
	return int(high), int64(mark)
}

// Wins reports whether a ticket wins for a weight. One that is the heaviest so far
// changes the odds and so does not win.
func (l *Lottery) Wins(ticket, weight int64) bool {
	if weight > l.heaviest.Load() {
		l.heaviest.Store(weight)
		return false
	}
	return ticket < weight
}

// Reset says what the heaviest weight is, for whoever looked at all of them.
func (l *Lottery) Reset(heaviest int64) { l.heaviest.Store(heaviest) }

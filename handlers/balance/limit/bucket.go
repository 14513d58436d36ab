package limit

import (
	"math"
	"math/bits"
	"time"
)

// bucket admits so many units a minute by the generic cell rate algorithm (ITU-T
// I.371), in whole numbers. It keeps a debt, which every unit admitted raises and
// time pays off at the rate of this process's share; what would raise it above
// the burst waits. The debt of one unit is the microseconds of a minute, and a
// microsecond pays off the limit, so that nothing is ever rounded.
//
// It is not safe for concurrent use.
type bucket struct {
	limit int64 // units a minute, of all processes
	burst int64 // debt that may stand beside that of one unit, of all processes
	share fraction

	debt   int64
	paid   time.Time // until when debt is paid off
	left   int64     // of the last payment, in den-ths of a debt of 1
	closed time.Time // nothing is admitted before
}

const (
	unit = int64(time.Minute / time.Microsecond) // the debt of one
	// maxUnits bounds limits, bursts and asks, and maxDebt the debt, so that sums
	// and products stay within 63 bits.
	maxUnits = 1_000_000_000
	maxDebt  = 20 * maxUnits * unit
	// never is longer than any wait that is worth while.
	never = 24 * time.Hour
)

// fraction is num/den, from 0 to 1.
type fraction struct{ num, den int64 }

// more reports whether f is above g.
func (f fraction) more(g fraction) bool { return f.num*g.den > g.num*f.den }

// of returns f of n, rounded down.
func (f fraction) of(n int64) int64 { return muldiv(n, f.num, f.den) }

// muldiv returns a*b/c, rounded down, for a and b not below 0 and c above; what
// does not fit is the largest number.
func muldiv(a, b, c int64) int64 {
	high, low := bits.Mul64(uint64(a), uint64(b))
	if high >= uint64(c) {
		return math.MaxInt64
	}
	q, _ := bits.Div64(high, low, uint64(c))
	return int64(min(q, math.MaxInt64))
}

// newBucket returns a bucket whose burst is percent of a minute's limit. It begins
// full, or with nothing to take at once.
func newBucket(limit, percent int64, share fraction, full bool, now time.Time) *bucket {
	b := &bucket{limit: limit, burst: burst(limit, percent), share: share, paid: now}
	if !full {
		b.debt = b.most()
	}
	return b
}

// burst returns the debt of percent of a minute's limit.
func burst(limit, percent int64) int64 { return limit * unit / 100 * percent }

// most returns the debt up to which units are admitted: one of any size, and this
// process's share of the burst.
func (b *bucket) most() int64 { return unit + b.share.of(b.burst) }

// pay brings the debt up to now.
func (b *bucket) pay(now time.Time) {
	passed := now.Sub(b.paid).Microseconds()
	if passed <= 0 {
		return
	}
	b.paid = b.paid.Add(time.Duration(passed) * time.Microsecond)
	den := uint64(b.share.den)
	high, low := bits.Mul64(uint64(b.limit*b.share.num), uint64(passed))
	low, carry := bits.Add64(low, uint64(b.left), 0)
	if high += carry; high >= den {
		b.debt, b.left = 0, 0
		return
	}
	paid, left := bits.Div64(high, low, den)
	if paid >= uint64(b.debt) {
		b.debt, b.left = 0, 0
		return
	}
	b.debt, b.left = b.debt-int64(paid), int64(left)
}

// wait returns after how long n units can be taken, if nobody else takes any; 0:
// now; never: not at this share. More units than the burst are admitted when
// nothing is owed, and are owed afterwards.
func (b *bucket) wait(n int64, now time.Time) time.Duration {
	b.pay(now)
	return b.until(b.debt+min(n*unit-b.most(), 0), now)
}

// eta returns after how long n units, taken one by one, are all admitted.
func (b *bucket) eta(n int64, now time.Time) time.Duration {
	b.pay(now)
	return b.until(b.debt+min(n, maxUnits)*unit-b.most(), now)
}

// until returns how long it takes to pay off a debt.
func (b *bucket) until(debt int64, now time.Time) time.Duration {
	rate := b.limit * b.share.num
	if rate == 0 {
		return never
	}
	wait := max(b.closed.Sub(now), 0)
	if debt > 0 {
		micros := muldiv(debt, b.share.den, rate) + 1
		wait = max(wait, time.Duration(min(micros, never.Microseconds()))*time.Microsecond)
	}
	return min(wait, never)
}

// take takes n units, whatever wait says. A negative n gives some back.
func (b *bucket) take(n int64) {
	b.debt = min(max(b.debt+min(max(n, -maxUnits), maxUnits)*unit, 0), maxDebt)
}

// setShare changes the share. What is owed stays owed; what could be taken at
// once is not more than before, and less at a smaller share.
func (b *bucket) setShare(f fraction, now time.Time) {
	b.pay(now)
	credit := b.most() - b.debt
	if credit > 0 && b.share.more(f) {
		credit = muldiv(credit, f.num*b.share.den, f.den*b.share.num)
	}
	b.share, b.left = f, 0
	b.debt = max(b.most()-credit, 0)
}

// learn believes someone who counts for all processes that no more than remaining
// units are left until reset.
func (b *bucket) learn(remaining int64, reset, now time.Time) {
	b.pay(now)
	if remaining == 0 && reset.After(now) {
		b.closed = now.Add(min(reset.Sub(now), never))
		return
	}
	b.closed = time.Time{}
	if mine := min(b.share.of(remaining), maxUnits) * unit; mine < b.most()-b.debt {
		b.debt = b.most() - mine
	}
}

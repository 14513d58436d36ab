package limit

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// counter is what one rule knows of one name: what it has admitted, and who waits.
type counter struct {
	rule Rule
	name string

	requests, tokens *bucket // nil: not limited
	adaptive         *adaptive
	share            fraction
	inFlight         int64
	hold             time.Duration // how long a call lasts, on average
	used             time.Time
	queue            []*waiter // best rank first
}

func newCounter(r Rule, name string, share fraction, full bool, now time.Time) *counter {
	c := &counter{rule: r, name: name, share: share, used: now}
	if r.Requests > 0 {
		c.requests = newBucket(r.Requests, r.Burst, share, full, now)
	}
	if r.Tokens > 0 {
		c.tokens = newBucket(r.Tokens, r.Burst, share, full, now)
	}
	if r.Adaptive != nil {
		c.adaptive = newAdaptive(*r.Adaptive)
	}
	return c
}

// What a limit counts.
const (
	Requests    = "requests"
	Tokens      = "tokens"
	Concurrency = "concurrency"
)

// places returns how many calls may be under way here. A share of few places is
// at least one, so that many processes exceed a limit of fewer than they are.
func (c *counter) places() int64 {
	most := int64(math.MaxInt64)
	if c.rule.Concurrency > 0 {
		most = max(c.share.of(c.rule.Concurrency), min(c.share.num, 1))
	}
	if c.adaptive != nil { // each process finds its own
		most = min(most, c.adaptive.now())
	}
	return most
}

// wait returns after how long an ask can be admitted here if nobody else is, and
// what it waits for.
func (c *counter) wait(a *Ask, now time.Time) (longest time.Duration, what string) {
	if c.inFlight >= c.places() {
		longest, what = never, Concurrency // until a call ends, which wakes who waits
	}
	if c.requests != nil {
		if d := c.requests.wait(1, now); d > longest {
			longest, what = d, Requests
		}
	}
	if c.tokens != nil {
		if d := c.tokens.wait(a.Tokens, now); d > longest {
			longest, what = d, Tokens
		}
	}
	return longest, what
}

// eta returns after how long an ask is admitted here when those before it in the
// queue are.
func (c *counter) eta(a *Ask, position int, now time.Time) time.Duration {
	var eta time.Duration
	if most := c.places(); most > 0 && c.inFlight >= most {
		eta = c.hold * time.Duration(position) / time.Duration(most)
	}
	if c.requests != nil {
		eta = max(eta, c.requests.eta(int64(position), now))
	}
	if c.tokens != nil {
		sum := a.Tokens
		for _, w := range c.queue[:position-1] {
			sum = min(sum+w.Tokens, maxUnits)
		}
		eta = max(eta, c.tokens.eta(sum, now))
	}
	return eta
}

func (c *counter) take(a *Ask, now time.Time) {
	c.used = now
	c.inFlight++
	if c.requests != nil {
		c.requests.take(1)
	}
	if c.tokens != nil {
		c.tokens.take(a.Tokens)
	}
}

func (c *counter) giveBack(a *Ask, o Outcome, began, now time.Time) {
	if c.adaptive != nil {
		c.adaptive.done(o, c.inFlight, now)
	}
	c.used = now
	c.inFlight--
	if c.hold == 0 {
		c.hold = now.Sub(began)
	}
	c.hold += (now.Sub(began) - c.hold) / 8
	switch {
	case o.Unsent:
		if c.requests != nil {
			c.requests.take(-1)
		}
		if c.tokens != nil {
			c.tokens.take(-a.Tokens)
		}
	case o.Tokens > 0 && c.tokens != nil:
		c.tokens.take(o.Tokens - a.Tokens)
	}
}

func (c *counter) setShare(f fraction, now time.Time) {
	c.share = f
	if c.requests != nil {
		c.requests.setShare(f, now)
	}
	if c.tokens != nil {
		c.tokens.setShare(f, now)
	}
}

// rank orders waiters: the higher priority, then the earlier deadline, then who
// came first.
func rank(a, b *waiter) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), a.until.Compare(b.until), cmp.Compare(a.seq, b.seq))
}

// position returns w's place in the queue, from 1, whether it is in it or not.
func (c *counter) position(w *waiter) int {
	i, _ := slices.BinarySearchFunc(c.queue, w, rank)
	return i + 1
}

func (c *counter) join(w *waiter) {
	i, _ := slices.BinarySearchFunc(c.queue, w, rank)
	c.queue = slices.Insert(c.queue, i, w)
	w.at = c
}

// leave takes w out and wakes who is first now.
func (c *counter) leave(w *waiter) {
	if i, ok := slices.BinarySearchFunc(c.queue, w, rank); ok {
		c.queue = slices.Delete(c.queue, i, i+1)
	}
	w.at = nil
	c.wake()
}

// wake has the first waiter look again.
func (c *counter) wake() {
	if len(c.queue) == 0 {
		return
	}
	select {
	case c.queue[0].wake <- struct{}{}:
	default: // it has been told
	}
}

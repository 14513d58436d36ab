package invoke

import (
	"math/rand/v2"
	"sync"
	"time"
)

// budget is a token bucket of retries. Each first call pays in a share of one.
type budget struct {
	config RetryBudget

	mu     sync.Mutex
	tokens float64
	filled time.Time
}

func newBudget(c RetryBudget) *budget { return &budget{config: c, tokens: c.Burst} }

// call pays in for a first call.
func (b *budget) call() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.tokens = min(b.tokens+b.config.Share, b.config.Burst)
}

// retry reports whether a retry may be made, and pays for it.
func (b *budget) retry(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.filled.IsZero() {
		b.tokens = min(b.tokens+b.config.PerSecond*max(now.Sub(b.filled).Seconds(), 0), b.config.Burst)
	}
	b.filled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// jitter spreads waits, so that those who failed together do not return
// together.
type jitter struct {
	mu     sync.Mutex
	source *rand.Rand
}

func newJitter(seed uint64) *jitter {
	return &jitter{source: rand.New(rand.NewPCG(seed, 0))}
}

// between returns d times a factor from low to high.
func (j *jitter) between(d time.Duration, low, high float64) time.Duration {
	j.mu.Lock()
	defer j.mu.Unlock()
	return time.Duration(float64(d) * (low + (high-low)*j.source.Float64()))
}

// backoff returns the wait before the n-th retry, from 0.
func (j *jitter) backoff(c Backoff, n int) time.Duration {
	d := c.Initial
	for range n {
		if d >= c.Max {
			break
		}
		d *= 2
	}
	return j.between(min(d, c.Max), 0.75, 1.25)
}

// after returns a wait that is never shorter than d: whoever says when to come
// back is not asked earlier.
func (j *jitter) after(d time.Duration) time.Duration { return j.between(d, 1, 1.1) }

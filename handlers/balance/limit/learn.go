package limit

import (
	"cmp"
	"time"
)

// RateLimit is what a provider says about its limits, in headers of an answer.
type RateLimit struct {
	Requests Window
	Tokens   Window
}

// Window is one limit of a provider. The zero Window is unknown.
type Window struct {
	Limit     int64         // in Per; 0: unknown
	Per       time.Duration // 0: a minute
	Remaining int64         // until ResetAt
	ResetAt   time.Time     // the zero time: Remaining is unknown
}

// Learn takes over what a provider says of the limits of s's key for its model. A
// configured limit of the key or endpoint is lowered, never raised; where there
// is none, the provider's is kept from now on. Providers count for all processes,
// so this one takes its share of what remains; while it has no share there is
// nothing to take, and the news is dropped.
func (l *Limiter) Learn(s Subject, r RateLimit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.settle(now)
	if l.share.num == 0 {
		return
	}
	l.note(s, r, now)
	for _, c := range l.counting(nil, s, now) {
		if c.rule.Scope != Key && c.rule.Scope != Endpoint && c.rule.Scope != learned {
			continue
		}
		c.requests.believe(r.Requests, c.rule.Requests, c.rule.Burst, now)
		c.tokens.believe(r.Tokens, c.rule.Tokens, c.rule.Burst, now)
		c.wake()
	}
}

// learnedBurst lets a minute's limit be used at once: the provider does, and says
// with each answer what is left.
const learnedBurst = 100

// note makes or changes the learned rule of s.
func (l *Limiter) note(s Subject, r RateLimit, now time.Time) {
	id := learnedID(s)
	if id.name == "" {
		return
	}
	rule := Rule{Scope: learned, Requests: r.Requests.perMinute(), Tokens: r.Tokens.perMinute(), Burst: learnedBurst}
	c := l.counters[id]
	if c == nil {
		if rule.Requests == 0 && rule.Tokens == 0 {
			return
		}
		l.told.Store(true)
		// The first news is that there is a limit, not that it is used up.
		l.counters[id] = newCounter(rule, cmp.Or(s.Key, s.Endpoint)+" "+cmp.Or(s.Upstream, s.Model), l.share, true, now)
		return
	}
	if rule.Requests > 0 {
		c.rule.Requests = rule.Requests
		if c.requests == nil {
			c.requests = newBucket(rule.Requests, learnedBurst, l.share, true, now)
		}
	}
	if rule.Tokens > 0 {
		c.rule.Tokens = rule.Tokens
		if c.tokens == nil {
			c.tokens = newBucket(rule.Tokens, learnedBurst, l.share, true, now)
		}
	}
}

// perMinute returns the limit of a minute, 0 for unknown.
func (w Window) perMinute() int64 {
	if w.Limit <= 0 {
		return 0
	}
	per := w.Per
	if per <= 0 {
		per = time.Minute
	}
	return min(max(muldiv(w.Limit, int64(time.Minute), int64(per)), 1), maxUnits)
}

// believe takes over a window, within the configured limit.
func (b *bucket) believe(w Window, configured, percent int64, now time.Time) {
	if b == nil {
		return
	}
	if n := w.perMinute(); n > 0 {
		b.pay(now)
		b.limit = min(n, configured)
		b.burst = burst(b.limit, percent)
	}
	if !w.ResetAt.IsZero() && w.Remaining >= 0 {
		b.learn(w.Remaining, w.ResetAt, now)
	}
}

// learnedID is that of the limits that a provider names for a key and a model.
func learnedID(s Subject) counterID {
	name := cmp.Or(s.Key, s.Endpoint)
	if name == "" {
		return counterID{rule: -1}
	}
	return counterID{rule: -1, name: name + "\x00" + cmp.Or(s.Upstream, s.Model)}
}

// Package limit bounds how much is asked of providers and by tenants: requests
// and tokens a minute, and calls at once. What is over a limit waits in a queue,
// by priority and deadline, instead of failing.
//
// A process needs no other to decide. It holds a share of every limit, which is
// told to it ([Limiter.SetShare]) when processes come and go.
package limit

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Subject is what a request counts for. What is "" is not limited.
type Subject struct {
	Tenant   string
	Key      string
	Endpoint string
	Model    string
	// Upstream is the provider's name of the model, for the limits that it names
	// itself; "": Model. No rule counts it.
	Upstream string
}

// Ask is a request for admission.
type Ask struct {
	Subject
	Tokens   int64     // expected, of input and output; what was used is told to Grant.Done
	Priority int       // the higher goes first
	Deadline time.Time // no use after; the zero time: Config.MaxWait from now
}

// Limiter admits requests. It is safe for concurrent use.
type Limiter struct {
	config Config
	told   atomic.Bool // a provider has named a limit

	mu       sync.Mutex
	share    fraction
	next     fraction  // the share that settles at
	settles  time.Time // the zero time: none does
	changed  time.Time // when the share last did
	counters map[counterID]*counter
	swept    time.Time
	waiting  int
	seq      uint64
}

type counterID struct {
	rule int // index of the rule; -1: learned
	name string
}

// New returns a limiter that holds the whole of every limit.
func New(c Config) (*Limiter, error) {
	c.Rules = slices.Clone(c.Rules)
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &Limiter{config: c, share: fraction{1, 1}, counters: make(map[counterID]*counter)}, nil
}

// Idle reports whether nothing is limited: there are no rules, and no provider has
// named a limit. Who asks then is admitted, so there is no need to.
func (l *Limiter) Idle() bool { return len(l.config.Rules) == 0 && !l.told.Load() }

// SetShare makes num of den parts of every limit this process's: 1 of n where n
// processes share alike, 0 of 1 before it has joined them. A smaller share holds
// at once, a larger one after Config.Settle.
func (l *Limiter) SetShare(num, den int) error {
	if den < 1 || den > 1_000_000 || num < 0 || num > den {
		return fmt.Errorf("a share of %d/%d: want 0 to 1, in up to a million parts", num, den)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.settle(now)
	f := fraction{int64(num), int64(den)}
	l.settles = time.Time{}
	if f.more(l.share) {
		l.next, l.settles = f, now.Add(l.config.Settle)
	} else {
		l.apply(f, now)
	}
	l.wakeAll()
	return nil
}

// settle applies a larger share when it is time. mu is held here and below.
func (l *Limiter) settle(now time.Time) {
	if !l.settles.IsZero() && !now.Before(l.settles) {
		l.settles = time.Time{}
		l.apply(l.next, now)
	}
}

func (l *Limiter) apply(f fraction, now time.Time) {
	l.share, l.changed = f, now
	for _, c := range l.counters {
		c.setShare(f, now)
	}
}

func (l *Limiter) wakeAll() {
	for _, c := range l.counters {
		c.wake()
	}
}

// forget is after how long an unused counter is dropped: what it owes is paid by
// then, up to ten times a minute's limit.
const forget = 10 * time.Minute

// sweep drops counters that nobody has used for long.
func (l *Limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < forget {
		return
	}
	l.swept = now
	for id, c := range l.counters {
		if c.inFlight == 0 && len(c.queue) == 0 && now.Sub(c.used) >= forget {
			delete(l.counters, id)
		}
	}
}

// counting appends the counters of s.
func (l *Limiter) counting(counters []*counter, s Subject, now time.Time) []*counter {
	l.sweep(now)
	for _, of := range [...]struct {
		scope Scope
		name  string
	}{{Tenant, s.Tenant}, {Key, s.Key}, {Endpoint, s.Endpoint}, {Model, s.Model}} {
		if of.name == "" {
			continue
		}
		named := ""
		for _, r := range l.config.Rules {
			if r.Scope == of.scope && r.Name == of.name {
				named = of.name
				break
			}
		}
		for i, r := range l.config.Rules {
			if r.Scope == of.scope && r.Name == named {
				counters = append(counters, l.counter(counterID{i, of.name}, r, now))
			}
		}
	}
	if c := l.counters[learnedID(s)]; c != nil {
		counters = append(counters, c)
	}
	return counters
}

func (l *Limiter) counter(id counterID, r Rule, now time.Time) *counter {
	c := l.counters[id]
	if c == nil {
		// In a minute in which shares changed, others have used what is new here.
		c = newCounter(r, id.name, l.share, now.Sub(l.changed) >= time.Minute, now)
		l.counters[id] = c
	}
	return c
}

// admit grants w, or returns the counter that it must wait for and what that
// counts. It does not overtake who waits there with a better rank.
func (l *Limiter) admit(w *waiter, now time.Time) (*Grant, *counter, string) {
	l.settle(now)
	g := &Grant{limiter: l, ask: w.Ask, began: now}
	g.counters = l.counting(g.room[:0], w.Subject, now)
	var (
		blocked *counter
		what    string
		longest time.Duration
	)
	for _, c := range g.counters {
		d, why := c.wait(&w.Ask, now)
		if len(c.queue) > 0 && rank(c.queue[0], w) < 0 {
			d, why = max(d, time.Nanosecond), Requests
		}
		if d > longest {
			blocked, what, longest = c, why, d
		}
	}
	if blocked != nil {
		return nil, blocked, what
	}
	for _, c := range g.counters {
		c.take(&w.Ask, now)
	}
	return g, nil, ""
}

// Grant is an admission. Give it back with Done.
type Grant struct {
	limiter  *Limiter
	ask      Ask
	counters []*counter
	room     [5]*counter // for counters, as many as there mostly are
	began    time.Time
	done     bool // guarded by the limiter's mu
}

// Outcome is how an admitted call went.
type Outcome struct {
	Tokens     int64         // that it used; 0: unknown, as many as expected
	Latency    time.Duration // 0: unknown
	Overloaded bool          // the provider had too much to do: 429, 503, 529, a timeout
	Unsent     bool          // no call was made: nothing counts
}

// Done ends the call. Only the first Done counts.
func (g *Grant) Done(o Outcome) {
	l := g.limiter
	l.mu.Lock()
	defer l.mu.Unlock()
	if g.done {
		return
	}
	g.done = true
	now := time.Now()
	l.settle(now)
	for _, c := range g.counters {
		c.giveBack(&g.ask, o, g.began, now)
		c.wake()
	}
}

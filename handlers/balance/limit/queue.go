package limit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Place is where a request stands that is over a limit.
type Place struct {
	Scope    Scope
	Name     string        // of the tenant, key, endpoint or model whose limit it is
	What     string        // Requests, Tokens or Concurrency
	Position int           // in that limit's queue, from 1
	ETA      time.Duration // until it is admitted, as far as is known; 0: not known
}

// Why a request is not admitted; a *Refusal is in the chain with one of them.
var (
	ErrLimited = errors.New("over a limit")                          // Try does not wait
	ErrFull    = errors.New("over a limit and the queue is full")    // of others that go before it
	ErrTooLate = errors.New("over a limit until after its deadline") // so waiting is of no use
)

// Refusal says that a request is not admitted.
type Refusal struct {
	Place
	reason error
}

// Error names the limit.
func (r *Refusal) Error() string {
	return fmt.Sprintf("%s: %s of %s %s, position %d, in about %s", r.reason, r.What, r.Scope, r.Name, r.Position, r.ETA.Round(time.Millisecond))
}

// Unwrap returns ErrLimited, ErrFull or ErrTooLate.
func (r *Refusal) Unwrap() error { return r.reason }

// waiter is an ask in a queue. Its own goroutine asks again: who is first at its
// counter when the time has come, the others when they are woken.
type waiter struct {
	Ask
	until time.Time // its deadline
	seq   uint64
	wake  chan struct{}
	at    *counter // whose queue it is in; nil: none, since it was pushed out
	place Place    // where it stood when it came
}

func (l *Limiter) newWaiter(a Ask, now time.Time) *waiter {
	l.seq++
	a.Tokens = min(max(a.Tokens, 0), maxUnits)
	w := &waiter{Ask: a, until: a.Deadline, seq: l.seq}
	if w.until.IsZero() {
		w.until = now.Add(l.config.MaxWait)
	}
	return w
}

// Try admits a request at once or returns a *Refusal with ErrLimited: where it
// would stand and when it is worth asking again.
func (l *Limiter) Try(a Ask) (*Grant, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	w := l.newWaiter(a, now)
	g, at, what := l.admit(w, now)
	if g != nil {
		return g, nil
	}
	return nil, &Refusal{l.place(w, at, what, now), ErrLimited}
}

// Wait admits a request, as soon as it is its turn. While it must wait, queued,
// which may be nil, is told once where it stands. Wait returns a *Refusal with
// ErrTooLate as soon as it is known that the request will not be admitted before
// its deadline, one with ErrFull when the queue is full of better ones, and ctx's
// error when it is done.
func (l *Limiter) Wait(ctx context.Context, a Ask, queued func(Place)) (*Grant, error) {
	w, g, place, err := l.enqueue(a)
	if g != nil || err != nil {
		return g, err
	}
	if queued != nil {
		queued(place)
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		g, again, err := l.again(w)
		if g != nil || err != nil {
			return g, err
		}
		timer.Reset(again)
		select {
		case <-w.wake:
		case <-timer.C:
		case <-ctx.Done():
			l.giveUp(w)
			return nil, context.Cause(ctx)
		}
	}
}

func (l *Limiter) enqueue(a Ask) (*waiter, *Grant, Place, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	w := l.newWaiter(a, now)
	g, at, what := l.admit(w, now)
	if g != nil {
		return nil, g, Place{}, nil
	}
	place := l.place(w, at, what, now)
	if now.Add(place.ETA).After(w.until) {
		return nil, nil, place, &Refusal{place, ErrTooLate}
	}
	if l.waiting >= l.config.Queue && !l.makeRoom(w) {
		return nil, nil, place, &Refusal{place, ErrFull}
	}
	l.waiting++
	w.wake, w.place = make(chan struct{}, 1), place
	at.join(w)
	return w, nil, place, nil
}

// makeRoom pushes out the waiter of the worst rank, if that is worse than w's.
func (l *Limiter) makeRoom(w *waiter) bool {
	var worst *waiter
	for _, c := range l.counters {
		if n := len(c.queue); n > 0 && (worst == nil || rank(c.queue[n-1], worst) > 0) {
			worst = c.queue[n-1]
		}
	}
	if worst == nil || rank(w, worst) > 0 {
		return false
	}
	l.remove(worst)
	select {
	case worst.wake <- struct{}{}:
	default:
	}
	return true
}

func (l *Limiter) remove(w *waiter) {
	w.at.leave(w)
	l.waiting--
}

// again looks whether it is w's turn: it returns a grant, a refusal, or after how
// long to look again unless woken.
func (l *Limiter) again(w *waiter) (*Grant, time.Duration, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if w.at == nil {
		return nil, 0, &Refusal{w.place, ErrFull}
	}
	if !now.Before(w.until) {
		place := l.place(w, w.at, Requests, now)
		l.remove(w)
		return nil, 0, &Refusal{place, ErrTooLate}
	}
	left := w.until.Sub(now)
	if w.at.queue[0] != w {
		return nil, left, nil
	}
	g, at, _ := l.admit(w, now)
	if g != nil {
		l.remove(w)
		return g, 0, nil
	}
	if at != w.at {
		w.at.leave(w)
		if at.join(w); at.queue[0] != w {
			return nil, left, nil
		}
	}
	d, _ := at.wait(&w.Ask, now)
	if !l.settles.IsZero() {
		d = min(d, l.settles.Sub(now))
	}
	return nil, min(max(d, time.Microsecond), left), nil
}

// giveUp takes w out of its queue.
func (l *Limiter) giveUp(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.at != nil {
		l.remove(w)
	}
}

// place returns where w stands, or would stand, at a counter.
func (l *Limiter) place(w *waiter, at *counter, what string, now time.Time) Place {
	p := Place{Scope: at.rule.Scope, Name: at.name, What: what, Position: at.position(w)}
	if eta := at.eta(&w.Ask, p.Position, now); eta < never {
		p.ETA = eta
	}
	return p
}

// Line is the requests that wait for one limit.
type Line struct {
	Scope   Scope         `json:"scope"`
	Name    string        `json:"name"`
	What    string        `json:"what"`             // Requests, Tokens or Concurrency
	Waiting int           `json:"waiting"`          // requests
	ETA     time.Duration `json:"eta_ns,omitempty"` // of the last of them; 0: not known
}

// Lines returns where requests wait now, in the order of scope and name.
func (l *Limiter) Lines() []Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting == 0 {
		return nil
	}
	now := time.Now()
	var lines []Line
	for _, c := range l.counters {
		n := len(c.queue)
		if n == 0 {
			continue
		}
		_, what := c.wait(&c.queue[0].Ask, now)
		p := l.place(c.queue[n-1], c, cmp.Or(what, Requests), now)
		lines = append(lines, Line{Scope: p.Scope, Name: p.Name, What: p.What, Waiting: n, ETA: p.ETA})
	}
	slices.SortFunc(lines, func(a, b Line) int { return cmp.Or(cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Name, b.Name)) })
	return lines
}

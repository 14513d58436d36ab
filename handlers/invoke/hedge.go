package invoke

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

// race is between a call and its hedge. The first that answers, or begins to where
// the answer is streamed, has won.
type race struct {
	winner  atomic.Pointer[attempt]
	decided chan struct{} // closed when there is a winner
}

// claim reports whether a has won, now or before.
func (c *race) claim(a *attempt) bool {
	if c.winner.CompareAndSwap(nil, a) {
		close(c.decided)
		return true
	}
	return c.winner.Load() == a
}

// hedgeAfter returns how long a first call has before another is made beside it. It
// reports false where none will be: what has an effect at the vendor is not asked
// twice, and neither is what has failed before.
func (r *round) hedgeAfter(a *attempt) (time.Duration, bool) {
	if r.hedges == nil || a.record.Reason != ReasonFirst || r.outgoing.Mode != "" {
		return 0, false
	}
	switch r.outgoing.Operation() {
	case schemas.OpChat, schemas.OpComplete, schemas.OpEmbed, schemas.OpRerank, schemas.OpModerate:
	default:
		return 0, false
	}
	r.hedges.asked(r.input+r.output, a.record.StartedAt)
	return r.hedges.after(a)
}

// contest runs first and, when it has not answered in time, a rival. It returns when
// both have ended, with the one that counts.
func (r *round) contest(ctx context.Context, first *attempt, after time.Duration) *attempt {
	c := &race{decided: make(chan struct{})}
	runners, ended := make([]*attempt, 0, 2), make(chan *attempt, 2)
	start := func(a *attempt) {
		var own context.Context
		own, a.cut = context.WithCancelCause(ctx)
		a.race = c
		runners = append(runners, a)
		go a.alone(own, ended)
	}
	start(first)
	timer := time.NewTimer(after)
	defer timer.Stop()
	decided := c.decided
	for left := 1; left > 0; {
		select {
		case <-timer.C:
			if a := r.rival(first, c); a != nil {
				left++
				start(a)
			}
		case <-decided:
			decided = nil
			cutLosers(runners, c.winner.Load())
		case a := <-ended:
			left--
			switch {
			case a.panicked != nil:
				cutLosers(runners, nil)
			case a.failure == nil:
				c.claim(a)
			}
		}
	}
	return r.settle(runners, c.winner.Load())
}

// alone runs a in a goroutine of its own, whose panic would otherwise end the
// process.
func (a *attempt) alone(ctx context.Context, ended chan<- *attempt) {
	defer func() {
		a.panicked = recover()
		a.cut(nil)
		ended <- a
	}()
	a.run(ctx)
}

func cutLosers(runners []*attempt, winner *attempt) {
	for _, a := range runners {
		if a != winner {
			a.cut(errLost)
		}
	}
}

// rival begins a second call: at another endpoint of the same target, or else at the
// next target. It returns nil where there is none, or nothing left to spend.
func (r *round) rival(first *attempt, c *race) *attempt {
	now := time.Now()
	if c.winner.Load() != nil || r.calls >= r.config.MaxAttempts || !r.hedges.pay(r.input+r.output, now) {
		return nil
	}
	t, _, _ := r.ticket(first.index, now, first.lease.Endpoint, (*balance.Pool).AcquireFree)
	for i := 0; t == nil && i < len(r.job.Targets); i++ {
		if i != first.index && !r.states[i].done {
			t, _, _ = r.ticket(i, now, nil, (*balance.Pool).AcquireFree)
		}
	}
	if t == nil {
		r.hedges.refund(r.input + r.output)
		return nil
	}
	a := r.begin(t, ReasonHedge)
	a.key += "#hedge" // the vendor is to answer both
	return a
}

// settle records the runners of a race and returns the one that counts: the winner,
// or else the first.
func (r *round) settle(runners []*attempt, winner *attempt) *attempt {
	for _, a := range runners {
		if a.panicked != nil {
			panic(a.panicked) // as it would have without the hedge
		}
	}
	counts := winner
	if counts == nil {
		counts = runners[0]
	}
	if winner == nil || !winner.spoke {
		r.voice = voice{attempt: counts.record.Number}
	}
	for _, a := range runners {
		switch {
		case a == counts:
			r.conclude(a)
		case winner != nil:
			r.lost(a)
		default: // both failed
			a.began(a.failure)
			a.fail(a.failure)
			r.keep(a.failure)
			r.states[a.index].done = a.index != counts.index
		}
	}
	r.last = counts.index
	return counts
}

// lost records an attempt that another was faster than. What the vendor had begun is
// paid for: its input, if nothing better is known.
func (r *round) lost(a *attempt) {
	f := a.failure
	if f == nil { // it answered too, a moment later
		f = schemas.Fail(schemas.Cancelled, "", errLost)
		f.Phase, f.Usage = schemas.PhaseOutput, &a.res.Usage
		r.abandon(a)
	} else {
		a.began(f)
	}
	a.fail(f)
	if f.Code == schemas.Cancelled {
		r.hedges.observe(a) // it takes at least as long as this
	}
}

// abandon cancels a vendor's long job that nobody waits for.
func (r *round) abandon(a *attempt) {
	p, ok := caller(a.lease.Endpoint).(provider.Poller)
	if !ok || !a.res.Pending() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookTimeout)
	defer cancel()
	// An error changes nothing: the vendor forgets its jobs after a while.
	_ = p.Cancel(ctx, provider.Call{Request: r.outgoing, Model: a.record.Target.Model, IdempotencyKey: a.key, Publish: r.Publish, Handed: a.handed}, *a.res.Job)
}

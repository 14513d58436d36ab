package balance

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/schemas"
)

// HealthConfig says when endpoints are probed. A probe is made when a breaker's
// opening is over, in place of a requester's call, and when an endpoint has had
// no call for a while, which is how an idle connection is found dead before
// someone needs it.
type HealthConfig struct {
	Timeout time.Duration `json:"timeout,omitempty"` // of a probe; 10 s
	Idle    time.Duration `json:"idle,omitempty"`    // without a call before the first probe, doubled after each; 1 min
	Max     time.Duration `json:"max,omitempty"`     // longest time between probes of an idle endpoint; 10 min
	Jitter  float64       `json:"jitter,omitempty"`  // share of that time by which it may be shorter; 0.2
}

// Prober asks an endpoint whether it is well, in a way that costs little: a list
// of models, a ready page, a single token. Nil means that it is. A
// *schemas.Failure that says nothing about health, such as rate_limited, is
// counted neither way; any other error counts against the endpoint. Probe keeps
// to ctx, whose deadline is HealthConfig.Timeout away.
type Prober interface {
	Probe(ctx context.Context) error
}

const (
	healthTick    = time.Second            // how often breakers and replaced endpoints are looked at
	probeInterval = 250 * time.Millisecond // between two probes of a half-open breaker
)

// Health probes the endpoints of a pool while it runs. Requesters' calls are then
// no probes, unless one of its own is overdue.
type Health struct {
	pool   *Pool
	config HealthConfig
	prober func(*Endpoint) Prober
	draws  *Draws
	log    *zap.Logger
}

// NewHealth returns the health checks of p. prober names what probes an endpoint;
// nil means that nothing does, and its breaker probes with calls. It is asked once
// for each endpoint, by Run.
func NewHealth(p *Pool, prober func(*Endpoint) Prober, log *zap.Logger) *Health {
	return &Health{pool: p, config: p.config.Health, prober: prober, draws: NewDraws(p.config.Seed), log: log}
}

// check is what Run knows of an endpoint. The loop reads it only while no probe
// of it is under way; mu is for the handing over.
type check struct {
	prober Prober
	since  time.Time // when Run met the endpoint

	mu     sync.Mutex
	busy   bool
	probed time.Time     // when the last probe ended
	wait   time.Duration // from the last probe or call to the next probe
	calls  int64         // finished calls when wait was last chosen
	afresh bool          // whether wait must be chosen for an idle endpoint
}

// Run probes until ctx is done, waits for its probes and returns nil.
func (h *Health) Run(ctx context.Context) error {
	checks := make(map[*Endpoint]*check)
	var probes sync.WaitGroup
	defer func() {
		probes.Wait()
		for e := range checks {
			e.spare.Store(0)
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		now := time.Now()
		h.meet(checks, now)
		soonest := now.Add(healthTick)
		for e, c := range checks {
			due, ok := h.due(e, c, now)
			switch {
			case !ok:
			case due.After(now):
				soonest = earlier(soonest, due)
			default:
				c.start()
				probes.Go(func() { h.probe(ctx, e, c) })
			}
		}
		timer.Reset(time.Until(soonest))
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// meet brings checks up to date with the endpoints of the pool.
func (h *Health) meet(checks map[*Endpoint]*check, now time.Time) {
	for e := range checks {
		if e.gone.Load() {
			delete(checks, e)
		}
	}
	for _, e := range h.pool.members.Load().all {
		if checks[e] != nil {
			continue
		}
		c := &check{prober: h.prober(e), since: now, afresh: true}
		checks[e] = c
		if c.prober != nil {
			e.spare.Store(int64(h.config.Timeout + healthTick))
		}
	}
}

// due returns when e is to be probed next, or false where that is not known now.
func (h *Health) due(e *Endpoint, c *check, now time.Time) (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.prober == nil || c.busy {
		return time.Time{}, false
	}
	if gobreaker.State(e.state.Load()) != gobreaker.StateClosed {
		return later(time.Unix(0, e.openUntil.Load()), c.probed.Add(c.wait)), true
	}
	if e.inFlight.Load() > 0 {
		return time.Time{}, false
	}
	if calls := e.calls.Load(); c.afresh || calls != c.calls {
		c.afresh, c.calls, c.wait = false, calls, h.spread(h.config.Idle)
	}
	at := later(later(c.since, c.probed), time.Unix(0, e.measure.at.Load())).Add(c.wait)
	if rests := time.Unix(0, max(e.own.until.Load(), e.key.until.Load())); rests.After(now) {
		at = later(at, rests)
	}
	return at, true
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// spread shortens d by the jitter.
func (h *Health) spread(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 - h.config.Jitter*h.draws.Unit()))
}

func (c *check) start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = true
}

// probe asks e once and tells the breaker. What a probe measures is not what a
// call measures, so latency is left alone.
func (h *Health) probe(ctx context.Context, e *Endpoint, c *check) {
	generation := e.generation.Load()
	report, ok := e.admit()
	var verdict error
	if ok {
		verdict = h.ask(ctx, c.prober)
		switch {
		case report != nil:
			report(verdict)
		case !errors.Is(verdict, errNeutral):
			e.count(verdict, generation, time.Now())
		}
		if verdict != nil && ctx.Err() == nil { // the code alone: an address may hold a credential
			h.log.Debug("probe", zap.String("provider", e.Provider), zap.String("endpoint", e.ID), zap.String("code", string(schemas.AsFailure(verdict).Code)))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy, c.probed = false, time.Now()
	switch {
	case verdict != nil && report == nil && !errors.Is(verdict, errNeutral):
		c.wait = healthTick // once is chance: what follows tells
	case report == nil && ok: // it was idle
		c.wait = min(max(2*c.wait, h.spread(h.config.Idle)), h.spread(h.config.Max))
	case errors.Is(verdict, errNeutral):
		c.afresh, c.wait = true, min(max(2*c.wait, time.Second), h.spread(h.config.Max))
	default:
		c.afresh, c.wait = true, probeInterval
	}
}

// errPanic is the outcome of a probe that panicked.
var errPanic = errors.New("the probe ended in a panic")

// ask returns what a probe says about the endpoint's health. A panic is an answer
// too: nobody above would catch it, and the breaker waits for one.
func (h *Health) ask(ctx context.Context, p Prober) (verdict error) {
	defer func() {
		if recover() != nil {
			verdict = errPanic
		}
	}()
	probe, cancel := context.WithTimeout(ctx, h.config.Timeout)
	defer cancel()
	err := p.Probe(probe)
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*schemas.Failure](err); ctx.Err() != nil || ok && !f.Code.Policy().Breaker {
		return errNeutral
	}
	return err
}

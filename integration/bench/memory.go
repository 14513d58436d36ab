package main

import (
	"context"
	"fmt"
	"time"

	"github.com/sira-ai/sira/handlers/simulate"
	"github.com/sira-ai/sira/integration"
)

// memory compares what worker and bare loop hold while thousands of slow calls
// are in flight.
func (b *bench) memory(ctx context.Context) error {
	if err := b.keepSamples(ctx); err != nil {
		return err
	}
	slow := simulate.Behaviour{Tokens: simulate.Tokens{Min: 32, Max: 32}, Latency: simulate.Latency{Kind: "fixed", Value: simulate.Duration(20 * time.Second)}}
	if err := integration.SetSimulator(ctx, b.cfg, slow); err != nil {
		return err
	}
	var err error
	if b.out.BareRSS, err = b.hold(ctx, "slow-bare", b.startBare); err != nil {
		return err
	}
	if b.out.SiraRSS, err = b.hold(ctx, "slow-sira", b.startWorker); err != nil {
		return err
	}
	b.out.InFlight, b.out.RatioRSS = b.inFlight, quotient(b.out.SiraRSS, b.out.BareRSS)
	say("%d slow calls in flight: bare loop %.0f MiB, Sira %.0f MiB, ratio %.2f", b.inFlight, b.out.BareRSS, b.out.SiraRSS, b.out.RatioRSS)
	return b.instant(ctx)
}

// hold returns the resident memory of a process, in MiB, five seconds after all
// its calls are in flight.
func (b *bench) hold(ctx context.Context, name string, start starter) (float64, error) {
	if _, err := b.load(ctx, name, b.inFlight); err != nil {
		return 0, err
	}
	p, err := start(ctx, name, b.inFlight)
	if err != nil {
		return 0, err
	}
	defer p.Kill()
	for deadline := time.Now().Add(time.Minute); ; {
		stats, err := integration.SimulatorStats(ctx, b.cfg)
		if err != nil {
			return 0, err
		}
		if stats.Total.InFlight >= int64(b.inFlight) {
			break
		}
		if time.Now().After(deadline) || p.Gone() {
			return 0, fmt.Errorf("%d of %d calls came to be in flight\n%s", stats.Total.InFlight, b.inFlight, p.Tail())
		}
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			return 0, err
		}
	}
	if err := wait(ctx, 5*time.Second); err != nil {
		return 0, err
	}
	rss, err := integration.ResidentMiB(p.PID())
	if err != nil {
		return 0, err
	}
	p.Kill()
	// The provider notices that its callers have left.
	for deadline := time.Now().Add(30 * time.Second); ; {
		stats, err := integration.SimulatorStats(ctx, b.cfg)
		if err != nil || stats.Total.InFlight == 0 || time.Now().After(deadline) {
			return rss, err
		}
		if err := wait(ctx, 100*time.Millisecond); err != nil {
			return rss, err
		}
	}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

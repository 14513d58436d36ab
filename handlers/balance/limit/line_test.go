package limit_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sira-ai/sira/handlers/balance/limit"
)

func TestWhoWaitsIsShownWithItsETA(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, limit.Rule{Scope: limit.Tenant, Requests: 60, Burst: 1})
		for try(t, l, tenant("a")) {
		}
		ctx, cancel := context.WithCancel(t.Context())
		for range 3 {
			go func() { _, _ = l.Wait(ctx, tenant("a"), nil) }()
		}
		synctest.Wait()
		lines := l.Lines()
		if len(lines) != 1 || lines[0].Name != "a" || lines[0].Scope != limit.Tenant || lines[0].What != limit.Requests || lines[0].Waiting != 3 ||
			lines[0].ETA < 2*time.Second || lines[0].ETA > 3*time.Second {
			t.Errorf("lines %+v", lines)
		}
		cancel()
		synctest.Wait()
		if lines := l.Lines(); len(lines) != 0 {
			t.Errorf("nobody waits, but %+v", lines)
		}
	})
}

// A provider's limits are for its own name of a model, which no rule counts; and a
// process without a share has nothing of them.
func TestLearnedLimitsAreOfTheProvidersModel(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, limit.Rule{Scope: limit.Model, Requests: 1, Burst: 1})
		at := func(model string) limit.Subject { return limit.Subject{Key: "p/k", Upstream: model} }
		closed := limit.RateLimit{Requests: limit.Window{Limit: 100, ResetAt: time.Now().Add(time.Minute)}}
		if err := l.SetShare(0, 1); err != nil {
			t.Fatal(err)
		}
		l.Learn(at("one"), closed)
		if !try(t, l, limit.Ask{Subject: at("one")}) {
			t.Error("it was learned without a share")
		}
		if err := l.SetShare(1, 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second) // synctest's clock: the share has settled
		l.Learn(at("one"), closed)
		if try(t, l, limit.Ask{Subject: at("one")}) {
			t.Error("nothing was learned")
		}
		for range 2 {
			if !try(t, l, limit.Ask{Subject: at("two")}) {
				t.Error("another model is limited")
			}
		}
	})
}

package limit_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/sira-ai/sira/handlers/balance/limit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func limiter(t testing.TB, rules ...limit.Rule) *limit.Limiter {
	t.Helper()
	c := limit.Defaults()
	c.Rules = rules
	l, err := limit.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func tenant(name string) limit.Ask { return limit.Ask{Subject: limit.Subject{Tenant: name}} }

// try reports whether a is admitted at once; the call then goes on for ever.
func try(t testing.TB, l *limit.Limiter, a limit.Ask) bool {
	t.Helper()
	g, err := l.Try(a)
	if err != nil && !errors.Is(err, limit.ErrLimited) {
		t.Fatal(err)
	}
	return g != nil
}

// greedy asks every interval for d and returns how often it was admitted.
func greedy(t testing.TB, l *limit.Limiter, a limit.Ask, interval, d time.Duration) int {
	t.Helper()
	n := 0
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(interval) { // synctest's clock
		if try(t, l, a) {
			n++
		}
	}
	return n
}

func TestAMinuteAdmitsItsLimitExactly(t *testing.T) {
	t.Parallel()
	// 7 and 997 do not divide a minute; what rounding loses would show in a day.
	for _, rpm := range []int64{1, 7, 60, 997} {
		synctest.Test(t, func(t *testing.T) {
			l := limiter(t, limit.Rule{Scope: limit.Tenant, Requests: rpm})
			interval := time.Minute / time.Duration(100*rpm)
			minutes := min(500/rpm+2, 300)
			for try(t, l, tenant("a")) { // the burst
			}
			got := greedy(t, l, tenant("a"), interval, time.Duration(minutes)*time.Minute)
			if want := int(rpm * minutes); got < want-1 || got > want+1 {
				t.Errorf("%d a minute: %d in %d minutes, want %d", rpm, got, minutes, want)
			}
		})
	}
}

func TestABurstAfterAPauseIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, limit.Rule{Scope: limit.Tenant, Requests: 600, Burst: 5})
		try(t, l, tenant("a"))
		time.Sleep(time.Hour) // synctest's clock
		n := 0
		for try(t, l, tenant("a")) {
			n++
		}
		if n != 31 {
			t.Errorf("%d at once, want one and 5 %% of 600", n)
		}
	})
}

func TestTokensAreLimitedByWhatWasUsed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, limit.Rule{Scope: limit.Model, Tokens: 6000, Burst: 100})
		ask := limit.Ask{Subject: limit.Subject{Model: "m"}, Tokens: 1000} // 6001 are free
		g, err := l.Try(ask)
		if err != nil {
			t.Fatal(err)
		}
		g.Done(limit.Outcome{Tokens: 5501})
		g.Done(limit.Outcome{Tokens: 5501}) // does not count
		_, err = l.Try(ask)
		r, ok := errors.AsType[*limit.Refusal](err)
		if !ok || r.What != limit.Tokens || r.ETA.Round(time.Millisecond) != 5*time.Second {
			t.Fatalf("got %v, want 500 tokens more in 5 s", err)
		}
		time.Sleep(r.ETA) // synctest's clock
		g, err = l.Try(ask)
		if err != nil {
			t.Fatal(err)
		}
		g.Done(limit.Outcome{Unsent: true})
		if !try(t, l, ask) {
			t.Error("tokens of a call that was never made stayed used")
		}
	})
}

// A single ask above the burst is admitted when nothing is owed, and owed then.
func TestAnAskAboveTheBurstIsNotRefusedForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, limit.Rule{Scope: limit.Tenant, Tokens: 1000})
		ask := tenant("a")
		ask.Tokens = 500
		var at []time.Time
		for len(at) < 10 {
			if try(t, l, ask) {
				at = append(at, time.Now())
			}
			time.Sleep(100 * time.Millisecond) // synctest's clock
		}
		if d := at[9].Sub(at[0]); d < 269*time.Second || d > 273*time.Second {
			t.Errorf("ten times 500 tokens at 1000 a minute took %s", d)
		}
	})
}

func TestEveryScopeCounts(t *testing.T) {
	t.Parallel()
	rules := []limit.Rule{
		{Scope: limit.Tenant, Concurrency: 4},
		{Scope: limit.Key, Concurrency: 3},
		{Scope: limit.Endpoint, Concurrency: 2},
		{Scope: limit.Model, Concurrency: 1},
		{Scope: limit.Tenant, Name: "big", Concurrency: 6},
	}
	tests := []struct {
		subject limit.Subject
		want    int
	}{
		{limit.Subject{Tenant: "a"}, 4},
		{limit.Subject{Tenant: "a", Key: "k"}, 3},
		{limit.Subject{Tenant: "a", Key: "k", Endpoint: "e"}, 2},
		{limit.Subject{Tenant: "a", Key: "k", Endpoint: "e", Model: "m"}, 1},
		{limit.Subject{Tenant: "big"}, 6},
		{limit.Subject{}, 100},
	}
	for _, tt := range tests {
		l := limiter(t, rules...)
		n := 0
		for n < 100 && try(t, l, limit.Ask{Subject: tt.subject}) {
			n++
		}
		if n != tt.want {
			t.Errorf("%+v: %d at once, want %d", tt.subject, n, tt.want)
		}
		if tt.want < 100 && !try(t, l, tenant("somebody else")) {
			t.Errorf("%+v: another tenant is refused too", tt.subject)
		}
	}
}

func TestMistakesAreAllNamed(t *testing.T) {
	t.Parallel()
	c := limit.Config{Queue: -1, Rules: []limit.Rule{
		{Scope: "team", Requests: 1},
		{Scope: limit.Key},
		{Scope: limit.Model, Tokens: -1, Burst: 200},
		{Scope: limit.Key, Adaptive: &limit.AdaptiveConfig{Min: 9, Max: 3, Back: 100, Latency: 50}},
	}}
	err := c.Validate()
	for _, want := range []string{
		"queue", "max_wait", "rules[0].scope", "rules[1].requests", "rules[2].tokens", "rules[2].burst",
		"rules[3].adaptive.min", "rules[3].adaptive.back", "rules[3].adaptive.latency",
	} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}

func TestWhatAProviderSaysIsBelieved(t *testing.T) {
	t.Parallel()
	on := limit.Subject{Tenant: "a", Key: "k", Model: "m"}
	count := func(t *testing.T, l *limit.Limiter, d time.Duration) int {
		return greedy(t, l, limit.Ask{Subject: on}, 50*time.Millisecond, d)
	}
	t.Run("a limit nobody configured", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := limiter(t)
			reset := time.Now().Add(time.Minute)
			l.Learn(on, limit.RateLimit{Requests: limit.Window{Limit: 60, Remaining: 10, ResetAt: reset}})
			if n := count(t, l, time.Minute); n < 69 || n > 71 {
				t.Errorf("%d in the first minute, want the 10 that remained and 60", n)
			}
		})
	})
	t.Run("a limit below the configured one", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := limiter(t, limit.Rule{Scope: limit.Key, Requests: 600})
			l.Learn(limit.Subject{Key: "k"}, limit.RateLimit{Requests: limit.Window{Limit: 2, Per: time.Second}})
			if n := count(t, l, 10*time.Minute); n < 1185 || n > 1215 {
				t.Errorf("%d in ten minutes, want 1200", n)
			}
			l.Learn(limit.Subject{Key: "k"}, limit.RateLimit{Requests: limit.Window{Limit: 9000}})
			if n := count(t, l, 10*time.Minute); n < 5900 || n > 6050 {
				t.Errorf("%d in ten minutes: the configured limit is 600", n)
			}
		})
	})
	t.Run("nothing left until the reset", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := limiter(t)
			l.Learn(on, limit.RateLimit{Tokens: limit.Window{Limit: 1000, ResetAt: time.Now().Add(20 * time.Second)}})
			_, err := l.Try(limit.Ask{Subject: on, Tokens: 1})
			if r, ok := errors.AsType[*limit.Refusal](err); !ok || r.ETA != 20*time.Second {
				t.Errorf("got %v, want to wait for the reset", err)
			}
			other := on
			other.Model = "another"
			if !try(t, l, limit.Ask{Subject: other, Tokens: 1}) {
				t.Error("another model of the key is refused too")
			}
		})
	})
	t.Run("what remains is for all processes", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			l := limiter(t)
			if err := l.SetShare(1, 4); err != nil {
				t.Fatal(err)
			}
			l.Learn(on, limit.RateLimit{Requests: limit.Window{Limit: 400, Remaining: 40, ResetAt: time.Now().Add(time.Minute)}})
			n := 0
			for try(t, l, limit.Ask{Subject: on}) {
				n++
			}
			if n != 10 {
				t.Errorf("%d at once, want a quarter of 40", n)
			}
		})
	})
}

func TestAdaptiveConcurrencyFindsTheCapacity(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const capacity = 50 // of the provider: more calls at once are overload
		l := limiter(t, limit.Rule{Scope: limit.Endpoint, Adaptive: &limit.AdaptiveConfig{Start: 5, Max: 500}})
		on := limit.Ask{Subject: limit.Subject{Endpoint: "e"}}
		var busy, most, sum, rounds int
		for range 600 {
			var grants []*limit.Grant
			for {
				g, err := l.Try(on)
				if err != nil {
					break
				}
				grants = append(grants, g)
			}
			busy = len(grants)
			time.Sleep(time.Second) // synctest's clock
			for i, g := range grants {
				g.Done(limit.Outcome{Latency: time.Second, Overloaded: i >= capacity})
			}
			if rounds++; rounds > 100 {
				most, sum = max(most, busy), sum+busy
			}
		}
		if mean := sum / (rounds - 100); mean < 35 || mean > capacity || most > 60 {
			t.Errorf("it kept %d calls at once on average, %d at most, where %d are possible", mean, most, capacity)
		}
	})
}

// go test -bench Try -benchmem ./handlers/balance/limit.
func BenchmarkTry(b *testing.B) {
	l := limiter(b,
		limit.Rule{Scope: limit.Tenant, Requests: 1_000_000_000, Tokens: 1_000_000_000}, limit.Rule{Scope: limit.Key, Requests: 1_000_000_000},
		limit.Rule{Scope: limit.Model, Concurrency: 1000})
	on := limit.Ask{Subject: limit.Subject{Tenant: "a", Key: "k", Endpoint: "e", Model: "m"}, Tokens: 10}
	b.ReportAllocs()
	for b.Loop() {
		if g, err := l.Try(on); err == nil {
			g.Done(limit.Outcome{Tokens: 12})
		}
	}
}

package limit_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sira-ai/sira/handlers/balance/limit"
)

// fleet is workers that come and go, each of which learns of it a little later.
type fleet struct {
	t       *testing.T
	rule    limit.Rule
	draws   *rand.Rand
	members []*limit.Limiter
	news    sync.WaitGroup
}

// join adds a worker that holds nothing until the news arrives.
func (f *fleet) join() *limit.Limiter {
	l := limiter(f.t, f.rule)
	f.tell(l, 0, 1)
	f.members = append(f.members, l)
	f.announce()
	return l
}

// leave removes the i-th worker, which stops at once.
func (f *fleet) leave(i int) {
	f.tell(f.members[i], 0, 1)
	f.members = append(f.members[:i], f.members[i+1:]...)
	f.announce()
}

func (f *fleet) announce() {
	n := len(f.members)
	for _, l := range f.members {
		delay := time.Duration(f.draws.IntN(500)) * time.Millisecond
		f.news.Go(func() {
			time.Sleep(delay) // synctest's clock
			f.tell(l, 1, n)
		})
	}
}

func (f *fleet) tell(l *limit.Limiter, num, den int) {
	if err := l.SetShare(num, den); err != nil {
		f.t.Error(err)
	}
}

// run has workers come and go for a time, between 1 and 8 of them, all of which
// ask all the time where busy says so, and returns what was admitted per second.
func (f *fleet) run(seconds int, units int64, busy func(second int) bool) []int64 {
	perSecond := make([]int64, seconds)
	f.join()
	next := 90
	for s := range seconds {
		if s == next {
			switch n := len(f.members); {
			case n == 1 || n < 8 && f.draws.IntN(2) == 0:
				f.join()
			default:
				f.leave(f.draws.IntN(n))
			}
			f.news.Wait() // the news of two changes does not overtake
			next += 20 + f.draws.IntN(40)
		}
		for range 20 {
			for _, l := range f.members {
				for busy(s) && try(f.t, l, limit.Ask{Subject: limit.Subject{Tenant: "a"}, Tokens: units}) {
					perSecond[s] += max(units, 1)
				}
			}
			time.Sleep(50 * time.Millisecond) // synctest's clock
		}
	}
	return perSecond
}

// minutes calls check with the sum of every 60 seconds in a row, from the first
// that are whole.
func minutes(perSecond []int64, check func(at int, sum int64)) {
	var sum int64
	for s, n := range perSecond {
		sum += n
		if s >= 60 {
			sum -= perSecond[s-60]
		}
		if s >= 65 {
			check(s-59, sum)
		}
	}
}

func TestWorkersThatComeAndGoKeepTheLimitOfAnyMinute(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rule  limit.Rule
		want  int64
		units int64
	}{
		"requests": {limit.Rule{Scope: limit.Tenant, Requests: 1200}, 1200, 0},
		"tokens":   {limit.Rule{Scope: limit.Tenant, Tokens: 90_000}, 90_000, 40},
	} {
		for seed := range uint64(2) {
			synctest.Test(t, func(t *testing.T) {
				f := &fleet{t: t, rule: tt.rule, draws: rand.New(rand.NewPCG(seed, 7))}
				minutes(f.run(600, tt.units, func(int) bool { return true }), func(at int, sum int64) {
					if sum*100 > tt.want*105 || sum*100 < tt.want*95 {
						t.Errorf("%s, seed %d: %d in the minute from second %d, want %d within 5 %%", name, seed, sum, at, tt.want)
					}
				})
			})
		}
	}
}

// Workers that pause save up a burst; that must not add up to more.
func TestBurstsOfWorkersKeepTheLimitOfAnyMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{t: t, rule: limit.Rule{Scope: limit.Tenant, Requests: 1200}, draws: rand.New(rand.NewPCG(1, 8))}
		minutes(f.run(600, 0, func(s int) bool { return s%37 > 5 }), func(at int, sum int64) {
			if sum > 1260 {
				t.Errorf("%d in the minute from second %d, want at most 1200 and 5 %%", sum, at)
			}
		})
	})
}

func TestASmallerShareKeepsItsPartOfTheBurst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, limit.Rule{Scope: limit.Tenant, Requests: 1000, Burst: 40})
		try(t, l, tenant("a"))
		time.Sleep(time.Minute) // synctest's clock: 401 could be taken at once
		if err := l.SetShare(1, 4); err != nil {
			t.Fatal(err)
		}
		n := 0
		for try(t, l, tenant("a")) {
			n++
		}
		if n != 100 {
			t.Errorf("%d at once, want a quarter", n)
		}
	})
}

func TestASmallerShareHoldsAtOnceALargerOneLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, limit.Rule{Scope: limit.Tenant, Requests: 6000})
		rate := func() int { return greedy(t, l, tenant("a"), time.Millisecond, time.Second) }
		for _, step := range []struct{ num, den, low, high int }{
			{1, 1, 99, 101}, {1, 4, 24, 26}, {1, 2, 24, 26}, {1, 2, 49, 51}, {0, 1, 0, 0},
		} {
			if err := l.SetShare(step.num, step.den); err != nil {
				t.Fatal(err)
			}
			if n := rate(); n < step.low || n > step.high {
				t.Errorf("%d/%d: %d in a second, want %d to %d", step.num, step.den, n, step.low, step.high)
			}
		}
		for _, f := range [][2]int{{1, 0}, {2, 1}, {-1, 2}} {
			if err := l.SetShare(f[0], f[1]); err == nil {
				t.Errorf("a share of %d/%d was taken", f[0], f[1])
			}
		}
	})
}

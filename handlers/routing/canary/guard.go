package canary

import (
	"fmt"
	"math"
	"time"

	"github.com/sira-ai/sira/handlers/routing"
)

// judge returns what p becomes, if it is time for it to become something else.
func (c *Config) judge(p *routing.Progress, now time.Time) (routing.Progress, bool) {
	if p.RolledBack || p.Stage >= len(c.Stages) {
		return *p, false
	}
	back := func(why string) (routing.Progress, bool) {
		return routing.Progress{Stage: p.Stage, Since: now, RolledBack: true, Why: why}, true
	}
	if worst, bad := c.Guards.failing(p.Canary, p.Baseline); bad {
		return back(fmt.Sprintf("%d of %d calls failed; at most %.1f %% were to", p.Canary.Failures, p.Canary.Calls, 100*worst))
	}
	if times, bad := c.Guards.slower(p.Canary, p.Baseline); bad {
		return back(fmt.Sprintf("latency is %.2f times the baseline's", times))
	}
	stage := c.Stages[p.Stage]
	calls := stage.Calls
	if calls == 0 {
		calls = defaultCalls
	}
	if now.Sub(p.Since) < time.Duration(stage.For) || p.Canary.Calls < calls || share(p.Canary) > share(p.Baseline)+c.Guards.Failures {
		return *p, false
	}
	next := routing.Progress{Stage: p.Stage + 1, Since: now, Why: fmt.Sprintf("stage %d passed", p.Stage+1)}
	if next.Stage < len(c.Stages) && c.Stages[next.Stage].Share == 1 {
		next.Baseline = p.Baseline // which gets no calls any more
	}
	return next, true
}

func share(t routing.Tally) float64 {
	if t.Calls == 0 {
		return 0
	}
	return float64(t.Failures) / float64(t.Calls)
}

// failing reports whether the canary's share of failures is known to be above
// worst: the baseline's, taken as high as it may well be (the upper bound of
// Wilson's interval, one-sided 99 %), and the tolerance.
//
// The test may be made after every call and is wrong with a chance of at most
// alpha in all: the likelihood of the outcomes mixed over all shares with the
// weights of Krichevsky and Trofimov (1981), divided by their likelihood at worst,
// is a martingale of mean 1 if worst is true, and exceeds 1/alpha at any time with
// a chance of at most alpha (Ville 1939).
func (g *Guards) failing(canary, baseline routing.Tally) (worst float64, bad bool) {
	worst = min(upper(baseline)+g.Failures, 0.999)
	if canary.Calls == 0 || share(canary) <= worst {
		return worst, false
	}
	x, n := float64(canary.Failures), float64(canary.Calls)
	mixed := beta(x+0.5, n-x+0.5) - beta(0.5, 0.5)
	null := x*math.Log(worst) + (n-x)*math.Log1p(-worst)
	return worst, mixed-null > math.Log(1/g.Alpha)
}

// beta is the logarithm of the beta function.
func beta(a, b float64) float64 {
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lc, _ := math.Lgamma(a + b)
	return la + lb - lc
}

// upper is the upper bound of Wilson's score interval at one-sided 99 %. Without
// calls it is not known: then a canary is held to 5 %.
func upper(t routing.Tally) float64 {
	const z = 2.326
	if t.Calls == 0 {
		return 0.05
	}
	n, p := float64(t.Calls), share(t)
	middle := p + z*z/(2*n)
	spread := z * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return (middle + spread) / (1 + z*z/n)
}

// slower reports whether the canary's latency is known to be above the
// baseline's, in geometric means, by more than the tolerance. It may be made after
// every call: the boundary is the normal mixture of Robbins (1970), in which the
// chance to be crossed at any time is at most alpha, for the harmonic mean of the
// two numbers of calls; it begins at 30 of each, where means are near normal.
func (g *Guards) slower(canary, baseline routing.Tally) (times float64, bad bool) {
	const least, scale = 30, 100 // scale: the number of calls at which the boundary is tightest
	if g.Slower == 0 || canary.Timed < least || baseline.Timed < least {
		return 0, false
	}
	mc, vc := moments(canary)
	mb, vb := moments(baseline)
	nc, nb := float64(canary.Timed), float64(baseline.Timed)
	times = math.Exp(mc - mb)
	v := vc/nc + vb/nb // variance of the difference
	if v <= 0 {
		return times, times > g.Slower
	}
	n := 1 / (1/nc + 1/nb)
	bound := math.Sqrt(v * (1 + scale/n) * 2 * math.Log(math.Sqrt(1+n/scale)/g.Alpha))
	return times, mc-mb-math.Log(g.Slower) > bound
}

func moments(t routing.Tally) (mean, variance float64) {
	n := float64(t.Timed)
	mean = t.Log / n
	return mean, max(t.LogSq/n-mean*mean, 0)
}

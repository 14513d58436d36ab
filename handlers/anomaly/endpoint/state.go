package endpoint

import (
	"fmt"
	"math"
	"time"
)

// Feature is one way in which an endpoint can be worse than usual.
type Feature int

// The features. Those of pace are natural logarithms of a ratio to the usual:
// 0.69 is twice as slow. Those of shares are logarithms of a ratio of shares,
// both raised by one percent. All are 0 where nothing is worse.
const (
	FirstTokenNow  Feature = iota
	FirstTokenLong         // over the last minutes
	FirstTokenRise         // now against the last minutes
	GapNow
	GapLong
	LatencyNow
	FaultsNow
	FaultsLong
	OverloadedNow
	OverloadedLong
	LimitedNow
	LimitedLong
	TruncatedNow
	Neighbours // share of the other endpoints of the region that fail, 0 to 1
	Together   // slow and failing at once
	FeatureCount
)

var names = [FeatureCount]string{
	"first_token_now", "first_token_long", "first_token_rise", "gap_now", "gap_long", "latency_now", "faults_now", "faults_long",
	"overloaded_now", "overloaded_long", "limited_now", "limited_long", "truncated_now", "neighbours", "together",
}

func (f Feature) String() string {
	if f >= 0 && f < FeatureCount {
		return names[f]
	}
	return fmt.Sprintf("feature %d", int(f))
}

// Features are one value for each Feature.
type Features [FeatureCount]float64

const (
	nowTime   = 20 * time.Second // what is now
	longTime  = 4 * time.Minute  // what are the last minutes
	usualTime = time.Hour        // what is usual

	fewCalls = 4  // in a tick: with fewer, memory fades more slowly, so that little traffic does not mean good health
	doubt    = 5  // calls' worth of belief that all is as usual
	learned  = 50 // calls before the usual is known
	shareLow = 0.01
)

// fading returns what remains of a weight after a tick.
func fading(d time.Duration) float64 { return math.Exp(-float64(Tick) / float64(d)) }

var nowFade, longFade, usualFade = fading(nowTime), fading(longTime), fading(usualTime)

// State is what is kept of one endpoint: a few hundred bytes. The zero value
// knows nothing and is ready. Not safe for concurrent use.
type State struct {
	pace   [3]signal // first token, gap, latency
	shares [4]signal // faults, overloaded, limited, truncated
	tokens [2]signal // input, output
	bad    window
	slower float64
}

// Bad returns what share of calls got no whole answer, now.
func (s *State) Bad() float64 { return s.bad.near(0) }

// Drift returns by how much requests and answers are longer now than usual, as
// natural logarithms of the ratio; shorter is below 0. It does not make a failure
// more likely, but explains what looks like one.
func (s *State) Drift() (input, output float64) { return s.tokens[0].drift(), s.tokens[1].drift() }

// Recent returns how many calls are remembered as being now.
func (s *State) Recent() float64 { return s.bad.n }

// Slower returns by how much the first token came later than usual at the last
// tick, whatever the others: what Around wants of all endpoints.
func (s *State) Slower() float64 { return s.slower }

// signal is a mean now, over minutes and as usual.
type signal struct {
	now, long   window
	usual       window
	preset      float64
	presetKnown bool
}

// window is a fading sum over a fading count.
type window struct{ sum, n float64 }

func (w *window) add(sum, n, fade float64) {
	w.sum = w.sum*fade + sum
	w.n = w.n*fade + n
}

// near returns the mean, drawn towards a belief by doubt.
func (w *window) near(belief float64) float64 { return (w.sum + doubt*belief) / (w.n + doubt) }

// Baseline is what is usual for an endpoint at this hour, as learned from its
// past by whoever keeps one. Zero durations are not known.
type Baseline struct {
	FirstToken time.Duration
	Gap        time.Duration
	Latency    time.Duration
}

// Expect sets what is usual from now on, in place of what the state has seen
// itself.
func (s *State) Expect(b Baseline) {
	for i, d := range []time.Duration{b.FirstToken, b.Gap, b.Latency} {
		if s.pace[i].presetKnown = d > 0; d > 0 {
			s.pace[i].preset = math.Log(d.Seconds())
		}
	}
}

// Around is what is known of an endpoint's surroundings at a tick.
type Around struct {
	Neighbours float64 // share of the region's other endpoints that fail, 0 to 1
	Slower     float64 // FirstTokenNow of the model's other endpoints, the median: what all see is the traffic, not this endpoint
	Healthy    bool    // nothing is known to be wrong, so what is seen is usual: trouble must not become the custom
}

// Tick takes the calls of the last tick.
func (s *State) Tick(t *Stats, a Around) Features {
	// Time alone is no evidence: a tick with few calls fades memory less.
	age := min(1, float64(t.Calls)/fewCalls)
	now, long := 1.0, 1.0
	switch {
	case age == 1:
		now, long = nowFade, longFade
	case age > 0:
		now, long = math.Pow(nowFade, age), math.Pow(longFade, age)
	}
	var f Features
	for i, sum := range [...]Sum{t.FirstToken, t.Gap, t.Latency} {
		s.pace[i].add(sum.Log, float64(sum.N), now, long, a.Healthy)
	}
	for i, sum := range [...]Sum{t.Input, t.Output} {
		s.tokens[i].add(sum.Log, float64(sum.N), now, long, a.Healthy)
	}
	s.bad.add(float64(t.Bad()), float64(t.Calls), now)
	for i, n := range [...]uint32{t.Faults, t.Overloaded, t.Limited, t.Truncated} {
		s.shares[i].add(float64(n), float64(t.Calls), now, long, a.Healthy)
	}
	f[FirstTokenNow], f[FirstTokenLong] = s.first()
	s.slower = f[FirstTokenNow]
	f[FirstTokenNow], f[FirstTokenLong] = max(0, f[FirstTokenNow]-a.Slower), max(0, f[FirstTokenLong]-a.Slower)
	f[FirstTokenRise] = max(0, f[FirstTokenNow]-f[FirstTokenLong])
	f[GapNow], f[GapLong] = s.pace[1].slower()
	f[LatencyNow], _ = s.pace[2].slower()
	f[LatencyNow] = max(0, f[LatencyNow]-a.Slower)
	f[FaultsNow], f[FaultsLong] = s.shares[0].more()
	f[OverloadedNow], f[OverloadedLong] = s.shares[1].more()
	f[LimitedNow], f[LimitedLong] = s.shares[2].more()
	f[TruncatedNow], _ = s.shares[3].more()
	f[Neighbours] = a.Neighbours
	f[Together] = min(f[FirstTokenLong], 1) * min(f[FaultsLong]+f[OverloadedLong], 2)
	return f
}

// first returns by how much the first token comes later. Where answers are not
// streamed nobody sees it, and the whole answer stands for it, as far as it isn't
// longer than usual.
func (s *State) first() (now, long float64) {
	if s.pace[0].known() || !s.pace[2].known() {
		return s.pace[0].slower()
	}
	now, long = s.pace[2].slower()
	longer := max(0, s.tokens[1].drift())
	return max(0, now-longer), max(0, long-longer)
}

// known reports whether there is something to compare with.
func (g *signal) known() bool { return g.presetKnown || g.usual.n >= learned }

func (g *signal) add(sum, n, now, long float64, healthy bool) {
	g.now.add(sum, n, now)
	g.long.add(sum, n, long)
	if healthy && n > 0 {
		g.usual.add(sum, n, usualFade)
	}
}

// slower returns by how much a pace is slower than usual.
func (g *signal) slower() (now, long float64) {
	if !g.known() {
		return 0, 0
	}
	usual := g.preset
	if !g.presetKnown {
		usual = g.usual.sum / g.usual.n
	}
	return clamp(g.now.near(usual) - usual), clamp(g.long.near(usual) - usual)
}

// drift returns how far now is from the usual, in either direction.
func (g *signal) drift() float64 {
	if g.usual.n < learned {
		return 0
	}
	usual := g.usual.sum / g.usual.n
	return min(max(g.now.near(usual)-usual, -4), 4)
}

// more returns by how much a share is higher than usual. What is usual is never
// taken to be more than a few percent: always failing is not healthy.
func (g *signal) more() (now, long float64) {
	usual := min(g.usual.near(0), 0.03)
	ratio := func(share float64) float64 { return clamp(math.Log((share + shareLow) / (usual + shareLow))) }
	return ratio(g.now.near(usual)), ratio(g.long.near(usual))
}

func clamp(x float64) float64 { return min(max(x, 0), 4) }

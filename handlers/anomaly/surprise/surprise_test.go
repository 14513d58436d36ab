package surprise

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/sira-ai/sira/handlers/anomaly"
	"github.com/sira-ai/sira/pipeline/catalog"
)

var monday = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func build(t testing.TB, settings string) anomaly.Detector {
	t.Helper()
	d, err := catalog.New("detector", Entry).Build("surprise", catalog.Settings(settings), catalog.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// run gives a detector n points, five minutes apart.
func run(d anomaly.Detector, n int, value func(i int) float64) []anomaly.Verdict {
	out := make([]anomaly.Verdict, n)
	for i := range out {
		out[i] = d.Observe(monday.Add(time.Duration(i)*5*time.Minute), value(i))
	}
	return out
}

// noise is the same in every run.
func noise(seed uint64) func() float64 {
	return rand.New(rand.NewPCG(seed, 0)).NormFloat64
}

// day has a daily course: high by day, low by night.
func day(i int) float64 { return 50 - 40*math.Cos(2*math.Pi*float64(i%288)/288) }

func TestWhatIsStrangeIsNoticedAndNamed(t *testing.T) {
	t.Parallel()
	const n, at = 3000, 2500
	for _, tc := range []struct {
		name  string
		value func(noise float64, i int) float64
		kinds []anomaly.Kind
	}{
		{"a spike", func(e float64, i int) float64 {
			if i == at {
				return 40
			}
			return 10 + e
		}, []anomaly.Kind{anomaly.Extreme, anomaly.Jump, anomaly.Season}},
		{"a dip", func(e float64, i int) float64 {
			if i == at {
				return -20
			}
			return 10 + e
		}, []anomaly.Kind{anomaly.Extreme, anomaly.Jump, anomaly.Season}},
		{"a small shift that stays", func(e float64, i int) float64 {
			if i >= at {
				return 12 + e
			}
			return 10 + e
		}, []anomaly.Kind{anomaly.Level, anomaly.Season}},
		{"a restless time", func(e float64, i int) float64 {
			if i >= at {
				return 10 + 3*e
			}
			return 10 + e
		}, []anomaly.Kind{anomaly.Spread, anomaly.Jump, anomaly.Extreme, anomaly.Season}},
		{"a usual value at the wrong hour", func(e float64, i int) float64 {
			if i >= at-at%288+288 && i < at-at%288+300 { // midnight as busy as noon
				return 90 + e
			}
			return day(i) + e
		}, []anomaly.Kind{anomaly.Season, anomaly.Jump, anomaly.Spread}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := noise(1)
			verdicts := run(build(t, ""), n, func(i int) float64 { return tc.value(e(), i) })
			best := slices.MaxFunc(verdicts[at:], func(a, b anomaly.Verdict) int {
				if a.Score < b.Score {
					return -1
				}
				return 1
			})
			if best.Score < 0.5 {
				t.Errorf("it scores %.2f: %v", best.Score, best.Reason)
			}
			if !slices.Contains(tc.kinds, best.Reason.Kind) {
				t.Errorf("the reason is %v", best.Reason)
			}
			for i, v := range verdicts[:at] {
				if v.Score > 0.55 { // noise alone reaches 0.51 once
					t.Errorf("point %d of the quiet time scores %.2f: %v", i, v.Score, v.Reason)
				}
			}
		})
	}
}

func TestSeriesThatNeverChangesIsNeverStrange(t *testing.T) {
	t.Parallel()
	for i, v := range run(build(t, ""), 3000, func(int) float64 { return 45 }) {
		if v.Score > 0.3 {
			t.Fatalf("point %d scores %.2f: %v", i, v.Score, v.Reason)
		}
	}
}

func TestOneStrangeTimeIsOneAlarm(t *testing.T) {
	t.Parallel()
	e, alarms := noise(2), 0
	for _, v := range run(build(t, ""), 3000, func(i int) float64 {
		if i >= 2000 && i < 2040 {
			return 60 + e()
		}
		return 10 + e()
	}) {
		if v.Score >= 0.5 {
			alarms++
		}
	}
	if alarms < 1 || alarms > 2 {
		t.Errorf("forty strange points are %d alarms, want 1 or 2", alarms)
	}
}

func TestSameSeriesSameScores(t *testing.T) {
	t.Parallel()
	series := func() []anomaly.Verdict {
		e := noise(3)
		return run(build(t, ""), 2000, func(i int) float64 { return day(i) + e() })
	}
	if !slices.Equal(series(), series()) {
		t.Error("two runs over one series differ")
	}
}

func TestWhatIsNoNumberChangesNothing(t *testing.T) {
	t.Parallel()
	with, without := build(t, ""), build(t, "")
	e := noise(4)
	for i := range 500 {
		at, v := monday.Add(time.Duration(i)*time.Minute), e()
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			if got := with.Observe(at, bad); got != (anomaly.Verdict{}) {
				t.Fatalf("%v scores %v", bad, got)
			}
		}
		if a, b := with.Observe(at, v), without.Observe(at, v); a != b {
			t.Fatalf("point %d: %v after bad values, else %v", i, a, b)
		}
	}
}

func TestScoresStayWithinTheirBoundsWhateverTheValues(t *testing.T) {
	t.Parallel()
	d, r := build(t, `{"memory":200}`), rand.New(rand.NewPCG(5, 0))
	for i := range 5000 {
		v := math.Ldexp(r.NormFloat64(), r.IntN(600)-300)
		got := d.Observe(monday.Add(time.Duration(i)*time.Minute), v)
		if !(got.Score >= 0 && got.Score <= 1) {
			t.Fatalf("point %d, %v, scores %v", i, v, got.Score)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	d, r := tail{memory: 50}, rand.New(rand.NewPCG(6, 0))
	for i := range 1000 {
		d.add(float64(r.IntN(30))) // with many equal values
		if len(d.sorted) > 50 || len(d.ring) > 50 {
			t.Fatalf("after %d values %d are kept", i, len(d.sorted))
		}
		same := slices.Sorted(slices.Values(d.ring))
		if !slices.Equal(same, d.sorted) {
			t.Fatalf("after %d values the sorted ones are not those of the ring", i)
		}
	}
}

func TestRarityIsCalibrated(t *testing.T) {
	t.Parallel()
	// Of exponential values, a share of 10^-r has a rarity of r or more.
	d, r := tail{memory: 4000}, rand.New(rand.NewPCG(7, 0))
	counts := map[int]int{}
	const n = 200_000
	for i := range n {
		v := r.ExpFloat64()
		if i >= 1000 {
			for k := 1; k <= 3; k++ {
				if d.rarity(v) >= float64(k) {
					counts[k]++
				}
			}
		}
		d.add(v)
	}
	for k, seen := range counts {
		want := float64(n-1000) * math.Pow(10, -float64(k))
		if float64(seen) < 0.8*want || float64(seen) > 1.25*want {
			t.Errorf("rarity %d was reached %d times, want about %.0f", k, seen, want)
		}
	}
}

func TestSettingsThatMakeNoSenseAreRefused(t *testing.T) {
	t.Parallel()
	for _, s := range []string{`{"warmup":3}`, `{"memory":50}`, `{"rest":-1}`, `{"memory":9999999}`} {
		if err := catalog.New("detector", Entry).Check("surprise", catalog.Settings(s)); err == nil {
			t.Errorf("%s was accepted", s)
		}
	}
}

// Run with go test ./handlers/anomaly/surprise -bench Observe -benchmem.
func BenchmarkObserve(b *testing.B) {
	d, e := build(b, ""), noise(8)
	for i := range 5000 {
		d.Observe(monday.Add(time.Duration(i)*5*time.Minute), day(i)+e())
	}
	i := 5000
	for b.Loop() {
		d.Observe(monday.Add(time.Duration(i)*5*time.Minute), day(i)+e())
		i++
	}
}

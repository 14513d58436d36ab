package predict

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/anomaly/endpoint"
)

func model(t testing.TB) *Model {
	t.Helper()
	m, err := Default()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWorseNeverMeansLessLikely(t *testing.T) {
	t.Parallel()
	m, r := model(t), rand.New(rand.NewPCG(1, 0))
	for range 2000 {
		var f endpoint.Features
		for i := range f {
			f[i] = 2 * r.Float64() * float64(r.IntN(2))
		}
		p := m.Probability(&f, 0)
		if !(p >= 0 && p <= 1) {
			t.Fatalf("probability %v", p)
		}
		i := r.IntN(len(f))
		f[i] += r.Float64()
		if q := m.Probability(&f, 0); q < p {
			t.Fatalf("with more of %s the probability falls from %v to %v", endpoint.Feature(i), p, q)
		}
	}
}

func TestGoodHealthIsUnlikelyToFailAndAFailingEndpointIsKnown(t *testing.T) {
	t.Parallel()
	m := model(t)
	if p := m.Probability(new(endpoint.Features), 0); p > 0.02 {
		t.Errorf("with nothing worse than usual the probability is %v", p)
	}
	if p := m.Probability(new(endpoint.Features), 0.5); p < 0.9 {
		t.Errorf("with half of the calls failing the probability is %v", p)
	}
}

func TestReasonsNameWhatWeighsMost(t *testing.T) {
	t.Parallel()
	var f endpoint.Features
	f[endpoint.FirstTokenRise], f[endpoint.LimitedNow] = 0.6, 0.2
	reasons := model(t).Reasons(&f, 2)
	if len(reasons) != 2 || reasons[0].Feature != endpoint.FirstTokenRise || !strings.Contains(reasons[0].String(), "1.8 times") {
		t.Errorf("reasons %v", reasons)
	}
}

func TestTrainingFindsWhatExamplesWereMadeBy(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(2, 0))
	truth := func(f *endpoint.Features) float64 {
		return 1 / (1 + math.Exp(3-2*f[endpoint.GapNow]-1*f[endpoint.FaultsNow]))
	}
	draw := func(n int) []Example {
		examples := make([]Example, n)
		for i := range examples {
			e := &examples[i]
			e.Weight = 1
			for j := range e.Features {
				e.Features[j] = 2 * r.Float64()
			}
			e.Fails = r.Float64() < truth(&e.Features)
		}
		return examples
	}
	m, err := Train("a test", draw(40_000), 0.5)
	if err != nil {
		t.Fatal(err)
	}
	if g, f := m.Coefficients["gap_now"], m.Coefficients["faults_now"]; math.Abs(g-2) > 0.15 || math.Abs(f-1) > 0.15 {
		t.Errorf("coefficients %v, want about 2 for gap_now and 1 for faults_now", m.Coefficients)
	}
	off := 0.0
	fresh := draw(5000)
	for i := range fresh {
		f := &fresh[i].Features
		off += math.Abs(m.Probability(f, 0)-truth(f)) / float64(len(fresh))
	}
	if off > 0.03 {
		t.Errorf("probabilities are off by %.3f on average", off)
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Read(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, again, cmp.AllowUnexported(Model{})); diff != "" {
		t.Errorf("written and read it differs:\n%s", diff)
	}
}

func TestModelThatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	for document, want := range map[string]string{
		`[`: "reading model",
		`{"coefficients":{"moon":1},"calibration":[{"said":0,"seen":0},{"said":1,"seen":1}]}`: "features that there are not",
		`{"calibration":[]}`: "two knots",
		`{"calibration":[{"said":0,"seen":0.5},{"said":1,"seen":0.1}]}`: "does not ascend",
	} {
		if _, err := Read([]byte(document)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", document, err, want)
		}
	}
	if _, err := Train("", []Example{{}, {}}, 0.5); err == nil {
		t.Error("training on nothing that fails was accepted")
	}
}

func FuzzModel(f *testing.F) {
	f.Add(trained)
	f.Fuzz(func(t *testing.T, document []byte) {
		m, err := Read(document)
		if err != nil {
			return
		}
		m.Probability(new(endpoint.Features), 0)
	})
}

func policy(t *testing.T, n int) *Policy {
	t.Helper()
	p, err := NewPolicy(DefaultPolicy(), n)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWeightDropsAtOnceAndRisesSlowly(t *testing.T) {
	t.Parallel()
	p := policy(t, 3)
	if s := p.Step([]float64{0.8, 0, 0}); len(s) != 1 || p.Share(0) != 5 {
		t.Fatalf("shifts %v, share %d, want one shift to 5", s, p.Share(0))
	}
	ticks, restored := 0, -1
	for p.Share(0) < 100 {
		for _, s := range p.Step([]float64{0.01, 0, 0}) {
			if s.To == 100 {
				restored = ticks
			}
		}
		if ticks++; ticks > 1000 {
			t.Fatal("calls never come back")
		}
	}
	if calm := time.Duration(restored) * endpoint.Tick; calm < 3*time.Minute || ticks-restored < 40 {
		t.Errorf("calls begin to come back after %s, and are back %d ticks later", calm, ticks-restored)
	}
}

func TestWaveringProbabilityMovesNothing(t *testing.T) {
	t.Parallel()
	p, shifts := policy(t, 3), 0
	for i := range 1000 {
		shifts += len(p.Step([]float64{[]float64{0.65, 0.2, 0.05}[i%3], 0, 0}))
	}
	if shifts != 1 {
		t.Errorf("%d shifts, want the first drop alone", shifts)
	}
}

func TestNeverMoreThanAThirdAndNeverBelowATrickle(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 0))
	for n := range 12 {
		p := policy(t, n)
		for range 500 {
			probabilities := make([]float64, n)
			for i := range probabilities {
				probabilities[i] = r.Float64()
			}
			p.Step(probabilities)
			low := 0
			for i := range n {
				if p.holds[i].Low {
					low++
				}
				if p.Share(i) < 5 || p.Share(i) > 100 {
					t.Fatalf("share %d", p.Share(i))
				}
			}
			if low > n/3 {
				t.Fatalf("%d of %d endpoints are low", low, n)
			}
		}
	}
}

func TestLikeliestFailureIsAvoidedFirst(t *testing.T) {
	t.Parallel()
	p := policy(t, 3)
	p.Step([]float64{0.7, 0.9, 0.8})
	if p.Share(0) != 100 || p.Share(1) != 5 || p.Share(2) != 100 {
		t.Errorf("shares %d, %d, %d", p.Share(0), p.Share(1), p.Share(2))
	}
}

// Endpoint 0 answers for two models, one of which has no other three.
func TestAnEndpointOfSeveralModelsIsHeldBackOnlyIfEachCanSpareIt(t *testing.T) {
	t.Parallel()
	c := DefaultPolicy()
	holds := make([]Hold, 6)
	for i := range holds {
		holds[i] = Whole()
	}
	models := [][]int{{0, 1, 2, 3, 4, 5}, {0, 1}}
	shifts := c.Step(holds, []float64{0.99, 0, 0.8, 0.7, 0.9, 0}, models, endpoint.Tick)
	if len(shifts) != 2 || !holds[4].Low || !holds[2].Low {
		t.Errorf("shifts %v, holds %v, want 4 and 2 low", shifts, holds)
	}
}

func TestPolicyThatMakesNoSenseIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []PolicyConfig{
		{},
		{Enter: 0.2, Leave: 0.5, Trickle: 5, Rise: 1},
		{Enter: 0.5, Leave: 0.1, Rise: 1},
		{Enter: 0.5, Leave: 0.1, Trickle: 5},
		{Enter: math.NaN(), Leave: 0.1, Trickle: 5, Rise: 1},
	} {
		if _, err := NewPolicy(c, 3); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

// Run with go test ./handlers/anomaly/predict -bench . -benchmem.
func BenchmarkProbability(b *testing.B) {
	b.ReportAllocs()
	m := model(b)
	var f endpoint.Features
	for i := range f {
		f[i] = 0.1
	}
	for b.Loop() {
		m.Probability(&f, 0)
	}
}

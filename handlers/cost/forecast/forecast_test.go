package forecast

import (
	"encoding/csv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// servegen returns the requests of all clients of a real trace by the hour, two
// weeks of them; none where it is not at hand.
func servegen(t testing.TB) []float64 {
	t.Helper()
	files, err := filepath.Glob("../../../../shared/data/workloads/servegen/m-small/*-trace.csv")
	if err != nil || len(files) == 0 {
		return nil
	}
	out := make([]float64, 336)
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		in := csv.NewReader(f)
		in.FieldsPerRecord = -1
		lines, err := in.ReadAll()
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range lines {
			at, err1 := strconv.ParseFloat(l[0], 64)
			rate, err2 := strconv.ParseFloat(l[1], 64)
			if err1 == nil && err2 == nil && at < 336*3600 {
				out[int(at)/3600] += rate * 600
			}
		}
	}
	return out
}

// clients is two weeks of a service by the hour: many clients, each with hours and a
// size of its own, some of whom come late or send in bursts.
func clients(seed uint64) []float64 {
	rng := rand.New(rand.NewPCG(seed, 2))
	out := make([]float64, 336)
	for range 60 {
		size, peak, from := math.Exp(3+rng.NormFloat64()), 8+8*rng.Float64(), 0
		if rng.Float64() < 0.2 {
			from = rng.IntN(len(out))
		}
		for i := from; i < len(out); i++ {
			shape := 0.2 + math.Exp(-math.Pow((float64(i%24)-peak)/4, 2))
			if i/24%7 >= 5 {
				shape *= 0.8
			}
			out[i] += size * shape * math.Exp(0.5*rng.NormFloat64())
		}
	}
	return out
}

func TestTracesOfManyClientsAreForecastBetterThanNaively(t *testing.T) {
	t.Parallel()
	traces := map[string][]float64{"ours": clients(1), "ServeGen": servegen(t)}
	for name, series := range traces {
		if series == nil {
			continue
		}
		r, err := Backtest(series, Config{Season: 24, Horizon: 6}, 120, 6)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%s: %+v", name, *r)
		if r.Relative >= 1 {
			t.Errorf("%s: the error is %.3f of the seasonal naive one; want below 1", name, r.Relative)
		}
		if r.Coverage < 0.85 || r.Coverage > 0.95 {
			t.Errorf("%s: the interval of 90 %% holds in %.1f %%", name, 100*r.Coverage)
		}
	}
}

// synthetic is three weeks of a day's shape with noise that grows with it.
func synthetic(seed uint64, days int) []float64 {
	rng := rand.New(rand.NewPCG(seed, 1))
	out := make([]float64, days*24)
	for i := range out {
		shape := 100 + 60*math.Sin(2*math.Pi*float64(i%24)/24)
		out[i] = math.Max(0, shape*(1+0.1*rng.NormFloat64())+0.05*float64(i))
	}
	return out
}

func TestIntervalsHoldAsOftenAsTheySay(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		r, err := Backtest(synthetic(seed, 28), Config{Season: 24, Horizon: 24, Origins: 40}, 14*24, 24)
		if err != nil {
			t.Fatal(err)
		}
		if r.Coverage < 0.85 || r.Coverage > 0.98 || r.Relative >= 1 || r.MASE >= 1 {
			t.Errorf("seed %d: %+v", seed, *r)
		}
	}
}

func TestAForecastDependsOnThePastAlone(t *testing.T) {
	t.Parallel()
	series := synthetic(1, 14)
	a, err := Make(series[:300], Config{})
	if err != nil {
		t.Fatal(err)
	}
	for i := 300; i < len(series); i++ {
		series[i] = 1e9
	}
	b, err := Make(series[:300], Config{})
	if err != nil {
		t.Fatal(err)
	}
	for h := range a.Points {
		if a.Points[h] != b.Points[h] {
			t.Fatalf("step %d: %+v and %+v", h, a.Points[h], b.Points[h])
		}
	}
	if len(a.Scores) != len(models()) || a.Model != a.Scores[0].Model || !a.Calibrated {
		t.Errorf("%+v", a.Scores)
	}
}

func TestABudgetIsExhaustedWithinItsInterval(t *testing.T) {
	t.Parallel()
	series := make([]float64, 24*10)
	for i := range series {
		series[i] = 10 + float64(i%3)
	}
	f, err := Make(series, Config{Horizon: 48})
	if err != nil {
		t.Fatal(err)
	}
	e := f.Exhausts(105)
	if e.Expected != 10 || e.Earliest > e.Expected || e.Latest < e.Expected {
		t.Errorf("got %+v, want 10", e)
	}
	if e := f.Exhausts(1e6); e != (Exhaustion{}) {
		t.Errorf("never: %+v", e)
	}
	if e := f.Exhausts(0); e.Expected != 1 {
		t.Errorf("at once: %+v", e)
	}
}

func TestOddSeriesAreRefusedOrSurvived(t *testing.T) {
	t.Parallel()
	for name, series := range map[string][]float64{"short": make([]float64, 71), "negative": append(make([]float64, 100), -1), "nan": append(make([]float64, 100), math.NaN())} {
		if _, err := Make(series, Config{}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	f, err := Make(make([]float64, 100), Config{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range f.Points {
		if p != (Point{}) {
			t.Fatalf("of nothing comes %+v", p)
		}
	}
	if _, err := Make(make([]float64, 100), Config{Season: 1, Horizon: -1, Level: 2, Origins: -1}); err == nil {
		t.Error("a wrong configuration was taken")
	}
}

func BenchmarkMake(b *testing.B) { // go test -bench Make ./handlers/cost/forecast
	series := synthetic(1, 28)
	for b.Loop() {
		if _, err := Make(series, Config{}); err != nil {
			b.Fatal(err)
		}
	}
}

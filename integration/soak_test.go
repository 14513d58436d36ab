package integration

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestSoakLosesAndDoublesNothingAndStaysFlat(t *testing.T) {
	heavy(t)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	site, err := NewSite(t.Context(), path, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(site.Close)
	// So many that a worker's first seconds, in which its heap finds its size, are a
	// small part: with 40,000 a quick machine measured little else, and with 200,000 still much.
	s, err := site.Soak(t.Context(), SoakConfig{Requests: 400_000, Workers: 2, Window: 5000, Limit: 5 * time.Minute, Say: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", s)
	if err := s.Faults(); err != nil {
		t.Error(err)
	}
}

func TestSoakFindsWhatGrows(t *testing.T) {
	t.Parallel()
	// 100 MiB that scatter by 10, and grow by 20 bytes for each of two million requests.
	rnd := rand.New(rand.NewPCG(1, 1))
	var samples []sample
	for i := range 400 {
		at := float64(i) * 5000
		samples = append(samples, sample{at, Vital{ResidentMiB: 100 + 10*rnd.Float64() + at*20/(1<<20), Goroutines: 1000 + 50*rnd.Float64()}})
	}
	median, slope := line(samples, func(s sample) float64 { return s.ResidentMiB })
	if bytes := slope * (1 << 20); math.Abs(bytes-20) > 2 || median < 110 || median > 140 {
		t.Errorf("median %g MiB, %g bytes a request; want about 124 and 20", median, bytes)
	}
	if _, slope := line(samples, func(s sample) float64 { return s.Goroutines }); math.Abs(slope*2e6) > 20 {
		t.Errorf("noise is taken for a growth of %g goroutines", slope*2e6)
	}
	good := Soak{Workers: []Wear{{Process: "w", ResidentMiB: 100, ResidentGrowth: 20, Goroutines: 1000, GoroutinesGrowth: 100}}}
	if err := good.Faults(); err != nil {
		t.Errorf("a steady run: %v", err)
	}
	for says, spoil := range map[string]func(*Soak){
		"lost results":   func(s *Soak) { s.LostResults = 1 },
		"doubled costs":  func(s *Soak) { s.DoubledCosts = 1 },
		"failures":       func(s *Soak) { s.Failed = 1 },
		"bytes":          func(s *Soak) { s.Workers = []Wear{{Process: "w", ResidentMiB: 100, ResidentGrowth: 38}} },
		"200 goroutines": func(s *Soak) { s.Workers = []Wear{{Process: "w", Goroutines: 1000, GoroutinesGrowth: 200.4}} },
	} {
		s := good
		spoil(&s)
		if err := s.Faults(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("a run with %s: %v", says, err)
		}
	}
}

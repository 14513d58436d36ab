package simulate_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/simulate"
)

// inside calls the simulator without a network, for use in a bubble.
func inside(ctx context.Context, sim *simulate.Simulator, body string, headers ...string) (w *httptest.ResponseRecorder, took time.Duration) {
	r := httptest.NewRequest(http.MethodPost, chatPath, strings.NewReader(body)).WithContext(ctx)
	r.Header.Set("Authorization", "Bearer any")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w = httptest.NewRecorder()
	started := time.Now()
	sim.ServeHTTP(w, r)
	return w, time.Since(started)
}

func TestLatencyFollowsItsDistribution(t *testing.T) {
	t.Parallel()
	ms := func(n int) simulate.Duration { return simulate.Duration(time.Duration(n) * time.Millisecond) }
	for name, c := range map[string]struct {
		latency                simulate.Latency
		low, median, far, high time.Duration // bounds of all, and about the middle and the 99th percentile
	}{
		"none":      {latency: simulate.Latency{}},
		"fixed":     {latency: simulate.Latency{Kind: "fixed", Value: ms(40)}, low: 40e6, median: 40e6, far: 40e6, high: 40e6},
		"uniform":   {latency: simulate.Latency{Kind: "uniform", Min: ms(100), Max: ms(300)}, low: 100e6, median: 200e6, far: 298e6, high: 300e6},
		"lognormal": {latency: simulate.Latency{Kind: "lognormal", Median: ms(100), Sigma: 0.5}, low: 1, median: 100e6, far: 320e6, high: 2e9},
		"bounded":   {latency: simulate.Latency{Kind: "lognormal", Median: ms(100), Sigma: 2, Max: ms(150)}, low: 1, median: 100e6, far: 150e6, high: 150e6},
		"stragglers": {
			latency: simulate.Latency{Kind: "fixed", Value: ms(10), Stragglers: simulate.Stragglers{Share: 0.1, Latency: ms(3000)}},
			low:     10e6, median: 10e6, far: 3e9, high: 3e9,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := simulate.New(simulate.Config{Instances: map[string]simulate.Behaviour{"default": {Latency: c.latency}}}, zap.NewNop())
				const n = 4000
				took := make([]time.Duration, n)
				for i := range took {
					_, took[i] = inside(t.Context(), sim, chatBody)
				}
				slices.Sort(took)
				if took[0] < c.low || took[n-1] > c.high {
					t.Errorf("from %v to %v, want within %v and %v", took[0], took[n-1], c.low, c.high)
				}
				near(t, "median", took[n/2], c.median)
				near(t, "99th percentile", took[n*99/100], c.far)
			})
		})
	}
}

func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if d := (got - want).Abs(); d > want*15/100 {
		t.Errorf("%s %v, want about %v", what, got, want)
	}
}

func TestHeaderSetsTheLatencyOfOneCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := simulate.New(simulate.Config{}, zap.NewNop())
		if w, took := inside(t.Context(), sim, chatBody, "X-Sim-Latency", "3s"); took != 3*time.Second || w.Header().Get("Openai-Processing-Ms") != "3000" {
			t.Errorf("took %v, reported %s", took, w.Header().Get("Openai-Processing-Ms"))
		}
		if w, took := inside(t.Context(), sim, chatBody, "X-Sim-Latency", "3s", "X-Sim-Fault", "429"); took != 3*time.Second || w.Code != 429 {
			t.Errorf("with a fault: took %v, status %d", took, w.Code)
		}
		if _, took := inside(t.Context(), sim, chatBody, "X-Sim-Fault", "slow;latency=7s"); took != 7*time.Second {
			t.Errorf("slow took %v", took)
		}
	})
}

func TestStreamKeepsItsPace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := simulate.New(simulate.Config{Instances: map[string]simulate.Behaviour{"default": {
			TokensPerSecond: 50, Tokens: simulate.Tokens{Min: 101, Max: 101},
			Latency: simulate.Latency{Kind: "fixed", Value: simulate.Duration(time.Second)},
		}}}, zap.NewNop())
		if _, took := inside(t.Context(), sim, chatStream); took != 3*time.Second {
			t.Errorf("a second and 100 intervals of 20ms took %v", took)
		}
		if _, took := inside(t.Context(), sim, chatStream, "X-Sim-Fault", "slow;latency=5s"); took != 8*time.Second {
			t.Errorf("with a slow start: %v", took)
		}
		if _, took := inside(t.Context(), sim, chatBody); took != time.Second {
			t.Errorf("an answer in one piece took %v", took)
		}
	})
}

func TestSilenceEndsAtItsLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := simulate.New(simulate.Config{}, zap.NewNop())
		started := time.Now()
		func() {
			defer func() {
				if recovered := recover(); recovered != http.ErrAbortHandler { //nolint:errorlint // a panic's value, compared as net/http does
					t.Errorf("recovered %v", recovered)
				}
			}()
			inside(t.Context(), sim, chatBody, "X-Sim-Fault", "silence")
		}()
		if took := time.Since(started); took != 5*time.Minute {
			t.Errorf("held for %v", took)
		}
	})
}

func TestThousandsOfCallsWaitAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		sim := simulate.New(simulate.Config{}, zap.NewNop())
		ctx, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 5000 {
			wg.Go(func() { inside(t.Context(), sim, chatBody, "X-Sim-Latency", "1m") })
			wg.Go(func() { inside(ctx, sim, chatStream, "X-Sim-Latency", "1h") })
		}
		synctest.Wait()
		if got := sim.Stats().Total; got.InFlight != 10000 {
			t.Errorf("under way: %+v", got)
		}
		leave()
		started := time.Now()
		wg.Wait()
		if took := time.Since(started); took != time.Minute {
			t.Errorf("all took %v", took)
		}
		if got := sim.Stats().Total; got != (simulate.Counts{Started: 10000, Finished: 5000, CutOff: 5000}) {
			t.Errorf("at the end: %+v", got)
		}
	})
}

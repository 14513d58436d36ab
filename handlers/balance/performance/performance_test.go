package performance_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/performance"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

func pool(t *testing.T, settings string, endpoints ...balance.EndpointConfig) *balance.Pool {
	t.Helper()
	b, err := catalog.New("balancer", performance.Entry).Build("performance", catalog.Settings(settings), catalog.Env{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := balance.NewPool("acme", balance.Defaults(), b, endpoints, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// draw makes n calls, each with its answer, and returns each endpoint's share.
func draw(t *testing.T, p *balance.Pool, n int, answer func(id string) (time.Duration, *schemas.Failure)) map[string]float64 {
	t.Helper()
	got := map[string]float64{}
	for range n {
		l, err := p.Acquire(0, "", "m", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		got[l.Endpoint.ID] += 1 / float64(n)
		took, failure := answer(l.Endpoint.ID)
		l.Done(failure, took)
	}
	return got
}

func even(string) (time.Duration, *schemas.Failure) { return time.Second, nil }

func TestEqualPerformanceIsDrawnByWeight(t *testing.T) {
	t.Parallel()
	const n = 1_000_000
	b, err := performance.New(performance.Config{Latency: 1, Success: 4, Bound: 4, Every: balance.Duration(time.Hour), Seed: 1}, catalog.Env{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := balance.NewPool("acme", balance.Defaults(), b,
		[]balance.EndpointConfig{{ID: "a", Weight: 5}, {ID: "b", Weight: 3}, {ID: "c", Weight: 2}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	draw(t, p, 100, even)
	got, all := map[string]float64{}, p.Endpoints()
	for range n {
		got[b.Pick(0, all).ID] += 1.0 / n
	}
	for id, want := range map[string]float64{"a": 0.5, "b": 0.3, "c": 0.2} {
		if math.Abs(got[id]-want) > 0.01*want {
			t.Errorf("%s got a share of %.4f, want %.1f within 1 %%", id, got[id], want)
		}
	}
}

func TestSharesFollowPerformanceWithinTheBound(t *testing.T) {
	t.Parallel()
	two := []balance.EndpointConfig{{ID: "a"}, {ID: "b"}}
	failure := &schemas.Failure{Code: schemas.Overloaded}
	n := 0
	tests := []struct {
		name     string
		settings string
		answer   func(id string) (time.Duration, *schemas.Failure)
		low      float64 // share of b
		high     float64
	}{
		{"an endpoint twice as slow gets half", "", slow(2 * time.Second), 0.32, 0.35},
		{"one a thousand times as slow gets what the bound leaves", "", slow(1000 * time.Second), 0.05, 0.07},
		{"a bound of 1 leaves the weights", `{"bound":1}`, slow(10 * time.Second), 0.48, 0.52},
		{"one that fails now and then gets less", "", func(id string) (time.Duration, *schemas.Failure) {
			if n++; id == "b" && n%50 == 0 {
				return time.Second, failure
			}
			return time.Second, nil
		}, 0.3, 0.499},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := pool(t, tt.settings, two...)
				draw(t, p, 1000, tt.answer)
				time.Sleep(time.Second) // synctest's clock: performance is looked at again
				if got := draw(t, p, 20_000, tt.answer)["b"]; got < tt.low || got > tt.high {
					t.Errorf("got a share of %.3f, want %v to %v", got, tt.low, tt.high)
				}
			})
		})
	}
}

func slow(d time.Duration) func(string) (time.Duration, *schemas.Failure) {
	return func(id string) (time.Duration, *schemas.Failure) {
		if id == "b" {
			return d, nil
		}
		return time.Second, nil
	}
}

func TestReplacedEndpointsAreJudgedAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := pool(t, "", balance.EndpointConfig{ID: "a"}, balance.EndpointConfig{ID: "b"})
		draw(t, p, 1000, slow(4*time.Second))
		if err := p.Replace([]balance.EndpointConfig{{ID: "a"}, {ID: "c"}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute) // synctest's clock: the slow start is over
		if got := draw(t, p, 10_000, even)["c"]; math.Abs(got-0.5) > 0.03 {
			t.Errorf("the newcomer's share is %.3f", got)
		}
	})
}

func TestMistakesSayWhatToWrite(t *testing.T) {
	t.Parallel()
	if err := catalog.New("balancer", performance.Entry).Check("performance", catalog.Settings(`{"every":"2s","latency":0}`)); err != nil {
		t.Error(err)
	}
	for _, settings := range []string{`{"every":2}`, `{"latency":-1}`, `{"success":99}`, `{"bound":0.5}`, `{"every":"0s"}`} {
		if err := catalog.New("balancer", performance.Entry).Check("performance", catalog.Settings(settings)); err == nil {
			t.Errorf("%s was accepted", settings)
		}
	}
}

package spillover_test

import (
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/spillover"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

func pool(t *testing.T, settings string, endpoints ...balance.EndpointConfig) *balance.Pool {
	t.Helper()
	b, err := catalog.New("balancer", spillover.Entry).Build("spillover", catalog.Settings(settings), catalog.Env{})
	if err != nil {
		t.Fatal(err)
	}
	c := balance.Defaults()
	c.Locality.Region, c.Locality.Zone = "eu", "a"
	p, err := balance.NewPool("acme", c, b, endpoints, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// regions is four endpoints in each of two regions, all of one priority.
func regions() (out []balance.EndpointConfig) {
	for i := range 4 {
		out = append(out,
			balance.EndpointConfig{ID: fmt.Sprint("us", i), Region: "us", Key: fmt.Sprint("us", i)},
			balance.EndpointConfig{ID: fmt.Sprint("eu", i), Region: "eu", Zone: "a", Key: fmt.Sprint("eu", i)})
	}
	return out
}

// shares makes n calls, one after the other, and returns what each group got.
func shares(t *testing.T, p *balance.Pool, n int, group func(*balance.Endpoint) string) map[string]float64 {
	t.Helper()
	got := map[string]float64{}
	for range n {
		l, err := p.Acquire(0, "", "m", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		got[group(l.Endpoint)] += 1 / float64(n)
		l.Done(&schemas.Failure{Code: schemas.Cancelled}, 0)
	}
	return got
}

func region(e *balance.Endpoint) string { return e.Region }

// rest makes an endpoint unusable for some minutes: its key is used up.
func rest(t *testing.T, p *balance.Pool, id string) {
	t.Helper()
	for range 1000 {
		l, err := p.Acquire(0, "", "m", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if l.Endpoint.ID == id {
			l.Done(&schemas.Failure{Code: schemas.QuotaExhausted}, 0)
			return
		}
		l.Done(&schemas.Failure{Code: schemas.Cancelled}, 0)
	}
	t.Fatalf("%s was never asked", id)
}

// With four endpoints near and 140 %: three take all (105 %), two 70 %, one 35 %.
func TestCallsSpillOverByHealthShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := pool(t, "", regions()...)
		for gone, want := range []float64{1, 1, 0.7, 0.35, 0} {
			if gone > 0 {
				rest(t, p, fmt.Sprint("eu", gone-1))
			}
			if got := shares(t, p, 20_000, region)["eu"]; math.Abs(got-want) > 0.015 {
				t.Errorf("with %d of 4 gone, the near region got %.3f of the calls, want %.2f", gone, got, want)
			}
		}
	})
}

func TestPriorityComesBeforeDistance(t *testing.T) {
	t.Parallel()
	p := pool(t, "",
		balance.EndpointConfig{ID: "reserved", Region: "us"},
		balance.EndpointConfig{ID: "near", Region: "eu", Zone: "a", Priority: 1},
		balance.EndpointConfig{ID: "far", Region: "us", Priority: 1})
	got := shares(t, p, 1000, func(e *balance.Endpoint) string { return e.ID })
	if got["reserved"] < 0.999 {
		t.Errorf("got %v", got)
	}
}

func TestTheZoneComesBeforeTheRegion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := pool(t, "",
			balance.EndpointConfig{ID: "far", Region: "us", Key: "1"},
			balance.EndpointConfig{ID: "next", Region: "eu", Zone: "b", Key: "2"},
			balance.EndpointConfig{ID: "near", Region: "eu", Zone: "a", Key: "3"})
		for _, want := range []string{"near", "next", "far"} {
			if got := shares(t, p, 100, func(e *balance.Endpoint) string { return e.ID })[want]; got < 0.999 {
				t.Errorf("%s got %v of the calls", want, got)
			}
			rest(t, p, want)
			if want == "next" {
				break
			}
		}
		l, err := p.Acquire(0, "", "m", time.Now())
		if err != nil || l.Endpoint.ID != "far" {
			t.Errorf("got %v, %v", l, err)
		}
	})
}

func TestAFullLevelSpillsOverAndAFullPoolStillAnswers(t *testing.T) {
	t.Parallel()
	p := pool(t, `{"max_in_flight":5}`, regions()...)
	got := map[string]int{}
	for range 40 {
		l, err := p.Acquire(0, "", "m", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		got[l.Endpoint.Region]++
	}
	if got["eu"] != 20 || got["us"] != 20 {
		t.Errorf("got %v, want 5 at each endpoint", got)
	}
	if _, err := p.Acquire(0, "", "m", time.Now()); err != nil {
		t.Errorf("a pool over its bound refused: %v", err)
	}
}

func TestARequestForARegionStaysInIt(t *testing.T) {
	t.Parallel()
	p := pool(t, "", regions()...)
	for range 50 {
		l, err := p.Acquire(0, "us", "m", time.Now())
		if err != nil || l.Endpoint.Region != "us" {
			t.Fatalf("got %v, %v", l, err)
		}
	}
}

// A prediction lowers shares; what they give up spills over.
func TestALoweredShareSpillsOver(t *testing.T) {
	t.Parallel()
	p := pool(t, "", regions()...)
	for _, e := range p.InRegion("eu") {
		e.SetShare(25)
	}
	// One of the two is free for 6 in 16 calls and then takes 70 %, both are for 1 in 16.
	if got := shares(t, p, 20_000, region)["eu"]; math.Abs(got-0.325) > 0.015 {
		t.Errorf("the near region got %.3f of the calls, want 0.325", got)
	}
}

func TestMistakesSayWhatToWrite(t *testing.T) {
	t.Parallel()
	for _, settings := range []string{`{"overprovision":50}`, `{"max_in_flight":-1}`} {
		if err := catalog.New("balancer", spillover.Entry).Check("spillover", catalog.Settings(settings)); err == nil {
			t.Errorf("%s was accepted", settings)
		}
	}
}

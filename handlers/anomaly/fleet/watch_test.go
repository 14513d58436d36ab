package fleet

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/anomaly/endpoint"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

func TestNoCallIsLostOrCountedTwiceWhileReportsAreMade(t *testing.T) {
	t.Parallel()
	var (
		w     Watch
		wg    sync.WaitGroup
		total = map[Name]uint32{}
	)
	done := make(chan struct{})
	for i := range 4 {
		wg.Go(func() {
			for j := range 5000 {
				w.Observe(Name{"p", fmt.Sprint((i + j) % 7)}, endpoint.Call{Latency: time.Second})
			}
		})
	}
	go func() { wg.Wait(); close(done) }()
	take := func() {
		for n, s := range w.Take(map[Name]bool{}) {
			total[n] += s.Calls
		}
	}
	for ended := false; !ended; {
		select {
		case <-done:
			ended = true
		default:
		}
		take()
	}
	take()
	sum := uint32(0)
	for _, n := range total {
		sum += n
	}
	if sum != 20_000 || len(total) != 7 {
		t.Errorf("%d calls of %d endpoints", sum, len(total))
	}
}

func TestWatchForgetsWhatLeftAndIsBounded(t *testing.T) {
	t.Parallel()
	var w Watch
	for i := range mostEndpoints + 10 {
		w.Observe(Name{"p", fmt.Sprint(i)}, endpoint.Call{})
	}
	stay := Name{"p", "7"}
	if got := len(w.Take(map[Name]bool{stay: true})); got != mostEndpoints {
		t.Errorf("%d endpoints had calls", got)
	}
	w.Take(map[Name]bool{stay: true})
	if known := *w.cells.Load(); len(known) != 1 || known[stay] == nil {
		t.Errorf("%d endpoints are kept", len(known))
	}
}

func TestWhatAnAttemptTellsOfItsEndpoint(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		code  schemas.Code
		phase schemas.Phase
		want  endpoint.Outcome
		tells bool
	}{
		{schemas.OK, "", endpoint.OK, true},
		{schemas.RateLimited, schemas.PhaseHeaders, endpoint.Limited, true},
		{schemas.RateLimited, schemas.PhaseLocal, endpoint.Limited, false},
		{schemas.Overloaded, schemas.PhaseHeaders, endpoint.Overloaded, true},
		{schemas.StreamInterrupted, schemas.PhaseOutput, endpoint.Truncated, true},
		{schemas.Timeout, schemas.PhaseSent, endpoint.Fault, true},
		{schemas.Network, schemas.PhaseConnect, endpoint.Fault, true},
		{schemas.InvalidRequest, schemas.PhaseHeaders, endpoint.OK, true},
		{schemas.Cancelled, schemas.PhaseSent, 0, false},
		{schemas.Auth, schemas.PhaseHeaders, 0, false},
		{schemas.QuotaExhausted, schemas.PhaseHeaders, 0, false},
	} {
		c, tells := CallOf(&schemas.Attempt{Outcome: tc.code, Phase: tc.phase, LatencyMS: 5})
		if tells != tc.tells || tells && c.Outcome != tc.want {
			t.Errorf("%s at %q: %v, %t", tc.code, tc.phase, c.Outcome, tells)
		}
		if tc.code != schemas.OK && c.Latency != 0 {
			t.Errorf("%s has a latency", tc.code)
		}
	}
}

func TestTheStageSeesTheCallsOfItsRoundOnly(t *testing.T) {
	t.Parallel()
	var w Watch
	target := schemas.Target{Provider: "p", Endpoint: "a"}
	job := &pipeline.Job{Origin: pipeline.Origin{Round: 1}, Attempts: []schemas.Attempt{
		{Round: 0, Target: target, Outcome: schemas.Timeout},
		{Round: 1, Target: target, Outcome: schemas.Timeout},
		{Round: 1, Target: target, Outcome: schemas.OK, LatencyMS: 1000, FirstTokenMS: 1000, Usage: schemas.Usage{InputTokens: 1, OutputTokens: 1}},
	}}
	if err := w.Stage().Handle(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	one := endpoint.Sum{N: 1}
	want := map[Name]endpoint.Stats{{"p", "a"}: {Calls: 2, Faults: 1, FirstToken: one, Latency: one, Input: one, Output: one}}
	if diff := cmp.Diff(want, w.Take(nil)); diff != "" {
		t.Error(diff)
	}
}

// Run with go test ./handlers/anomaly/fleet -bench Observe -benchmem.
func BenchmarkObserve(b *testing.B) {
	b.ReportAllocs()
	var w Watch
	n := Name{"openai", "eu"}
	c := endpoint.Call{FirstToken: 300 * time.Millisecond, Gap: 40 * time.Millisecond, Latency: 3 * time.Second, Input: 900, Output: 120}
	for b.Loop() {
		w.Observe(n, c)
	}
}

// Run with go test ./handlers/anomaly/fleet -bench Tick -benchmem.
func BenchmarkTick(b *testing.B) {
	w := newWorld(&testing.T{})
	f := w.fleet()
	seen := w.seen(100)
	for b.Loop() {
		for i := range seen {
			f.Add(Name{"p", seen[i].Endpoint}, "", StatsOf(&seen[i]))
		}
		f.Tick(start, nil)
	}
}

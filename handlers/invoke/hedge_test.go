package invoke

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

func hedging(after string, share float64) func(*Config) {
	return func(c *Config) { c.Hedge = HedgeConfig{After: after, Share: share, Samples: 20} }
}

// slow answers after d, or not at all when it is cut off before.
func slow(d time.Duration) *vendor {
	return &vendor{answer: func(ctx context.Context, _ int, _ provider.Call, _ provider.Emit) (*schemas.Response, error) {
		if err := pause(ctx, d); err != nil {
			return nil, err
		}
		return answerOK(), nil
	}}
}

func TestTheFasterOfACallAndItsHedgeCounts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		a, b   *vendor
		story  []string
		took   time.Duration
		answer string
	}{
		{"the hedge is faster", slow(time.Minute), slow(time.Second), []string{"1 a first cancelled", "2 b hedge ok"}, 4 * time.Second, "b"},
		{"the first is faster", slow(5 * time.Second), slow(10 * time.Second), []string{"1 a first ok", "2 b hedge cancelled"}, 5 * time.Second, "a"},
		{"the first is fast enough", slow(2 * time.Second), good(), []string{"1 a first ok"}, 2 * time.Second, "a"},
		{
			"a hedge that fails leaves the first alone",
			slow(8 * time.Second), failing(-1, schemas.Failure{Code: schemas.Overloaded}),
			[]string{"1 a first ok", "2 b hedge overloaded"},
			8 * time.Second, "a",
		},
		{
			"a first that fails leaves it to the hedge",
			&vendor{answer: func(ctx context.Context, _ int, _ provider.Call, _ provider.Emit) (*schemas.Response, error) {
				_ = pause(ctx, 5*time.Second)
				return nil, &schemas.Failure{Code: schemas.Internal}
			}},
			slow(10 * time.Second),
			[]string{"1 a first internal", "2 b hedge ok"},
			13 * time.Second, "b",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := build(t, hedging("3s", 1), map[string]provider.Provider{"a": tt.a, "b": tt.b}, 1)
				s.hedges.asked(1_000_000, time.Now())
				began, job := time.Now(), ask("a", "b")
				if err := s.Handle(t.Context(), job.Job); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.story, job.story()); diff != "" {
					t.Error(diff)
				}
				if d := time.Since(began); d != tt.took || job.Answered.Provider != tt.answer {
					t.Errorf("%s answered after %s, want %s after %s", job.Answered.Provider, d, tt.answer, tt.took)
				}
				for _, a := range job.Attempts {
					if a.Outcome == schemas.Cancelled && (a.Usage.InputTokens == 0 || a.Usage.Source != schemas.UsageEstimated) {
						t.Errorf("the loser is not accounted for: %+v", a.Usage)
					}
				}
				for _, p := range s.pools {
					if e := p.Snapshot()[0]; e.InFlight != 0 {
						t.Errorf("%s has %d in flight", e.ID, e.InFlight)
					}
				}
			})
		})
	}
}

func TestAStreamThatHasBegunIsNotHedged(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		a      *vendor
		story  []string
		pieces string
	}{
		{"it begins in time and goes on slowly", streaming(2*time.Second, -1), []string{"1 a first ok"}, "1.0:start 1.1:text_delta 1.2:text_delta 1.3:finish 1.4:end"},
		{"a start is no beginning", streaming(time.Second, 1), []string{"1 a first cancelled", "2 b hedge ok"}, "2.0:start 2.1:text_delta 2.2:text_delta 2.3:finish 2.4:end"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := build(t, hedging("3s", 1), map[string]provider.Provider{"a": tt.a, "b": streaming(time.Second, -1)}, 1)
				s.hedges.asked(1_000_000, time.Now())
				job := ask("a", "b").streamed()
				if err := s.Handle(t.Context(), job.Job); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.story, job.story()); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(tt.pieces, job.pieces()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// Both begin to speak at the same moment: only one of them is heard.
func TestOfTwoThatSpeakAtOnceOneIsHeard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		speak := func(at time.Time) *vendor {
			return &vendor{answer: func(ctx context.Context, _ int, _ provider.Call, emit provider.Emit) (*schemas.Response, error) {
				time.Sleep(time.Until(at)) // synctest's clock; it does not look at ctx, as bytes that have arrived don't
				for _, c := range []schemas.Chunk{{Type: schemas.ChunkStart}, text("h"), text("i"), {Type: schemas.ChunkFinish, Finish: &schemas.Finish{Reason: schemas.FinishStop}}} {
					if err := emit(c); err != nil {
						return nil, err
					}
				}
				return answerOK(), nil
			}}
		}
		at := time.Now().Add(5 * time.Second)
		s := build(t, hedging("3s", 1), map[string]provider.Provider{"a": speak(at), "b": speak(at)}, 1)
		s.hedges.asked(1_000_000, time.Now())
		job := ask("a", "b").streamed()
		if err := s.Handle(t.Context(), job.Job); err != nil {
			t.Fatal(err)
		}
		n := job.chunks[0].Attempt
		want := fmt.Sprintf("%[1]d.0:start %[1]d.1:text_delta %[1]d.2:text_delta %[1]d.3:finish %[1]d.4:end", n)
		if diff := cmp.Diff(want, job.pieces()); diff != "" {
			t.Error(diff)
		}
		ok := 0
		for _, a := range job.Attempts {
			if a.Outcome == schemas.OK {
				ok++
			}
		}
		if len(job.Attempts) != 2 || ok != 1 {
			t.Errorf("attempts %v", job.story())
		}
	})
}

// A third of the calls takes a minute after a while. The 95th percentile is learned,
// and what hedges cost stays below the cap however many calls are slow.
func TestHedgesLearnAndKeepToTheirCap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &vendor{}
		a.answer = func(ctx context.Context, n int, _ provider.Call, _ provider.Emit) (*schemas.Response, error) {
			d := time.Duration(500+n%10*100) * time.Millisecond
			if n > 100 && n%3 == 0 {
				d = time.Minute
			}
			if err := pause(ctx, d); err != nil {
				return nil, err
			}
			return answerOK(), nil
		}
		s := build(t, hedging("p95", 0.05), map[string]provider.Provider{"a": a, "b": slow(time.Second)}, 1)
		hedged, waited := 0, 0
		for range 400 {
			job, began := ask("a", "b"), time.Now()
			if err := s.Handle(t.Context(), job.Job); err != nil {
				t.Fatal(err)
			}
			if len(job.Attempts) == 2 {
				hedged++
				if d := time.Since(began); job.Answered.Provider == "b" && d > time.Minute {
					t.Errorf("the hedge came after %s", d)
				}
			} else if time.Since(began) > 10*time.Second {
				waited++
			}
		}
		if hedged < 5 || hedged > 400/20+1 || waited == 0 {
			t.Errorf("%d of 400 hedged, %d slow ones waited for; the cap is 20", hedged, waited)
		}
	})
}

func TestAHedgeThatPanicsGivesItsLeaseBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{answer: func(context.Context, int, provider.Call, provider.Emit) (*schemas.Response, error) { panic("x") }}
		s := build(t, hedging("1s", 1), map[string]provider.Provider{"a": slow(5 * time.Second), "b": v}, 1)
		s.hedges.asked(1_000_000, time.Now())
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			_ = s.Handle(t.Context(), ask("a", "b").Job)
		}()
		for _, p := range s.pools {
			if e := p.Snapshot()[0]; e.InFlight != 0 {
				t.Errorf("%s has %d in flight", e.ID, e.InFlight)
			}
		}
	})
}

func TestHedgeSettingsSayWhatToWrite(t *testing.T) {
	t.Parallel()
	for after, ok := range map[string]bool{"": true, "p95": true, "p50": true, "2s": true, "p100": false, "p4": false, "px": false, "0s": false, "soon": false} {
		c := Defaults()
		c.Hedge.After = after
		if err := c.Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", after, err)
		}
	}
}

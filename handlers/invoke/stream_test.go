package invoke

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

func TestStreams(t *testing.T) {
	t.Parallel()
	const whole = "2.0:start 2.1:text_delta 2.2:text_delta 2.3:finish 2.4:end"
	tests := []struct {
		name   string
		first  *vendor
		story  []string
		pieces string
		took   time.Duration
	}{
		{
			"a whole answer ends once", streaming(time.Second, -1),
			[]string{"1 a first ok"},
			"1.0:start 1.1:text_delta 1.2:text_delta 1.3:finish 1.4:end", 4 * time.Second,
		},
		{
			"a slow first token falls over; a start is no token", streaming(time.Second, 1),
			[]string{"1 a first timeout", "2 b fallback ok"},
			"1.0:start 1.1:error " + whole, 18 * time.Second,
		},
		{
			"nothing at all leaves no trace", streaming(time.Second, 0),
			[]string{"1 a first timeout", "2 b fallback ok"},
			whole, 18 * time.Second,
		},
		{
			"long but lively is left alone", streaming(13*time.Second, -1),
			[]string{"1 a first ok"},
			"1.0:start 1.1:text_delta 1.2:text_delta 1.3:finish 1.4:end", 52 * time.Second,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := build(t, nil, map[string]provider.Provider{"a": tt.first, "b": streaming(time.Second, -1)}, 1)
				began, job := time.Now(), ask("a", "b").streamed()
				if err := s.Handle(t.Context(), job.Job); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tt.story, job.story()); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(tt.pieces, job.pieces()); diff != "" {
					t.Error(diff)
				}
				if d := time.Since(began); d != tt.took {
					t.Errorf("took %s, want %s", d, tt.took)
				}
			})
		})
	}
}

func TestAStalledStreamIsStartedAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stalls, goes := streaming(time.Second, 2), streaming(time.Second, -1)
		v := &vendor{answer: func(ctx context.Context, n int, c provider.Call, emit provider.Emit) (*schemas.Response, error) {
			if n == 1 {
				return stalls.answer(ctx, n, c, emit)
			}
			return goes.answer(ctx, n, c, emit)
		}}
		s := build(t, nil, map[string]provider.Provider{"a": v}, 1)
		job := ask("a").streamed()
		if err := s.Handle(t.Context(), job.Job); err != nil {
			t.Fatal(err)
		}
		want := "1.0:start 1.1:text_delta 1.2:error 2.0:start 2.1:text_delta 2.2:text_delta 2.3:finish 2.4:end"
		if diff := cmp.Diff(want, job.pieces()); diff != "" {
			t.Error(diff)
		}
		a := job.Attempts[0]
		if a.Outcome != schemas.StreamInterrupted || a.Phase != schemas.PhaseOutput || a.FirstTokenMS != 1000 || a.LatencyMS != 31_000 {
			t.Errorf("recorded %+v", a)
		}
		if a := job.Attempts[1]; a.MaxGapMS != 1000 || a.Usage.OutputTokens != 1 {
			t.Errorf("recorded %+v", a)
		}
	})
}

func TestAFailedStreamEndsOnceWithItsFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{answer: func(_ context.Context, _ int, _ provider.Call, emit provider.Emit) (*schemas.Response, error) {
			_ = emit(schemas.Chunk{Type: schemas.ChunkStart})
			_ = emit(text("h"))
			_ = emit(schemas.Chunk{Type: schemas.ChunkEnd}) // not the provider's to say
			return nil, &schemas.Failure{Code: schemas.ContentFiltered, Usage: &schemas.Usage{OutputTokens: 7}}
		}}
		s := build(t, nil, map[string]provider.Provider{"a": v, "b": good()}, 1)
		job := ask("a", "b").streamed()
		if f := failure(t, s.Handle(t.Context(), job.Job)); f.Code != schemas.ContentFiltered {
			t.Errorf("got %s", f.Code)
		}
		if diff := cmp.Diff("1.0:start 1.1:text_delta 1.2:error 1.3:end", job.pieces()); diff != "" {
			t.Error(diff)
		}
		if got := job.Attempts[0].Usage.OutputTokens; got != 7 {
			t.Errorf("usage of the failed attempt: %d tokens, want 7", got)
		}
	})
}

// The primary fails for a minute, one request a second. Its breaker must open,
// the fallback must answer everything, probes must be few, and after recovery
// the primary must be back within half a minute and stay.
func TestAFlappingPrimaryOpensAndReturns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		recovery := time.Now().Add(time.Minute)
		var afterOpen int
		a := &vendor{}
		a.answer = func(context.Context, int, provider.Call, provider.Emit) (*schemas.Response, error) {
			if time.Now().Before(recovery) {
				afterOpen++
				return nil, &schemas.Failure{Code: schemas.Unavailable}
			}
			return answerOK(), nil
		}
		s := build(t, nil, map[string]provider.Provider{"a": a, "b": good()}, 1)
		var back time.Time
		for range 120 {
			job := ask("a", "b")
			if err := s.Handle(t.Context(), job.Job); err != nil {
				t.Fatal(err)
			}
			if job.Answered.Provider == "a" && back.IsZero() {
				back = time.Now()
			} else if job.Answered.Provider == "b" && !back.IsZero() {
				t.Fatalf("fell over again %s after coming back", time.Since(back))
			}
			if err := pause(t.Context(), time.Second); err != nil {
				t.Fatal(err)
			}
		}
		if late := back.Sub(recovery); back.IsZero() || late > 30*time.Second {
			t.Errorf("back %s after recovery", late)
		}
		if afterOpen > 5+6 { // five to open it, one probe for each ten seconds
			t.Errorf("%d calls met the failing primary", afterOpen)
		}
		if last := s.changes[len(s.changes)-1]; last.To != balance.Closed {
			t.Errorf("the breaker is %s in the end", last.To)
		}
	})
}

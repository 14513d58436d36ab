package invoke

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWhatIsDoneAboutAFailureFollowsItsCode(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		first *vendor
		want  []string
		code  schemas.Code // "": answered
	}{
		{"an answer ends it", good(), []string{"1 a first ok"}, ""},
		{
			"one 500 is asked once more", failing(1, schemas.Failure{Code: schemas.Internal}),
			[]string{"1 a first internal", "2 a retry ok"},
			"",
		},
		{
			"503 for ever falls over", failing(-1, schemas.Failure{Code: schemas.Unavailable}),
			[]string{"1 a first unavailable", "2 a retry unavailable", "3 b fallback ok"},
			"",
		},
		{
			"a provider that forbids it is not asked again", failing(-1, schemas.Failure{Code: schemas.Internal, NoRetry: true}),
			[]string{"1 a first internal", "2 b fallback ok"},
			"",
		},
		{
			"a bad request is nobody else's business", failing(-1, schemas.Failure{Code: schemas.InvalidRequest}),
			[]string{"1 a first invalid_request"},
			schemas.InvalidRequest,
		},
		{
			"filtered content is not carried elsewhere", failing(-1, schemas.Failure{Code: schemas.ContentFiltered}),
			[]string{"1 a first content_filtered"},
			schemas.ContentFiltered,
		},
		{
			"too long for one may fit another", failing(-1, schemas.Failure{Code: schemas.ContextLength}),
			[]string{"1 a first context_length", "2 b fallback ok"},
			"",
		},
		{
			"a refused key falls over at once", failing(-1, schemas.Failure{Code: schemas.Auth}),
			[]string{"1 a first auth", "2 b fallback ok"},
			"",
		},
		{
			"429 that lasts too long falls over at once", failing(-1, schemas.Failure{Code: schemas.RateLimited, RetryAfterMS: 11_000}),
			[]string{"1 a first rate_limited", "2 b fallback ok"},
			"",
		},
		{
			"429 for ever is bounded", failing(-1, schemas.Failure{Code: schemas.RateLimited, RetryAfterMS: 2_000}),
			[]string{"1 a first rate_limited", "2 a retry rate_limited", "3 a retry rate_limited", "4 b fallback ok"},
			"",
		},
		{
			"a conflict is asked once more and never elsewhere", failing(-1, schemas.Failure{Code: schemas.Conflict}),
			[]string{"1 a first conflict", "2 a retry conflict"},
			schemas.Conflict,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := build(t, nil, map[string]provider.Provider{"a": tt.first, "b": good()}, 1)
				job := ask("a", "b")
				err := s.Handle(t.Context(), job.Job)
				if diff := cmp.Diff(tt.want, job.story()); diff != "" {
					t.Error(diff)
				}
				if tt.code == "" {
					if err != nil || job.Response == nil || job.Answered == nil {
						t.Fatalf("err %v, response %v, answered %v", err, job.Response, job.Answered)
					}
					return
				}
				if f := failure(t, err); f.Code != tt.code || job.Response != nil {
					t.Errorf("code %s, response %v", f.Code, job.Response)
				}
			})
		})
	}
}

func TestRetryAfterIsHonouredAndNeverShortened(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := failing(2, schemas.Failure{Code: schemas.RateLimited, RetryAfterMS: 3_000})
		s := build(t, nil, map[string]provider.Provider{"a": v}, 1)
		if err := s.Handle(t.Context(), ask("a").Job); err != nil {
			t.Fatal(err)
		}
		if n := v.calls(); n != 3 {
			t.Fatalf("%d calls, want 3", n)
		}
		for _, gap := range v.gaps() {
			if gap < 3*time.Second || gap > 3300*time.Millisecond {
				t.Errorf("asked again after %s, want 3 s and at most a tenth more", gap)
			}
		}
	})
}

func TestBackoffGrowsWithinAQuarter(t *testing.T) {
	t.Parallel()
	j := newJitter(1)
	for n, want := range []time.Duration{500, 1000, 2000, 4000, 8000, 8000} {
		want *= time.Millisecond
		for range 100 {
			if d := j.backoff(Defaults().Backoff, n); d < want*3/4 || d > want*5/4 {
				t.Fatalf("retry %d waits %s, want %s ± 25 %%", n, d, want)
			}
		}
	}
}

func TestEveryAttemptCarriesTheRequestsIdempotencyKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := failing(1, schemas.Failure{Code: schemas.Internal})
		s := build(t, nil, map[string]provider.Provider{"a": v}, 1)
		if err := s.Handle(t.Context(), ask("a").Job); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"r1", "r1"}, v.keys); diff != "" {
			t.Error(diff)
		}
	})
}

func TestARestingKeyIsPassedOverWithoutWaiting(t *testing.T) {
	t.Parallel()
	for _, code := range []schemas.Code{schemas.RateLimited, schemas.QuotaExhausted, schemas.Auth} {
		t.Run(string(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := failing(1, schemas.Failure{Code: code, RetryAfterMS: 60_000})
				s := build(t, nil, map[string]provider.Provider{"a": v}, 2)
				began, job := time.Now(), ask("a")
				if err := s.Handle(t.Context(), job.Job); err != nil {
					t.Fatal(err)
				}
				if d := time.Since(began); d != 0 {
					t.Errorf("waited %s although another key was free", d)
				}
				if a := job.Attempts; a[0].Target.Endpoint == a[1].Target.Endpoint {
					t.Errorf("endpoint %s was asked twice", a[0].Target.Endpoint)
				}
				resting := 0
				for _, e := range s.pools["a"].Snapshot() {
					if !e.RestingUntil.IsZero() {
						resting++
					}
				}
				if resting != 1 {
					t.Errorf("%d endpoints rest, want 1", resting)
				}
			})
		})
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		vendors := map[string]provider.Provider{}
		var names []string
		for i := range 8 {
			name := string(rune('a' + i))
			names = append(names, name)
			vendors[name] = failing(-1, schemas.Failure{Code: schemas.Internal})
		}
		s := build(t, nil, vendors, 1)
		job := ask(names...)
		f := failure(t, s.Handle(t.Context(), job.Job))
		if len(job.Attempts) != 6 || f.Code != schemas.Internal {
			t.Errorf("%d attempts, %s; want 6, internal", len(job.Attempts), f.Code)
		}
	})
}

func TestNumbersContinueThoseOfEarlierRounds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := build(t, nil, map[string]provider.Provider{"a": good()}, 1)
		job := ask("a")
		job.Origin.Round = 1
		job.Attempts = []schemas.Attempt{{Number: 1}, {Number: 2, Target: schemas.Target{Provider: "a"}, Outcome: schemas.Internal}}
		if err := s.Handle(t.Context(), job.Job); err != nil {
			t.Fatal(err)
		}
		if a := job.Attempts[2]; a.Number != 3 || a.Round != 1 || a.Reason != ReasonFirst {
			t.Errorf("got attempt %d of round %d as %s", a.Number, a.Round, a.Reason)
		}
	})
}

func TestAnOutageDoesNotMultiplyLoad(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		// A conflict is retried but does not open the breaker, so the budget alone
		// is what bounds the retries here.
		v := failing(-1, schemas.Failure{Code: schemas.Conflict})
		s := build(t, nil, map[string]provider.Provider{"a": v}, 1)
		const jobs = 1000
		var wg sync.WaitGroup
		for range jobs {
			wg.Go(func() { _ = s.Handle(t.Context(), ask("a").Job) })
		}
		wg.Wait()
		retries := v.calls() - jobs
		if retries < 20 || retries > jobs/5+20+2 {
			t.Errorf("%d retries of %d calls, want at most a fifth and the floor", retries, jobs)
		}
	})
}

func TestWhenAllRestTheEarliestIsWaitedFor(t *testing.T) {
	t.Parallel()
	rest := func(t *testing.T, s *setup, name string, ms int64) {
		t.Helper()
		l, err := s.pools[name].Acquire(0, "", "m", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		l.Done(&schemas.Failure{Code: schemas.RateLimited, RetryAfterMS: ms}, 0)
	}
	t.Run("within max_wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := build(t, nil, map[string]provider.Provider{"a": good(), "b": good()}, 1)
			rest(t, s, "a", 9_000)
			rest(t, s, "b", 4_000)
			began, job := time.Now(), ask("a", "b")
			if err := s.Handle(t.Context(), job.Job); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(began); d < 4*time.Second || d > 4500*time.Millisecond || job.Answered.Provider != "b" {
				t.Errorf("%s answered after %s, want b after 4 s", job.Answered.Provider, d)
			}
		})
	})
	t.Run("beyond max_wait the failure says when to come back", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := build(t, nil, map[string]provider.Provider{"a": good()}, 1)
			rest(t, s, "a", 40_000)
			began := time.Now()
			f := failure(t, s.Handle(t.Context(), ask("a").Job))
			if f.Code != schemas.Unavailable || f.RetryAfterMS != 40_000 || time.Since(began) != 0 {
				t.Errorf("got %s, %d ms, after %s", f.Code, f.RetryAfterMS, time.Since(began))
			}
		})
	})
	t.Run("beyond the deadline too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := build(t, nil, map[string]provider.Provider{"a": good()}, 1)
			rest(t, s, "a", 5_000)
			job := ask("a")
			job.Deadline = time.Now().Add(3 * time.Second)
			if f := failure(t, s.Handle(t.Context(), job.Job)); f.Code != schemas.Unavailable || f.RetryAfterMS != 5_000 {
				t.Errorf("got %s, %d ms", f.Code, f.RetryAfterMS)
			}
		})
	})
}

func TestTheMostUsefulFailureIsReturned(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		of   []schemas.Failure
		want int
	}{
		{"what may pass before what will not", []schemas.Failure{{Code: schemas.Unavailable}, {Code: schemas.NotFound}}, 0},
		{"the shortest wait", []schemas.Failure{
			{Code: schemas.QuotaExhausted, RetryAfterMS: 900_000},
			{Code: schemas.RateLimited, RetryAfterMS: 20_000},
			{Code: schemas.QuotaExhausted, RetryAfterMS: 600_000},
		}, 1},
		{"blame of the request before blame of a target", []schemas.Failure{{Code: schemas.ContextLength}, {Code: schemas.Auth}}, 0},
		{"the last among equals", []schemas.Failure{{Code: schemas.Timeout}, {Code: schemas.Timeout, VendorCode: "x"}}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				vendors, names := map[string]provider.Provider{}, []string{}
				for i, f := range tt.of {
					f.Message = fmt.Sprint(i)
					f.NoRetry = true
					names = append(names, string(rune('a'+i)))
					vendors[names[i]] = failing(-1, f)
				}
				s := build(t, nil, vendors, 1)
				if f := failure(t, s.Handle(t.Context(), ask(names...).Job)); f.Message != fmt.Sprint(tt.want) {
					t.Errorf("got failure %s (%s), want number %d", f.Message, f.Code, tt.want)
				}
			})
		})
	}
}

func TestATargetWithoutEndpointsIsPassedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := build(t, nil, map[string]provider.Provider{"a": good()}, 1)
		job := ask("nobody", "a", "a")
		job.Targets[1].Region = "nowhere"
		if err := s.Handle(t.Context(), job.Job); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"1 a first ok"}, job.story()); diff != "" {
			t.Error(diff)
		}
		if f := failure(t, s.Handle(t.Context(), ask("nobody").Job)); f.Code != schemas.NotFound {
			t.Errorf("got %s", f.Code)
		}
	})
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	t.Run("before any call is expired", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			v := good()
			s := build(t, nil, map[string]provider.Provider{"a": v}, 1)
			job := ask("a")
			job.Deadline = time.Now()
			if f := failure(t, s.Handle(t.Context(), job.Job)); f.Code != schemas.Expired || v.calls() != 0 {
				t.Errorf("got %s after %d calls", f.Code, v.calls())
			}
		})
	})
	t.Run("during a call is timeout, and the endpoint is not blamed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			v := hanging()
			s := build(t, nil, map[string]provider.Provider{"a": v}, 1)
			for range 20 {
				job := ask("a")
				job.Deadline = time.Now().Add(time.Second)
				if f := failure(t, s.Handle(t.Context(), job.Job)); f.Code != schemas.Timeout {
					t.Errorf("got %s", f.Code)
				}
				if len(job.Attempts) != 1 || job.Attempts[0].Outcome != schemas.Timeout || job.Attempts[0].LatencyMS != 1000 {
					t.Errorf("recorded %+v", job.Attempts)
				}
			}
			if e := s.pools["a"].Snapshot()[0]; e.State != balance.Closed || e.Failures != 0 || e.InFlight != 0 {
				t.Errorf("endpoint %+v", e)
			}
		})
	})
}

func TestACancelledJobIsGivenBack(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		vendor *vendor
		cancel time.Duration
	}{
		"during a call": {hanging(), time.Second},
		"during a wait": {failing(-1, schemas.Failure{Code: schemas.RateLimited, RetryAfterMS: 5_000}), time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := build(t, nil, map[string]provider.Provider{"a": tt.vendor}, 1)
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(tt.cancel, cancel)
				job := ask("a").streamed()
				err := s.Handle(ctx, job.Job)
				if _, is := errors.AsType[*schemas.Failure](err); is || !errors.Is(err, context.Canceled) {
					t.Errorf("got %v, want the context's error", err)
				}
				if strings.Contains(job.pieces(), "end") {
					t.Errorf("the stream was ended: %s", job.pieces())
				}
				if e := s.pools["a"].Snapshot()[0]; e.InFlight != 0 || e.Failures != 0 {
					t.Errorf("endpoint %+v", e)
				}
			})
		})
	}
}

func TestASlowAnswerIsCutOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := build(t, nil, map[string]provider.Provider{"a": hanging(), "b": good()}, 1)
		began, job := time.Now(), ask("a", "b")
		if err := s.Handle(t.Context(), job.Job); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"1 a first timeout", "2 b fallback ok"}, job.story()); diff != "" {
			t.Error(diff)
		}
		if d := time.Since(began); d != 120*time.Second {
			t.Errorf("cut off after %s", d)
		}
	})
}

func TestAPanickingProviderGivesItsLeaseBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := &vendor{answer: func(context.Context, int, provider.Call, provider.Emit) (*schemas.Response, error) { panic("x") }}
		s := build(t, nil, map[string]provider.Provider{"a": v}, 1)
		func() {
			defer func() { _ = recover() }()
			_ = s.Handle(t.Context(), ask("a").Job)
		}()
		if e := s.pools["a"].Snapshot()[0]; e.InFlight != 0 || e.Failures != 1 {
			t.Errorf("endpoint %+v", e)
		}
	})
}

func TestAnIncompleteAnswerIsNoAnswer(t *testing.T) {
	t.Parallel()
	cut := answerOK()
	cut.Choices[0].Finish.Reason = ""
	for name, res := range map[string]*schemas.Response{"none": nil, "no choice": {}, "no end": cut} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := &vendor{answer: func(context.Context, int, provider.Call, provider.Emit) (*schemas.Response, error) { return res, nil }}
				s := build(t, nil, map[string]provider.Provider{"a": v, "b": good()}, 1)
				job := ask("a", "b")
				if err := s.Handle(t.Context(), job.Job); err != nil {
					t.Fatal(err)
				}
				want := []string{"1 a first malformed_response", "2 a retry malformed_response", "3 b fallback ok"}
				if diff := cmp.Diff(want, job.story()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

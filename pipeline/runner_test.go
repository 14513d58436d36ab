package pipeline

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/sira-ai/sira/schemas"
)

// queue is a source of n jobs. Like a real one it hands out what is ready even
// when the stop was asked for a moment ago.
type queue struct {
	left              atomic.Int64
	end               error // after the last job; nil: wait for ctx
	settled, released atomic.Int64
	life              context.Context //nolint:containedctx // stands for the ownership of a partition
	lose              context.CancelFunc
}

func (q *queue) Cut() { q.lose() }

func (q *queue) Receive(ctx context.Context) (Delivery, error) {
	if q.left.Add(-1) < 0 {
		if q.end != nil {
			return Delivery{}, q.end
		}
		<-ctx.Done()
		return Delivery{}, ctx.Err()
	}
	var once sync.Once
	end := func(n *atomic.Int64) {
		twice := true
		once.Do(func() { n.Add(1); twice = false })
		if twice {
			panic("a job was settled or released twice")
		}
	}
	return Delivery{
		Open:    func(context.Context) (*Job, error) { return jobDue(time.Hour), nil },
		Life:    q.life,
		Settle:  func(Settlement) { end(&q.settled) },
		Release: func(error) { end(&q.released) },
	}, nil
}

type noOutputs struct{ err error }

func (o noOutputs) Outputs(context.Context, *Job) (Settlement, error) { return Settlement{}, o.err }

func newQueue(n int64, end error) *queue {
	q := &queue{end: end}
	q.life, q.lose = context.WithCancel(context.Background())
	q.left.Store(n)
	return q
}

func runnerOf(q *queue, f StageFunc) *Runner {
	return &Runner{Source: q, Chain: &Chain{Ask: []Step{{"work", f}}}, Deliverer: noOutputs{}, Concurrency: 4, Drain: time.Minute, Log: zap.NewNop()}
}

func (q *queue) check(t *testing.T, settled, released int64) {
	t.Helper()
	if q.settled.Load() != settled || q.released.Load() != released {
		t.Errorf("%d settled, %d released; want %d and %d", q.settled.Load(), q.released.Load(), settled, released)
	}
}

// work takes d and answers.
func work(d time.Duration) StageFunc {
	return func(ctx context.Context, job *Job) error {
		select {
		case <-time.After(d):
			return answer(ctx, job)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestRunnerEndsWithItsSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(100, io.EOF)
		if err := runnerOf(q, work(time.Second)).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		q.check(t, 100, 0)
	})
}

func TestRunnerReturnsTheErrorOfItsSource(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		q := newQueue(3, broken)
		if err := runnerOf(q, work(time.Second)).Run(t.Context()); !errors.Is(err, broken) {
			t.Errorf("error %v, want the source's", err)
		}
		q.check(t, 3, 0)
	})
}

func TestNeverMoreJobsInFlightThanAllowed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		q := newQueue(50, io.EOF)
		r := runnerOf(q, func(ctx context.Context, job *Job) error {
			for n := now.Add(1); ; {
				if old := most.Load(); n <= old || most.CompareAndSwap(old, n) {
					break
				}
			}
			defer now.Add(-1)
			return work(time.Second)(ctx, job)
		})
		if err := r.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if most.Load() != 4 {
			t.Errorf("%d in flight, want 4", most.Load())
		}
	})
}

func TestJobsInFlightFinishAfterTheStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		q := newQueue(4, nil)
		if err := runnerOf(q, work(30*time.Second)).Run(ctx); err != nil {
			t.Fatal(err)
		}
		q.check(t, 4, 0)
	})
}

// All places were taken when the stop came, and the source still had a job ready:
// it ran without a place of its own, gave back the place of another, and Run
// waited for ever for the one that had none left to give.
func TestStopWithAllPlacesTakenStartsNothingMore(t *testing.T) {
	t.Parallel()
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			q := newQueue(1000, nil)
			if err := runnerOf(q, work(30*time.Second)).Run(ctx); err != nil {
				t.Fatal(err)
			}
			q.check(t, 4, 0)
		})
	}
}

func TestOverdueJobsAreCutOffAndGivenBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		q := newQueue(4, nil)
		began := time.Now()
		if err := runnerOf(q, hang).Run(ctx); err != nil {
			t.Fatal(err)
		}
		q.check(t, 0, 4)
		if took := time.Since(began); took != time.Second+time.Minute {
			t.Errorf("took %s, want 1s and the drain of 1m", took)
		}
	})
}

func TestLostJobIsCutOffAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lost, lose := context.WithTimeout(context.Background(), 5*time.Second)
		defer lose()
		q := newQueue(2, io.EOF)
		q.life = lost
		began := time.Now()
		if err := runnerOf(q, hang).Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		q.check(t, 0, 2)
		if took := time.Since(began); took != 5*time.Second {
			t.Errorf("took %s, want 5s", took)
		}
	})
}

func TestOutcomeThatCanNotBeWrittenIsGivenBack(t *testing.T) {
	t.Parallel()
	q := newQueue(1, io.EOF)
	r := runnerOf(q, answer)
	r.Deliverer = noOutputs{errors.New("no registry")}
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	q.check(t, 0, 1)
}

func TestFailureIsAnOutcomeAndNotGivenBack(t *testing.T) {
	t.Parallel()
	q := newQueue(1, io.EOF)
	r := runnerOf(q, func(context.Context, *Job) error { return schemas.Fail(schemas.RateLimited, "", nil) })
	if err := r.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	q.check(t, 1, 0)
}

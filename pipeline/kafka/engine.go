// Package kafka is the engine that moves requests through Kafka, and the one
// place where Kafka clients are set up.
//
// The engine reads requests of several lanes, hands them out one by one in any
// order of completion, and commits what became of them in short transactions:
// outputs and the fact that a request is done become visible together or not at
// all. How far a partition is done is the committed offset plus, in its metadata,
// a map of the finished offsets above it, so that one slow call holds nobody up
// and a kill -9 repeats only what was not committed.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/semaphore"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// Engine is a pipeline.Source on Kafka.
//
// Run does the work; Receive hands out jobs while it runs. After Run's ctx is
// done, Receive returns io.EOF, and Run waits for the outcomes of jobs handed out,
// commits them and leaves.
type Engine struct {
	cfg       EngineConfig
	sched     *scheduler
	metrics   *engineMetrics
	laneBytes int64
	slowest   atomic.Int64 // nanoseconds of the longest transaction since the governor looked
	byName    map[string]int
	journal   *journal // or nil; set by Run
	parked    parked
	claims    *semaphore.Weighted // bytes of claim-checked payloads that may be held
	stopped   chan struct{}       // closed when Receive has nothing more to give

	mu       sync.Mutex
	sessions []*session // the live one of each lane, or nil
}

// NewEngine returns an engine that is not connected yet.
func NewEngine(cfg EngineConfig) (*Engine, error) {
	cfg.setDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("configuring the engine: %w", err)
	}
	e := &Engine{
		cfg: cfg, sched: newScheduler(cfg.Concurrency, cfg.Lanes), laneBytes: cfg.MaxBytes / int64(len(cfg.Lanes)),
		parked: parked{items: map[requestName][]*item{}},
		claims: semaphore.NewWeighted(cfg.MaxBytes), byName: map[string]int{}, stopped: make(chan struct{}), sessions: make([]*session, len(cfg.Lanes)),
	}
	for i, l := range cfg.Lanes {
		e.byName[l.Name] = i
	}
	e.metrics = newEngineMetrics(e)
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(e.metrics); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return e, nil
}

// Run joins the groups of all lanes and works until ctx is done. A lane whose
// session breaks is joined again after a pause; what it had in flight is then
// decided by what the broker says is committed. Run returns nil after a clean
// stop and leaves no goroutine behind.
func (e *Engine) Run(ctx context.Context) error {
	if e.cfg.Journal != "" {
		j, err := openJournal(e.cfg.Journal, e.cfg.Log)
		if err != nil {
			e.cfg.Log.Warn("working without a journal of outcomes: a kill would repeat more calls", zap.Error(err))
		} else {
			defer j.close()
		}
		e.journal = j
	}
	var wg sync.WaitGroup
	if !e.cfg.FixedConcurrency {
		wg.Go(func() { e.govern(ctx) })
	}
	for i := range e.cfg.Lanes {
		wg.Go(func() { e.lane(ctx, i) })
	}
	<-ctx.Done()
	close(e.stopped)
	wg.Wait()
	if e.cfg.Metrics != nil {
		e.cfg.Metrics.Unregister(e.metrics)
	}
	return nil
}

func (e *Engine) lane(ctx context.Context, i int) {
	cfg := &e.cfg.Lanes[i]
	log := e.cfg.Log.With(zap.String("lane", cfg.Name))
	e.metrics.begin(cfg.Name)
	pause := 100 * time.Millisecond
	for ctx.Err() == nil {
		s := e.newSession(i, log)
		e.setSession(i, s)
		began := time.Now()
		err := s.run(ctx)
		e.setSession(i, nil)
		if err == nil || ctx.Err() != nil {
			continue
		}
		if time.Since(began) > time.Minute {
			pause = 100 * time.Millisecond
		}
		e.metrics.restarts.WithLabelValues(cfg.Name).Inc()
		log.Warn("lane joins again", zap.Error(err), zap.Duration("pause", pause))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, 10*time.Second)
	}
}

// newSession returns a session of a lane that has not joined the group yet.
func (e *Engine) newSession(lane int, log *zap.Logger) *session {
	return &session{
		engine: e, lane: lane, cfg: &e.cfg.Lanes[lane], log: log,
		trackers: map[topicPartition]*tracker{}, limbo: map[topicPartition]*tracker{},
		dirty: make(chan struct{}, 1), fatal: make(chan error, 1), freed: make(chan struct{}, 1), leaving: make(chan struct{}), own: newOwnership(),
	}
}

func (e *Engine) setSession(i int, s *session) {
	e.mu.Lock()
	e.sessions[i] = s
	e.mu.Unlock()
}

func (e *Engine) session(i int) *session {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.sessions[i]
}

// Ready returns nil when every lane is a member of its group with partitions read
// or known to belong to others, else why not.
func (e *Engine) Ready() error {
	var errs []error
	for i := range e.cfg.Lanes {
		s := e.session(i)
		if s == nil {
			errs = append(errs, fmt.Errorf("lane %s: not connected", e.cfg.Lanes[i].Name))
			continue
		}
		consumer := s.member.Load()
		if consumer == nil {
			errs = append(errs, fmt.Errorf("lane %s: connecting", e.cfg.Lanes[i].Name))
			continue
		}
		if member, generation := consumer.GroupMetadata(); member == "" || generation < 0 {
			errs = append(errs, fmt.Errorf("lane %s: joining its group", e.cfg.Lanes[i].Name))
		}
	}
	return errors.Join(errs...)
}

// Cut implements pipeline.Source.
func (e *Engine) Cut() {
	for i := range e.cfg.Lanes {
		if s := e.session(i); s != nil {
			s.cut()
		}
	}
}

// Receive implements pipeline.Source.
func (e *Engine) Receive(ctx context.Context) (pipeline.Delivery, error) {
	for {
		select {
		case <-e.stopped:
			return pipeline.Delivery{}, io.EOF
		default:
		}
		if it := e.sched.next(); it != nil {
			if e.start(it) {
				return e.delivery(it), nil
			}
			continue
		}
		select {
		case <-e.sched.wake:
		case <-e.stopped:
		case <-ctx.Done():
			return pipeline.Delivery{}, ctx.Err()
		}
	}
}

// start marks an item as running, unless its partition is being given up.
func (e *Engine) start(it *item) bool {
	t := it.tracker
	t.mu.Lock()
	gone := t.closing || t.life.Err() != nil
	if !gone {
		t.running++
	}
	t.mu.Unlock()
	if gone {
		e.sched.done(it)
		it.session.abandon(it)
	}
	return !gone
}

func (e *Engine) delivery(it *item) pipeline.Delivery {
	started := time.Now()
	return pipeline.Delivery{
		Open: func(ctx context.Context) (*pipeline.Job, error) {
			if it.panics < maxPanics {
				return e.open(ctx, it, started)
			}
			if !it.session.cfg.Retry || it.rec.header(schemas.HeaderMembers) == "" {
				return it.rec.poisoned(it.session.cfg, started), nil
			}
			job, err := e.open(ctx, it, started)
			if err == nil && len(job.Members) > 0 {
				poisonedBatch(job)
			}
			return job, err
		},
		Life: it.tracker.work,
		Settle: func(out pipeline.Settlement) {
			outputs := out.Outputs
			if out.Retry > 0 || out.Collect != "" {
				outputs = append(outputs, e.retryRecord(it, out))
			}
			for _, m := range out.Moves {
				outputs = append(outputs, e.moved(m))
			}
			e.unclaim(it)
			e.sched.done(it)
			it.session.settle(it, outputs)
		},
		Release: func(cause error) {
			if broke := (*pipeline.PanicError)(nil); errors.As(cause, &broke) || errors.Is(cause, pipeline.ErrHopeless) {
				it.panics++
			}
			e.unclaim(it)
			e.sched.done(it)
			it.session.release(it)
		},
	}
}

// open reads an item's request, once its payload may be held.
func (e *Engine) open(ctx context.Context, it *item, started time.Time) (*pipeline.Job, error) {
	if err := e.claim(ctx, it); err != nil {
		return nil, err
	}
	return it.rec.open(ctx, &e.cfg, it.session.cfg, started)
}

// claim waits until the payload that a claim check stands for may be held: the
// record says nothing of its size. What can't be asked for is for Open to report.
func (e *Engine) claim(ctx context.Context, it *item) error {
	ref := it.rec.header(schemas.HeaderDataRef)
	if it.session.cfg.Retry && ref == "" { // or the requests of a batch
		ref = it.rec.header(schemas.HeaderMembers)
	}
	if ref == "" || e.cfg.FetchSize == nil {
		return nil
	}
	size, err := e.cfg.FetchSize(ctx, ref)
	if err != nil || size <= 0 {
		return nil //nolint:nilerr // Fetch meets the same error and knows what it means
	}
	size = min(size, e.cfg.MaxBytes)
	if err := e.claims.Acquire(ctx, size); err != nil {
		return fmt.Errorf("waiting for room for a claim check: %w", err)
	}
	it.claimed = size
	return nil
}

func (e *Engine) unclaim(it *item) {
	e.claims.Release(it.claimed)
	it.claimed = 0
}

// maxPanics is how often the gateway may break on a record before it is answered
// as poison.
const maxPanics = 3

// enqueue gives an item to the scheduler, unless its partition is being given up.
func (e *Engine) enqueue(it *item) {
	t := it.tracker
	t.mu.Lock()
	gone := t.closing || t.life.Err() != nil
	if !gone {
		// Under the tracker's lock, so that closing either sees the item in the
		// scheduler or the item sees closing.
		e.sched.add(it)
	}
	t.mu.Unlock()
	if gone {
		it.session.abandon(it)
	}
}

// laneIndex returns the lane of a name, or the given one.
func (e *Engine) laneIndex(name string, otherwise int) int {
	if i, ok := e.byName[name]; ok {
		return i
	}
	return otherwise
}

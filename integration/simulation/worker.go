package simulation

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sira-ai/sira/handlers/audit"
	"github.com/sira-ai/sira/handlers/cost"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/pipeline/kafka"
	"github.com/sira-ai/sira/schemas"
	sink "github.com/sira-ai/sira/sinks/kafka"
)

// worker is a process of the world: an engine, a chain and a deliverer.
type worker struct {
	world *World
	name  string
	link  *link

	engine *kafka.Engine

	mu    sync.Mutex // guards rng
	rng   *rand.Rand
	crash context.CancelFunc
	leave context.CancelFunc
	done  chan struct{}
	lives int
}

func newWorker(w *World, name string, seed uint64) *worker {
	return &worker{world: w, name: name, link: newLink(w.network.DialContext, seed), rng: rand.New(rand.NewPCG(seed, 3))}
}

// start begins a new life. The earlier one is over.
func (k *worker) start() error {
	if k.done != nil {
		<-k.done
	}
	k.lives++
	k.link = newLink(k.world.network.DialContext, k.rng.Uint64())
	// An earlier life may still be somewhere on the network: each has its own link.
	journal := ""
	if k.world.cfg.Dir != "" {
		journal = filepath.Join(k.world.cfg.Dir, k.name)
	}
	engine, err := kafka.NewEngine(kafka.EngineConfig{
		Journal: journal,
		Client:  k.world.kafka(k.link.Dial), Instance: k.name, Group: "sira", StaticMembership: true, Log: k.world.log,
		Lanes: []kafka.LaneConfig{
			{Name: "standard", Topics: []string{topicRequests}, MaxAge: 24 * time.Hour},
			{Name: "ordered", Topics: []string{topicOrdered}, Order: kafka.OrderKey, MaxAge: 24 * time.Hour},
			{Name: "retry", Topics: []string{topicRetry}, Retry: true, MaxAge: 24 * time.Hour},
		},
		Concurrency: 40, Window: 60, SessionTimeout: 6 * time.Second, RevokeDrain: 3 * time.Second, Drain: 5 * time.Second, Transaction: 10 * time.Second,
		FixedConcurrency: true, // the measure is of real processors
		Decode:           k.world.codecs.Request.Decode,
		RetryTopic:       func(time.Duration) string { return topicRetry },
	})
	if err != nil {
		return fmt.Errorf("making %s: %w", k.name, err)
	}
	k.engine = engine
	chain := &pipeline.Chain{
		Ask:    []pipeline.Step{{Name: "answer", Stage: pipeline.StageFunc(k.answer)}},
		Settle: []pipeline.Step{{Name: "cost", Stage: cost.New(cost.Config{})}, {Name: "audit", Stage: audit.New(audit.Config{Worker: k.name})}},
	}
	deliverer := &sink.Deliverer{
		Codecs: k.world.codecs, Worker: k.name, Ordered: []string{"ordered"},
		Topics: sink.Topics{Results: topicResults, Costs: topicCosts, Attempts: topicEvents, Audit: topicEvents, Dead: topicEvents, Chunks: topicEvents},
		Tiers:  []sink.Tier{{Delay: 5 * time.Second, Topic: topicRetry}, {Delay: 20 * time.Second, Topic: topicRetry}},
	}
	runner := &pipeline.Runner{Source: engine, Chain: chain, Deliverer: deliverer, Concurrency: 40, Drain: 5 * time.Second, Log: k.world.log}
	hard, crash := context.WithCancel(context.Background())
	soft, leave := context.WithCancel(hard)
	k.crash, k.leave = crash, leave
	done := make(chan struct{})
	k.done = done
	var wg sync.WaitGroup
	wg.Go(func() { _ = engine.Run(soft) })
	wg.Go(func() { _ = runner.Run(soft) })
	go func() {
		defer close(done)
		wg.Wait()
		crash()
	}()
	return nil
}

// answer is the provider: it takes its time, may fail for now, and writes down in
// which order the requests of a key were worked on.
func (k *worker) answer(ctx context.Context, job *pipeline.Job) error {
	k.mu.Lock()
	took, fails := time.Duration(k.rng.Int64N(int64(300*time.Millisecond))), k.rng.IntN(60) == 0
	if k.rng.IntN(40) == 0 {
		took = 4 * time.Second
	}
	k.mu.Unlock()
	select {
	case <-time.After(took):
	case <-ctx.Done():
		return ctx.Err()
	}
	if fails && job.Origin.Round == 0 && job.Origin.Lane != "ordered" {
		return schemas.Fail(schemas.Overloaded, "the provider is busy", nil)
	}
	if job.Origin.Lane == "ordered" {
		n, err := strconv.Atoi(strings.TrimPrefix(job.Request.ID, "r"))
		if err != nil {
			return err
		}
		k.world.mu.Lock()
		key := job.Request.ConversationID
		k.world.order[key] = append(k.world.order[key], n)
		k.world.mu.Unlock()
	}
	at := time.Now()
	target := schemas.Target{Provider: "p", Model: "m"}
	usage := schemas.Usage{InputTokens: 3, OutputTokens: 5, Source: schemas.UsageReported}
	job.Attempts = append(job.Attempts, schemas.Attempt{Number: len(job.Attempts) + 1, Round: job.Origin.Round, Target: target, Outcome: schemas.OK, StartedAt: at, Usage: usage})
	job.Answered = &target
	job.Response = &schemas.Response{Model: "m", Usage: usage, Choices: []schemas.Choice{{
		Message: schemas.TextMessage(schemas.RoleAssistant, "hi"), Finish: schemas.Finish{Reason: schemas.FinishStop},
	}}}
	return nil
}

// kill ends the life at once: nothing that it still sends arrives.
func (k *worker) kill() {
	k.link.cut()
	k.leave()
	k.crash()
}

// stopLimit is far above drain, session and transaction timeouts together.
const stopLimit = 3 * time.Minute

var errNoEnd = errors.New("a worker that was asked to leave did not end")

// stop lets the worker leave in order.
func (k *worker) stop() error {
	k.leave()
	select {
	case <-k.done:
		return nil
	case <-time.After(stopLimit):
		return errNoEnd
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/integration"
)

const (
	latencyRate = 500 // requests a second
	latencyWarm = 3 * time.Second
)

// latency measures, request by request, how long after its record's timestamp a
// result is visible to a reader of committed records, with a provider that
// answers at once.
func (b *bench) latency(ctx context.Context) error {
	if err := b.instant(ctx); err != nil {
		return err
	}
	cfg, err := b.load(ctx, "paced", 1)
	if err != nil {
		return err
	}
	worker, err := b.startWorker(ctx, "paced", concurrency)
	if err != nil {
		return err
	}
	defer worker.Kill()
	if _, err := b.follow(ctx, cfg, worker, 1); err != nil {
		return err
	}
	n := 0
	took, err := b.paced(ctx, cfg, max(b.requests/8, 2*latencyRate), func(p *integration.Producer, id string) (*kgo.Record, error) {
		n++
		return form{json: n%2 == 0}.record(p, id)
	})
	if err != nil {
		return fmt.Errorf("%w\n%s", err, worker.Tail())
	}
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000 }
	o := &b.out
	o.AddedP50, o.AddedP99, o.AtRate = at(0.5), at(0.99), latencyRate
	o.FlushMS = float64(cfg.Worker.FlushInterval.Microseconds()) / 1000
	say("%d requests at %d/s: added latency p50 %.1f ms, p90 %.1f, p99 %.1f, highest %.1f", len(took), latencyRate, at(0.5), at(0.9), at(0.99), at(1))
	return worker.Stop(time.Minute)
}

// paced sends requests at an even pace and returns the added latencies of those
// after the warm-up.
func (b *bench) paced(ctx context.Context, cfg app.Config, n int, record func(*integration.Producer, string) (*kgo.Record, error)) ([]time.Duration, error) {
	warm := int(latencyWarm.Seconds() * latencyRate)
	ctx, cancel := context.WithTimeout(ctx, latencyWarm+time.Duration(n)*time.Second/latencyRate+time.Minute)
	defer cancel()
	reader, err := cfg.Client().NewClient(nil, nil, kgo.ConsumeTopics(cfg.Topic(app.TopicResults)), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	defer reader.Close()
	producer, err := integration.NewProducer(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer producer.Client.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	failed := make(chan error, 1)
	var mu sync.Mutex
	sent := make(map[string]time.Time, n+warm)
	wg.Go(func() {
		failed <- pace(ctx, producer, n+warm, record, func(r *kgo.Record) {
			mu.Lock()
			sent[string(r.Key)] = r.Timestamp
			mu.Unlock()
		})
	})
	took := make([]time.Duration, 0, n)
	for seen := 0; seen < n+warm; {
		fetches := reader.PollFetches(ctx)
		now := time.Now()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("reading results: %d of %d came: %w", seen, n+warm, ctx.Err())
		}
		mu.Lock()
		for r := range fetches.RecordsAll() {
			at, ok := sent[string(r.Key)]
			if !ok {
				continue // of the start
			}
			if seen++; seen > warm {
				took = append(took, now.Sub(at))
			}
		}
		mu.Unlock()
	}
	return took, <-failed
}

// pace produces n requests, each at its time, and notes them before they leave.
func pace(ctx context.Context, p *integration.Producer, n int, record func(*integration.Producer, string) (*kgo.Record, error), note func(*kgo.Record)) error {
	first := new(kgo.FirstErrPromise)
	began := time.Now()
	for i := range n {
		if err := wait(ctx, time.Until(began.Add(time.Duration(i)*time.Second/latencyRate))); err != nil {
			return err
		}
		rec, err := record(p, fmt.Sprint("p", i))
		if err != nil {
			return err
		}
		rec.Timestamp = time.Now()
		note(rec)
		p.Client.Produce(ctx, rec, first.Promise())
	}
	return errors.Join(p.Client.Flush(ctx), first.Err())
}

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/integration"
)

// form is how a request is written, and whether its answer is streamed.
type form struct{ json, stream bool }

func (f form) String() string {
	text := "avro"
	if f.json {
		text = "json"
	}
	if f.stream {
		text += ", streamed"
	}
	return text
}

// record writes a request in this form.
func (f form) record(p *integration.Producer, id string) (*kgo.Record, error) {
	r := integration.Request(id)
	r.Stream = f.stream
	return p.Record(r, f.json)
}

// formFigures are what requests of a form cost. Latencies are by flush interval, in
// milliseconds.
type formFigures struct {
	Form      string             `json:"form"`
	PerSecond float64            `json:"requests_per_second"`
	CPU       float64            `json:"cpu_us_per_request"` // of the worker's process
	PerCore   float64            `json:"requests_per_second_per_core"`
	Added     map[string]Latency `json:"added_latency_ms"`
}

// Latency is percentiles in milliseconds.
type Latency struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99_9"`
}

var flushIntervals = []time.Duration{5 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond}

// forms measures, for every form of request, throughput and the latency that is added
// by each flush interval, with a provider that answers at once. Streamed answers have
// 32 tokens, in as few writes as can be.
func (b *bench) forms(ctx context.Context) error {
	if err := b.instant(ctx); err != nil {
		return err
	}
	for i, f := range []form{{true, false}, {false, false}, {true, true}, {false, true}} {
		out := formFigures{Form: f.String(), Added: make(map[string]Latency)}
		var rates, cpu []float64
		for round := range min(b.rounds, 3) {
			rate, us, err := b.drainForm(ctx, fmt.Sprintf("form%d-%d", i, round), f)
			if err != nil {
				return fmt.Errorf("%s: %w", f, err)
			}
			rates, cpu = append(rates, rate), append(cpu, us)
		}
		out.PerSecond, out.CPU = median(rates), median(cpu)
		out.PerCore = quotient(1e6, out.CPU)
		say("%s: %.0f requests/s, %.0f us CPU each", f, out.PerSecond, out.CPU)
		for _, flush := range flushIntervals {
			l, err := b.added(ctx, fmt.Sprintf("paced%d-%s", i, flush), f, flush)
			if err != nil {
				return fmt.Errorf("%s, flush interval %s: %w", f, flush, err)
			}
			out.Added[flush.String()] = l
			say("%s, flush interval %s: added p50 %.1f ms, p99 %.1f, p99.9 %.1f", f, flush, l.P50, l.P99, l.P999)
		}
		b.out.Forms = append(b.out.Forms, out)
	}
	return nil
}

// drainForm is drain by a worker, with requests of one form.
func (b *bench) drainForm(ctx context.Context, name string, f form) (perSecond, cpu float64, err error) {
	cfg, err := b.topics(name)
	if err != nil {
		return 0, 0, err
	}
	p, err := integration.NewProducer(ctx, cfg)
	if err != nil {
		return 0, 0, err
	}
	defer p.Client.Close()
	first := new(kgo.FirstErrPromise)
	for i := range b.requests {
		rec, err := f.record(p, fmt.Sprint("r", i))
		if err != nil {
			return 0, 0, err
		}
		p.Client.Produce(ctx, rec, first.Promise())
	}
	if err := errors.Join(p.Client.Flush(ctx), first.Err()); err != nil {
		return 0, 0, err
	}
	return b.work(ctx, cfg, name, b.startWorker, concurrency)
}

// added returns the latency that Sira adds to requests of a form at an even pace.
func (b *bench) added(ctx context.Context, name string, f form, flush time.Duration) (l Latency, err error) {
	doc := own(name, concurrency)
	doc["worker"].(integration.Document)["flush_interval"] = flush.String()
	cfg, err := b.load(ctx, name, 1)
	if err != nil {
		return l, err
	}
	worker, err := b.Start(ctx, name, "worker", doc)
	if err != nil {
		return l, err
	}
	defer worker.Kill()
	if _, err := b.follow(ctx, cfg, worker, 1); err != nil {
		return l, err
	}
	took, err := b.paced(ctx, cfg, max(b.requests/8, 2*latencyRate), f.record)
	if err != nil {
		return l, fmt.Errorf("%w\n%s", err, worker.Tail())
	}
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))].Microseconds()) / 1000 }
	return Latency{P50: at(0.5), P99: at(0.99), P999: at(0.999)}, worker.Stop(time.Minute)
}

// topics returns the configuration of a set of topics that a producer will make.
func (b *bench) topics(name string) (app.Config, error) {
	path, err := b.Document("load-"+name, own(name, concurrency))
	if err != nil {
		return app.Config{}, err
	}
	return app.Load(path)
}

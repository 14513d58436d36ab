package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/simulate"
	"github.com/sira-ai/sira/integration"
)

// concurrency is that of worker and loop.
const concurrency = 256

// outputTopics are the four records of one request, in the order of samples.
var outputTopics = [4]string{app.TopicResults, app.TopicCosts, app.TopicAttempts, app.TopicAudit}

// throughput measures how many requests a second worker and bare loop handle
// when the provider answers at once.
func (b *bench) throughput(ctx context.Context) error {
	if err := b.instant(ctx); err != nil {
		return err
	}
	if err := b.keepSamples(ctx); err != nil {
		return err
	}
	var ratios, bare, sira, bareCPU, siraCPU []float64
	for i := range b.rounds {
		a, aCPU, err := b.drain(ctx, fmt.Sprintf("bare%d", i), b.startBare, concurrency)
		if err != nil {
			return err
		}
		s, sCPU, err := b.drain(ctx, fmt.Sprintf("sira%d", i), b.startWorker, concurrency)
		if err != nil {
			return err
		}
		say("round %d: bare loop %.0f requests/s (%.0f us CPU each), Sira %.0f (%.0f us), ratio %.2f", i+1, a, aCPU, s, sCPU, s/a)
		ratios, bare, sira = append(ratios, s/a), append(bare, a), append(sira, s)
		bareCPU, siraCPU = append(bareCPU, aCPU), append(siraCPU, sCPU)
	}
	o := &b.out
	o.RatioBareLoop, o.BarePerSecond, o.SiraPerSecond, o.Requests = median(ratios), median(bare), median(sira), b.requests
	o.BareCPU, o.SiraCPU = median(bareCPU), median(siraCPU)
	return nil
}

// instant makes the provider answer at once, as briefly as real answers are.
func (b *bench) instant(ctx context.Context) error {
	return integration.SetSimulator(ctx, b.cfg, simulate.Behaviour{Tokens: simulate.Tokens{Min: 32, Max: 32}})
}

// keepSamples lets Sira answer some requests, which warms everything up, and
// keeps what it wrote for the bare loop.
func (b *bench) keepSamples(ctx context.Context) error {
	if b.samples != "" {
		return nil
	}
	if err := b.instant(ctx); err != nil {
		return err
	}
	n := max(b.requests/6, 1000)
	cfg, err := b.load(ctx, "warm", n)
	if err != nil {
		return err
	}
	p, err := b.startWorker(ctx, "warm", concurrency)
	if err != nil {
		return err
	}
	if _, err := b.follow(ctx, cfg, p, n); err != nil {
		return err
	}
	if err := p.Stop(time.Minute); err != nil {
		return err
	}
	var kept samples
	var sizes [4]int
	for i, topic := range outputTopics {
		records := 0
		err := integration.EachCommitted(ctx, cfg.Client(), cfg.Topic(topic), func(r *kgo.Record) error {
			if records++; records <= 1000 {
				kept[i] = append(kept[i], r.Value)
			}
			sizes[i] += len(r.Value)
			return nil
		})
		if err != nil {
			return err
		}
		if records != n {
			return fmt.Errorf("%d requests made %d records on %s", n, records, topic)
		}
		sizes[i] /= records
	}
	say("warm; a request's result, cost, attempt and audit are %v bytes", sizes)
	text, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("keeping samples: %w", err)
	}
	b.samples = filepath.Join(b.Dir, "samples.json")
	return os.WriteFile(b.samples, text, 0o600)
}

// own is the document of a process that works on topics of its own.
func own(name string, inFlight int) integration.Document {
	return integration.Document{
		"kafka":  integration.Document{"prefix": name + "."},
		"worker": integration.Document{"concurrency": inFlight, "window": 4000},
	}
}

// load makes a set of topics and puts n requests there.
func (b *bench) load(ctx context.Context, name string, n int) (app.Config, error) {
	cfg, err := b.topics(name)
	if err != nil {
		return cfg, err
	}
	p, err := integration.NewProducer(ctx, cfg)
	if err != nil {
		return cfg, err
	}
	defer p.Client.Close()
	return cfg, p.Enqueue(ctx, n)
}

type starter func(ctx context.Context, name string, inFlight int) (*integration.Process, error)

func (b *bench) startWorker(ctx context.Context, name string, inFlight int) (*integration.Process, error) {
	doc := own(name, inFlight)
	if b.profile != "" && name == "sira0" {
		addr, err := integration.FreeAddr(ctx)
		if err != nil {
			return nil, err
		}
		doc["http"] = integration.Document{"addr": addr}
		go b.keepProfile(ctx, addr)
	}
	return b.Start(ctx, name, "worker", doc)
}

// keepProfile fetches three seconds of the worker's CPU profile.
func (b *bench) keepProfile(ctx context.Context, addr string) {
	if err := wait(ctx, 1500*time.Millisecond); err != nil { // past start and the first requests
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/debug/pprof/profile?seconds=3", nil)
	if err != nil {
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		say("no profile: %v", err)
		return
	}
	defer resp.Body.Close()
	f, err := os.Create(b.profile)
	if err != nil {
		say("no profile: %v", err)
		return
	}
	if _, err := io.Copy(f, resp.Body); err != nil {
		say("profile is cut off: %v", err)
	}
	_ = f.Close()
}

func (b *bench) startBare(_ context.Context, name string, inFlight int) (*integration.Process, error) {
	job := bareJob{
		Brokers: []string{b.cfg.Kafka.Embedded.Addr}, Prefix: name + ".", Provider: "http://" + b.cfg.Simulator.Listen + "/llm/openai/v1/chat/completions",
		InFlight: inFlight, Flush: b.cfg.Worker.FlushInterval, Samples: b.samples,
	}
	text, err := job.text()
	if err != nil {
		return nil, err
	}
	p := integration.NewProcess(name, filepath.Join(b.Dir, name+".log"), b.self, bareCommand, text)
	return p, p.Launch()
}

// drain preloads requests, starts a process on them and returns requests a second
// and the process's CPU time for each, in microseconds.
func (b *bench) drain(ctx context.Context, name string, start starter, inFlight int) (perSecond, cpu float64, err error) {
	cfg, err := b.load(ctx, name, b.requests)
	if err != nil {
		return 0, 0, err
	}
	return b.work(ctx, cfg, name, start, inFlight)
}

// work is drain for requests that are there.
func (b *bench) work(ctx context.Context, cfg app.Config, name string, start starter, inFlight int) (perSecond, cpu float64, err error) {
	p, err := start(ctx, name, inFlight)
	if err != nil {
		return 0, 0, err
	}
	defer p.Kill()
	perSecond, err = b.follow(ctx, cfg, p, b.requests)
	if err != nil {
		return 0, 0, fmt.Errorf("%w\n%s", err, p.Tail())
	}
	if err := p.Stop(time.Minute); err != nil {
		return 0, 0, err
	}
	return perSecond, float64(p.CPU().Microseconds()) / float64(b.requests), nil
}

// follow waits until n requests are committed and returns how many there were a
// second between the first tenth and the end.
func (b *bench) follow(ctx context.Context, cfg app.Config, p *integration.Process, n int) (float64, error) {
	cl, err := cfg.Client().NewClient(nil, nil)
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	topic, group := cfg.RequestTopic("standard"), cfg.Kafka.Prefix+"worker.standard"
	var from time.Time
	var at int64
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for {
		offsets, err := adm.FetchOffsets(ctx, group)
		if err != nil && !errors.Is(err, kerr.GroupIDNotFound) { // nobody has joined yet
			return 0, fmt.Errorf("reading offsets of %s: %w", group, err)
		}
		done, now := int64(0), time.Now()
		offsets.Each(func(o kadm.OffsetResponse) {
			if o.Topic == topic {
				done += max(o.At, 0)
			}
		})
		if p.Gone() {
			return 0, fmt.Errorf("%s ended after %d of %d requests", p.Name, done, n)
		}
		if from.IsZero() && done >= int64(n)/10 {
			from, at = now, done
		}
		if done >= int64(n) {
			return float64(done-at) / now.Sub(from).Seconds(), nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-limit.C:
			return 0, fmt.Errorf("%d of %d requests were committed in a minute", done, n)
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

package integration

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/simulate"
	"github.com/sira-ai/sira/schemas"
)

// SoakConfig says how long a soak is.
type SoakConfig struct {
	Requests int
	Workers  int           // processes
	Window   int           // requests that are sent and not answered, at most
	Limit    time.Duration // of the whole
	Say      func(format string, args ...any)
}

// Soak is what a soak measured. Growth is what a straight line through the samples
// says of the measured stretch, from a fifth of the requests to the end.
type Soak struct {
	Requests          int     `json:"requests"`
	Seconds           float64 `json:"seconds"`
	PerSecond         float64 `json:"requests_per_second"`
	Failed            int     `json:"failed"` // of one result in a hundred, those that are failures
	LostResults       int     `json:"lost_results"`
	DoubledResults    int     `json:"doubled_results"`
	LostCosts         int     `json:"lost_costs"`
	DoubledCosts      int     `json:"doubled_costs"`
	Lag               int     `json:"lag_highest"` // requests sent and not answered
	LagEnd            int     `json:"lag_end"`
	Workers           []Wear  `json:"workers"`
	SamplesPerProcess int     `json:"samples_per_process"`
}

// Wear is how what a worker holds changed.
type Wear struct {
	Process          string  `json:"process"`
	ResidentMiB      float64 `json:"rss_mib"`        // median
	ResidentGrowth   float64 `json:"rss_growth_mib"` // over the stretch
	ResidentSlope    float64 `json:"rss_bytes_per_request"`
	Goroutines       float64 `json:"goroutines"` // median
	GoroutinesGrowth float64 `json:"goroutines_growth"`
}

// What may grow: samples of a steady process still scatter by the garbage
// collector's rhythm.
const (
	growthMiB        = 24
	growthShare      = 0.1
	growthGoroutines = 200
)

// Faults returns what a soak must not show.
func (s *Soak) Faults() error {
	var errs []error
	for what, n := range map[string]int{
		"lost results": s.LostResults, "doubled results": s.DoubledResults, "lost costs": s.LostCosts, "doubled costs": s.DoubledCosts,
		"failures among the results looked at": s.Failed, "requests unanswered at the end": s.LagEnd,
	} {
		if n != 0 {
			errs = append(errs, fmt.Errorf("%d %s", n, what))
		}
	}
	for _, w := range s.Workers {
		if limit := max(growthMiB, growthShare*w.ResidentMiB); w.ResidentGrowth > limit {
			errs = append(errs, fmt.Errorf("%s grew by %.1f MiB (%.0f bytes a request), more than %.1f", w.Process, w.ResidentGrowth, w.ResidentSlope, limit))
		}
		if limit := max(growthGoroutines, growthShare*w.Goroutines); w.GoroutinesGrowth > limit {
			errs = append(errs, fmt.Errorf("%s grew by %.0f goroutines, more than %.0f", w.Process, w.GoroutinesGrowth, limit))
		}
	}
	return errors.Join(errs...)
}

// soak is one that runs.
type soak struct {
	site    *Site
	cfg     app.Config
	own     SoakConfig
	workers []*Process
	addrs   []string // of their metrics
	out     Soak

	mu             sync.Mutex
	results, costs []uint8 // how many there are, by request
	answered, paid int
	sent           int
	changed        *sync.Cond
	samples        [][]sample // by worker
}

// sample is a Vital after so many answers.
type sample struct {
	answered float64
	Vital
}

// Soak starts broker, registry, provider and workers as processes of their own,
// sends requests as fast as they are answered, and counts every result and cost.
func (s *Site) Soak(ctx context.Context, own SoakConfig) (Soak, error) {
	ctx, cancel := context.WithTimeout(ctx, own.Limit)
	defer cancel()
	k := &soak{site: s, own: own, results: make([]uint8, own.Requests), costs: make([]uint8, own.Requests)}
	k.changed = sync.NewCond(&k.mu)
	if err := k.start(ctx); err != nil {
		return Soak{}, err
	}
	if err := k.run(ctx); err != nil {
		return Soak{}, err
	}
	for _, w := range k.workers {
		if err := w.Stop(time.Minute); err != nil {
			return Soak{}, err
		}
	}
	k.count()
	return k.out, nil
}

func (k *soak) start(ctx context.Context) error {
	if _, err := k.site.Start(ctx, "broker", "kafka,registry", nil); err != nil {
		return err
	}
	if _, err := k.site.Start(ctx, "provider", "simulator", nil); err != nil {
		return err
	}
	var err error
	if k.cfg, err = k.site.Config(); err != nil {
		return err
	}
	if err := SetSimulator(ctx, k.cfg, simulate.Behaviour{
		Tokens:  simulate.Tokens{Min: 16, Max: 48},
		Latency: simulate.Latency{Kind: "uniform", Min: simulate.Duration(2 * time.Millisecond), Max: simulate.Duration(40 * time.Millisecond)},
	}); err != nil {
		return err
	}
	for i := range k.own.Workers {
		addr, err := FreeAddr(ctx)
		if err != nil {
			return err
		}
		// Fixed, because each call keeps a connection for 90 s: a limit that is found in the middle of a short run would
		// look like something that grows.
		own := Document{"http": Document{"addr": addr}, "worker": Document{"concurrency": 500, "fixed_concurrency": true}}
		w, err := k.site.Start(ctx, "worker"+strconv.Itoa(i), "worker", own)
		if err != nil {
			return err
		}
		k.workers, k.addrs = append(k.workers, w), append(k.addrs, addr)
	}
	k.samples = make([][]sample, len(k.workers))
	return nil
}

func (k *soak) run(ctx context.Context) error {
	producer, err := NewProducer(ctx, k.cfg)
	if err != nil {
		return err
	}
	defer producer.Client.Close()
	reader, err := k.cfg.Client().NewClient(nil, nil, kgo.ConsumeTopics(k.cfg.Topic(app.TopicResults), k.cfg.Topic(app.TopicCosts)),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer reader.Close()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(ctx, k.changed.Broadcast)()
	var wg sync.WaitGroup
	part := func(f func(context.Context) error) {
		wg.Go(func() {
			if err := f(ctx); err != nil {
				stop(err)
			}
		})
	}
	began := time.Now()
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	part(func(ctx context.Context) error { return k.send(ctx, producer) })
	part(func(context.Context) error { return k.read(reading, reader, producer) })
	part(func(context.Context) error { return k.watch(reading) })
	k.mu.Lock()
	for ctx.Err() == nil && (k.answered < k.own.Requests || k.paid < k.own.Requests) {
		k.changed.Wait()
	}
	k.mu.Unlock()
	k.out.Seconds = time.Since(began).Seconds()
	err = wait(ctx, 2*time.Second) // for what comes twice
	stopReading()
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return fmt.Errorf("soaking: %d of %d requests were answered: %w", k.answered, k.own.Requests, cause)
	}
	return err
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// send keeps the window full.
func (k *soak) send(ctx context.Context, p *Producer) error {
	first := new(kgo.FirstErrPromise)
	for i := range k.own.Requests {
		k.mu.Lock()
		for k.sent-k.answered >= k.own.Window && ctx.Err() == nil {
			k.changed.Wait()
		}
		k.sent++
		k.mu.Unlock()
		if ctx.Err() != nil {
			return nil // the cause is known
		}
		r := Request("s" + strconv.Itoa(i))
		r.Tenant, r.Stream = "tenant-"+strconv.Itoa(i%50), i%10 == 0
		rec, err := p.Record(r, i%2 == 0)
		if err != nil {
			return err
		}
		p.Client.Produce(ctx, rec, first.Promise())
	}
	return errors.Join(p.Client.Flush(ctx), first.Err())
}

// read counts results and costs until ctx is done.
func (k *soak) read(ctx context.Context, cl *kgo.Client, p *Producer) error {
	results := k.cfg.Topic(app.TopicResults)
	for {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("reading results: %w", err)
		}
		for rec := range fetches.RecordsAll() {
			if rec.Topic == results {
				if err := k.result(ctx, p, rec); err != nil {
					return err
				}
				continue
			}
			var e schemas.CostEvent
			if err := p.Codecs.Cost.Decode(ctx, rec.Value, &e); err != nil {
				return fmt.Errorf("decoding cost: %w", err)
			}
			if err := k.note(e.RequestID, k.costs, &k.paid); err != nil {
				return err
			}
		}
		k.changed.Broadcast()
	}
}

// result counts one, and looks into every hundredth.
func (k *soak) result(ctx context.Context, p *Producer, rec *kgo.Record) error {
	if rec.Offset%100 == 0 && rec.Value[0] == 0 {
		var r schemas.Result
		if err := p.Codecs.Result.Decode(ctx, rec.Value, &r); err != nil {
			return fmt.Errorf("decoding result: %w", err)
		}
		if r.Failure != nil {
			k.out.Failed++
		}
	}
	return k.note(string(rec.Key), k.results, &k.answered)
}

func (k *soak) note(id string, seen []uint8, first *int) error {
	i, err := strconv.Atoi(id[min(1, len(id)):])
	if err != nil || i < 0 || i >= len(seen) {
		return fmt.Errorf("nobody asked for %q", id)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if seen[i] < math.MaxUint8 {
		seen[i]++
	}
	if seen[i] == 1 {
		*first++
	}
	return nil
}

// watch takes samples of the workers, about two hundred or one a second.
func (k *soak) watch(ctx context.Context) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	said := time.Now()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		k.mu.Lock()
		sent, answered := k.sent, k.answered
		k.mu.Unlock()
		k.out.Lag = max(k.out.Lag, sent-answered)
		for i, w := range k.workers {
			if w.Gone() {
				return fmt.Errorf("%s ended:\n%s", w.Name, w.Tail())
			}
			v, err := w.Vital(ctx, k.addrs[i])
			if err != nil && ctx.Err() == nil {
				return err
			}
			if err == nil && answered < k.own.Requests {
				k.samples[i] = append(k.samples[i], sample{float64(answered), v})
			}
		}
		if time.Since(said) > 15*time.Second {
			said = time.Now()
			k.own.Say("%d of %d answered", answered, k.own.Requests)
		}
	}
}

// count fills in the figures.
func (k *soak) count() {
	o := &k.out
	o.Requests, o.PerSecond, o.LagEnd = k.own.Requests, float64(k.own.Requests)/o.Seconds, k.sent-k.answered
	once := func(seen []uint8) (lost, doubled int) {
		for _, n := range seen {
			switch {
			case n == 0:
				lost++
			case n > 1:
				doubled++
			}
		}
		return lost, doubled
	}
	o.LostResults, o.DoubledResults = once(k.results)
	o.LostCosts, o.DoubledCosts = once(k.costs)
	for i, all := range k.samples {
		warm := float64(k.own.Requests) / 5
		steady := slices.DeleteFunc(slices.Clone(all), func(s sample) bool { return s.answered < warm })
		o.SamplesPerProcess = len(steady)
		stretch := float64(k.own.Requests) - warm
		w := Wear{Process: k.workers[i].Name}
		var slope float64
		w.ResidentMiB, slope = line(steady, func(s sample) float64 { return s.ResidentMiB })
		w.ResidentGrowth, w.ResidentSlope = slope*stretch, slope*(1<<20)
		w.Goroutines, slope = line(steady, func(s sample) float64 { return s.Goroutines })
		w.GoroutinesGrowth = slope * stretch
		o.Workers = append(o.Workers, w)
	}
}

// line returns the median of samples and the slope of the straight line nearest to
// them (least squares).
func line(samples []sample, of func(sample) float64) (median, slope float64) {
	if len(samples) < 2 {
		return 0, 0
	}
	var values []float64
	var x, y float64
	for _, s := range samples {
		values = append(values, of(s))
		x, y = x+s.answered, y+of(s)
	}
	n := float64(len(samples))
	x, y = x/n, y/n
	var xy, xx float64
	for _, s := range samples {
		xy += (s.answered - x) * (of(s) - y)
		xx += (s.answered - x) * (s.answered - x)
	}
	slices.Sort(values)
	if xx == 0 {
		return values[len(values)/2], 0
	}
	return values[len(values)/2], xy / xx
}

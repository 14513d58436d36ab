// Package simulation runs the engine, its deliverer and a Kafka cluster inside a
// bubble of virtual time, on a network of its own, while a seeded scheduler of
// faults does its worst: brokers answer errors, answers get lost, workers crash,
// are cut off, come back and leave, leaders and coordinators move. Afterwards it
// counts. Hours pass in seconds, and a seed that fails fails again.
package simulation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline/kafka"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// The topics of the world.
const (
	topicRequests = "requests"
	topicOrdered  = "ordered"
	topicResults  = "results"
	topicCosts    = "costs"
	topicRetry    = "retry"
	topicEvents   = "events" // attempts, audit, dead letters and chunks: not counted
)

// Config is the size of a world.
type Config struct {
	Seed     uint64
	Requests int           // 1,200, spread over the storm
	Keys     int           // of the ordered lane; 12
	Storm    time.Duration // how long faults come; 2 min
	Dir      string        // for the workers' journals; empty: they have none
}

// World is one run.
type World struct {
	cfg     Config
	rng     *rand.Rand
	network *kfake.VirtualNetwork
	cluster *kfake.Cluster
	codecs  *avro.Codecs
	client  *kgo.Client
	workers []*worker
	log     *zap.Logger

	mu      sync.Mutex
	order   map[string][]int // by key, the numbers in the order that their calls finished
	history []string         // what the scheduler did, for people

	places map[string][]string // of the records read last, by request id
}

// Outcome is what a reader of committed records finds.
type Outcome struct {
	Results, Costs map[string]int // by request id
	Order          map[string][]int
	Places         map[string][]string // of results that are there more than once: who wrote them where
	History        []string
	Took           time.Duration // of virtual time, until all was answered
}

const (
	brokers    = 3
	partitions = 4
	workers    = 3
)

// Run makes a world and lets it live. It must be called in a synctest bubble. An
// error means that the world could not be made, or did not come to rest.
func Run(ctx context.Context, cfg Config, log *zap.Logger) (*Outcome, error) {
	if cfg.Requests == 0 {
		cfg.Requests = 1200
	}
	if cfg.Keys == 0 {
		cfg.Keys = 12
	}
	if cfg.Storm == 0 {
		cfg.Storm = 2 * time.Minute
	}
	w := &World{
		cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 1)), network: new(kfake.VirtualNetwork),
		order: make(map[string][]int), log: log,
	}
	if err := w.build(ctx); err != nil {
		return nil, err
	}
	defer w.close()
	began := time.Now()
	sent := make(chan error, 1)
	go func() { sent <- w.send(ctx) }()
	for i := range workers {
		w.workers = append(w.workers, newWorker(w, fmt.Sprintf("w%d", i), w.rng.Uint64()))
	}
	for _, wk := range w.workers {
		if err := wk.start(); err != nil {
			return nil, err
		}
	}
	w.storm(ctx)
	w.calm()
	if err := <-sent; err != nil {
		return nil, err
	}
	if err := w.answered(ctx); err != nil {
		return &Outcome{History: append(append(w.history, w.state()...), w.missing(ctx)...)}, err
	}
	took := time.Since(began)
	for _, wk := range w.workers {
		if err := wk.stop(); err != nil {
			return nil, err
		}
	}
	out, err := w.count(ctx)
	if err != nil {
		return nil, err
	}
	out.Took, out.Order, out.History = took, w.order, w.history
	return out, nil
}

func (w *World) build(ctx context.Context) error {
	var err error
	w.cluster, err = kfake.NewCluster(
		kfake.NumBrokers(brokers), kfake.Ports(9001, 9002, 9003), kfake.ListenFn(w.network.Listen), kfake.GroupMinSessionTimeout(time.Second),
		kfake.SeedTopics(partitions, topicRequests, topicOrdered), kfake.SeedTopics(2, topicResults, topicCosts, topicEvents), kfake.SeedTopics(1, topicRetry),
		kfake.BrokerConfigs(map[string]string{"min.insync.replicas": "1", "default.replication.factor": "1"}),
	)
	if err != nil {
		return fmt.Errorf("starting the cluster: %w", err)
	}
	registry := &memory{}
	w.codecs = avro.NewCodecs(registry)
	err = w.codecs.Register(ctx, registry, avro.Topics{
		Requests: []string{topicRequests}, Results: []string{topicResults}, Costs: []string{topicCosts},
		Attempts: []string{topicEvents}, Audit: []string{topicEvents}, Chunks: []string{topicEvents},
	})
	if err != nil {
		return fmt.Errorf("registering schemas: %w", err)
	}
	w.client, err = w.kafka(w.network.DialContext).NewClient(w.log, nil, kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	return err
}

// state is what the engines know of their partitions, for people.
func (w *World) state() []string {
	var out []string
	for _, k := range w.workers {
		for _, p := range k.engine.Partitions() {
			out = append(out, fmt.Sprintf("%s %+v", k.name, p))
		}
		out = append(out, fmt.Sprintf("%s ready: %v", k.name, k.engine.Ready()))
	}
	for _, lane := range []string{"standard", "ordered", "retry"} {
		out = append(out, fmt.Sprintf("group sira.%s: %+v", lane, w.cluster.GroupInfo("sira."+lane)))
	}
	return out
}

// missing says which requests have no result, and how far readers may read.
func (w *World) missing(ctx context.Context) []string {
	admin := kadm.NewClient(w.client)
	var out []string
	for _, topic := range []string{topicResults, topicCosts, topicRetry} {
		stable, err := admin.ListCommittedOffsets(ctx, topic)
		ends, err2 := admin.ListEndOffsets(ctx, topic)
		if err != nil || err2 != nil {
			return append(out, fmt.Sprint(err, err2))
		}
		ends.Each(func(o kadm.ListedOffset) {
			if s, ok := stable.Lookup(topic, o.Partition); ok && s.Offset != o.Offset {
				out = append(out, fmt.Sprintf("%s/%d ends at %d, and readers of committed records at %d", topic, o.Partition, o.Offset, s.Offset))
			}
		})
	}
	seen, err := w.read(ctx, admin, topicResults)
	if err != nil {
		return append(out, err.Error())
	}
	for i := range w.cfg.Requests {
		if seen[id(i)] == 0 {
			out = append(out, id(i)+" has no result")
		}
	}
	return out
}

func (w *World) close() {
	for _, k := range w.workers { // those that still run, after an error
		k.kill()
		<-k.done
	}
	if w.client != nil {
		w.client.Close()
	}
	w.cluster.Close()
	time.Sleep(5 * time.Second) // for what is still on its way: a bubble must not end before its goroutines
}

func (w *World) kafka(dial dialer) kafka.Config {
	return kafka.Config{Brokers: []string{"localhost:9001", "localhost:9002", "localhost:9003"}, Dial: dial}
}

// send writes two thirds of the requests without and one third with order, in
// bursts over the time of the storm.
func (w *World) send(ctx context.Context) error {
	const burst = 20
	pause := w.cfg.Storm / time.Duration(w.cfg.Requests/burst+1)
	for i := range w.cfg.Requests {
		if i%burst == 0 {
			time.Sleep(pause)
		}
		topic, key := topicRequests, id(i)
		if i%3 == 0 {
			topic, key = topicOrdered, fmt.Sprintf("k%d", i/3%w.cfg.Keys)
		}
		v, err := json.Marshal(schemas.Request{
			ID: id(i), Tenant: fmt.Sprintf("t%d", i%5), Model: "m", ConversationID: key, Stream: i%7 == 0,
			Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "hello")},
		})
		if err != nil {
			return err
		}
		if err := w.client.ProduceSync(ctx, &kgo.Record{Topic: topic, Key: []byte(key), Value: v}).FirstErr(); err != nil {
			return fmt.Errorf("sending requests: %w", err)
		}
	}
	return nil
}

func id(i int) string { return fmt.Sprintf("r%05d", i) }

// note remembers what the scheduler did.
func (w *World) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.history = append(w.history, time.Now().Format("04:05.000 ")+fmt.Sprintf(format, args...))
}

// patience is how long the world may take to come to rest after the storm: far
// longer than every timeout together.
const patience = 10 * time.Minute

// answered waits until there are as many committed results as requests.
func (w *World) answered(ctx context.Context) error {
	admin := kadm.NewClient(w.client)
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
		seen, err := w.read(ctx, admin, topicResults)
		if err == nil && len(seen) >= w.cfg.Requests {
			return nil
		}
	}
	seen, err := w.read(ctx, admin, topicResults)
	return fmt.Errorf("%d of %d requests were answered %s after the last fault: %w", len(seen), w.cfg.Requests, patience, errOrNil(err))
}

func (w *World) count(ctx context.Context) (*Outcome, error) {
	admin := kadm.NewClient(w.client)
	results, err := w.read(ctx, admin, topicResults)
	if err != nil {
		return nil, err
	}
	out := &Outcome{Results: results, Places: make(map[string][]string)}
	for request, n := range results {
		if n > 1 {
			out.Places[request] = w.places[request]
		}
	}
	out.Costs, err = w.read(ctx, admin, topicCosts)
	return out, err
}

// read counts the committed records of a topic by request id.
func (w *World) read(ctx context.Context, admin *kadm.Client, topic string) (map[string]int, error) {
	ends, err := admin.ListCommittedOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	at := map[string]map[int32]kgo.Offset{topic: {}}
	left := map[int32]int64{}
	ends.Each(func(o kadm.ListedOffset) {
		at[topic][o.Partition] = kgo.NewOffset().AtStart()
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	if err := ends.Error(); err != nil {
		return nil, err
	}
	cl, err := w.kafka(w.network.DialContext).NewClient(w.log, nil, kgo.ConsumePartitions(at), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(100*time.Millisecond), kgo.KeepControlRecords())
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	seen, places := make(map[string]int), make(map[string][]string)
	limit, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for len(left) > 0 && limit.Err() == nil {
		f := cl.PollFetches(limit)
		f.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if !r.Attrs.IsControl() {
				request := w.requestOf(ctx, topic, r)
				seen[request]++
				places[request] = append(places[request], fmt.Sprintf("%s/%d offset %d of producer %d epoch %d", topic, r.Partition, r.Offset, r.ProducerID, r.ProducerEpoch))
			}
		})
	}
	w.places = places
	return seen, limit.Err()
}

func (w *World) requestOf(ctx context.Context, topic string, r *kgo.Record) string {
	if topic == topicCosts {
		var e schemas.CostEvent
		if err := w.codecs.Cost.Decode(ctx, r.Value, &e); err != nil {
			return "unreadable: " + err.Error()
		}
		return e.RequestID
	}
	return string(r.Key)
}

func errOrNil(err error) error {
	if err == nil {
		return errors.New("the world did not come to rest")
	}
	return err
}

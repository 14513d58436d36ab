package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/simulate"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/sinks/clickhouse"
)

// heavy skips a suite that takes minutes, unless it was asked for.
func heavy(t *testing.T) {
	t.Helper()
	if os.Getenv("SIRA_INTEGRATION") == "" {
		t.Skip("takes minutes; run `make integration`")
	}
}

var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sira-integration-")
	if err != nil {
		return "", err
	}
	return Build(context.Background(), dir)
})

// rig is a site under test with its tools.
type rig struct {
	*Site
	t   *testing.T
	cfg app.Config
}

func newRig(t *testing.T) *rig {
	t.Helper()
	heavy(t)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSite(t.Context(), path, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		if t.Failed() {
			for _, p := range s.processes {
				t.Logf("log of %s ends with:\n%s", p.Name, p.Tail())
			}
		}
	})
	return &rig{Site: s, t: t}
}

// start starts an instance and waits until it is up.
func (r *rig) start(instance, roles string, own Document) *Process {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	p, err := r.Start(ctx, instance, roles, own)
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// ready loads the configuration once addresses are final.
func (r *rig) ready() {
	r.t.Helper()
	var err error
	if r.cfg, err = r.Config(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) simulate(b simulate.Behaviour) {
	r.t.Helper()
	if err := SetSimulator(r.t.Context(), r.cfg, b); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) stats() simulate.Stats {
	r.t.Helper()
	s, err := SimulatorStats(r.t.Context(), r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// enqueue puts n requests on the topic and waits until the broker has them.
func (r *rig) enqueue(n int) {
	r.t.Helper()
	p, err := NewProducer(r.t.Context(), r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	defer p.Client.Close()
	if err := p.Enqueue(r.t.Context(), n); err != nil {
		r.t.Fatal(err)
	}
}

// fast is a provider as real ones are: 5 to 300 ms, one in a hundred 3 s.
func fast() simulate.Behaviour {
	return simulate.Behaviour{
		Tokens: simulate.Tokens{Min: 8, Max: 16},
		Latency: simulate.Latency{
			Kind: "uniform", Min: simulate.Duration(5 * time.Millisecond), Max: simulate.Duration(300 * time.Millisecond),
			Stragglers: simulate.Stragglers{Share: 0.01, Latency: simulate.Duration(3 * time.Second)},
		},
	}
}

// answered follows the results topic and returns how many requests have one.
func (r *rig) answered() *atomic.Int64 {
	r.t.Helper()
	cl, err := r.cfg.Client().NewClient(nil, nil, kgo.ConsumeTopics(r.cfg.Topic(app.TopicResults)),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	n, done := new(atomic.Int64), make(chan struct{})
	go func() {
		defer close(done)
		seen := map[string]bool{}
		for ctx.Err() == nil {
			for rec := range cl.PollFetches(ctx).RecordsAll() {
				seen[string(rec.Key)] = true
			}
			n.Store(int64(len(seen)))
		}
	}()
	r.t.Cleanup(func() { cancel(); cl.Close(); <-done })
	return n
}

// until waits for a condition.
func (r *rig) until(what string, limit time.Duration, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(limit); !ok(); {
		if time.Now().After(deadline) {
			r.t.Fatalf("waiting for %s: it did not happen in %s", what, limit)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-r.t.Context().Done():
			r.t.Fatalf("waiting for %s: %v", what, r.t.Context().Err())
		}
	}
}

// exactlyOnce checks that r0 to r(n-1) have one result and one cost each, as
// readers of committed records see them, and returns the number of failures.
func (r *rig) exactlyOnce(n int) (failed int) {
	r.t.Helper()
	registry, err := r.cfg.OpenRegistry()
	if err != nil {
		r.t.Fatal(err)
	}
	codecs := newCodecs(registry)
	results, costs, places := map[string]int{}, map[string]int{}, map[string]string{}
	shown := 0
	r.each(app.TopicResults, func(rec *kgo.Record) error {
		id, place := string(rec.Key), fmt.Sprintf("%d/%d of producer %d epoch %d at %s", rec.Partition, rec.Offset, rec.ProducerID, rec.ProducerEpoch, rec.Timestamp.Format(time.TimeOnly+".000"))
		if results[id]++; results[id] > 1 && shown < 10 {
			shown++
			r.t.Logf("doubled: %s at %s and %s", id, places[id], place)
		}
		places[id] = place
		var res schemas.Result
		if rec.Value[0] == 0 {
			err = codecs.Result.Decode(r.t.Context(), rec.Value, &res)
		} else {
			err = json.Unmarshal(rec.Value, &res)
		}
		if err != nil {
			return fmt.Errorf("decoding result: %w", err)
		}
		if res.RequestID != string(rec.Key) {
			return fmt.Errorf("result of %q has key %q", res.RequestID, rec.Key)
		}
		if res.Failure != nil {
			failed++
			if failed <= 5 {
				r.t.Logf("%s failed: %s", res.RequestID, res.Failure.Code)
			}
		}
		return nil
	})
	r.each(app.TopicCosts, func(rec *kgo.Record) error {
		var e schemas.CostEvent
		if err := codecs.Cost.Decode(r.t.Context(), rec.Value, &e); err != nil {
			return fmt.Errorf("decoding cost: %w", err)
		}
		costs[e.RequestID]++
		return nil
	})
	r.once("results", results, n)
	r.once("costs", costs, n)
	return failed
}

func (r *rig) each(topic string, do func(*kgo.Record) error) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	if err := EachCommitted(ctx, r.cfg.Client(), r.cfg.Topic(topic), do); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) once(what string, seen map[string]int, n int) {
	r.t.Helper()
	var lost, doubled int
	for i := range n {
		switch seen[fmt.Sprintf("r%d", i)] {
		case 0:
			lost++
		case 1:
		default:
			doubled++
		}
	}
	if lost > 0 || doubled > 0 || len(seen) != n {
		r.t.Errorf("%s of %d requests: %d lost, %d doubled, %d that nobody asked for", what, n, lost, doubled, len(seen)-n+lost)
	}
}

// records counts the committed records of a topic.
func (r *rig) records(topic string) (n uint64) {
	r.t.Helper()
	r.each(topic, func(*kgo.Record) error { n++; return nil })
	return n
}

// tables returns a connection to the site's ClickHouse.
func (r *rig) tables() driver.Conn {
	r.t.Helper()
	conn, _, err := clickhouse.Open(r.cfg.ClickHouseDSN())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (r *rig) number(conn driver.Conn, query string) uint64 {
	r.t.Helper()
	var n uint64
	if err := conn.QueryRow(r.t.Context(), query).Scan(&n); err != nil {
		r.t.Fatalf("%s: %v", query, err)
	}
	return n
}

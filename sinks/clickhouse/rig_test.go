package clickhouse

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline/kafka"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// base is a fixed moment, so that rollups fall into known minutes and hours.
var base = time.Date(2026, 3, 4, 10, 0, 0, 0, time.UTC)

// rig is a house with a broker, a registry and the eight kinds of events.
type rig struct {
	*house
	t      testing.TB
	broker *kafka.Embedded
	client *kgo.Client
	codecs *avro.Codecs
	source *source
	config kafka.Config
	sent   map[string]int // by topic
}

// lateID is the id of a schema that the registry can't tell before it is up.
const lateID = 4711

// source is a registry that is out of reach for one schema, which is that of
// costs.
type source struct {
	*avro.EmbeddedRegistry
	up    atomic.Bool
	asked atomic.Int64
	late  string
}

func (s *source) SchemaByID(ctx context.Context, id int) (string, error) {
	if id != lateID {
		return s.EmbeddedRegistry.SchemaByID(ctx, id)
	}
	s.asked.Add(1)
	if !s.up.Load() {
		return "", avro.ErrRegistryUnavailable
	}
	return s.late, nil
}

var topics = RecorderTopics{Results: []string{"results", "replies"}, Costs: "costs", Attempts: "attempts", Audit: "audit", Metrics: "metrics", Dead: "dead", Health: "health", Budgets: "budgets"}

func newRig(tb testing.TB, partitions int32) *rig {
	tb.Helper()
	r := &rig{house: migrated(tb), t: tb, sent: map[string]int{}}
	r.startBroker(partitions)
	registry, err := avro.OpenEmbedded(avro.EmbeddedConfig{Dir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = registry.Close() })
	r.source = &source{EmbeddedRegistry: registry}
	r.codecs = avro.NewCodecs(r.source)
	err = r.codecs.Register(tb.Context(), registry, avro.Topics{
		Results: topics.Results, Costs: []string{"costs"}, Attempts: []string{"attempts"}, Audit: []string{"audit"}, Metrics: []string{"metrics"}, Health: []string{"health"}, Budgets: []string{"budgets"},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// startBroker gives the rig a new broker with empty topics.
func (r *rig) startBroker(partitions int32) {
	r.t.Helper()
	var err error
	if r.broker, err = kafka.StartEmbedded(kafka.EmbeddedConfig{}); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.broker.Close)
	r.config = kafka.Config{Brokers: r.broker.Brokers()}
	if r.client, err = r.config.NewClient(nil, nil, kgo.RecordPartitioner(kgo.ManualPartitioner())); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(r.client.Close)
	var specs []kafka.TopicSpec
	for _, name := range []string{"results", "replies", "costs", "attempts", "audit", "metrics", "dead", "health", "budgets"} {
		specs = append(specs, kafka.TopicSpec{Name: name, Partitions: partitions})
	}
	if _, err := kafka.EnsureTopics(r.t.Context(), r.client, specs); err != nil {
		r.t.Fatal(err)
	}
}

// events sends n events of every kind, spread over the partitions.
func (r *rig) events(n int, partitions int32) {
	r.t.Helper()
	for i := range n {
		p := int32(i) % partitions
		at := base.Add(time.Duration(i) * time.Second)
		id := fmt.Sprintf("r%06d", i)
		send(r, "results", p, r.codecs.Result, result(id, at))
		r.json("replies", p, result("j"+id, at))
		send(r, "costs", p, r.codecs.Cost, &schemas.CostEvent{
			ID: "requests/0/" + id, RequestID: id, Tenant: "acme", Time: at, Op: schemas.OpChat, Model: "m", Outcome: schemas.OK, State: schemas.CostPriced,
			Amount: decimal.RequireFromString("0.000000000003"), Currency: "USD", InputTokens: 10, OutputTokens: 5, Attempts: 1,
			Lines: []schemas.CostLine{{Attempt: 1, Kind: schemas.LineUsage, Provider: "openai", Model: "gpt", State: schemas.CostPriced, Amount: decimal.RequireFromString("0.000000000003"), Currency: "USD"}},
		})
		send(r, "attempts", p, r.codecs.Attempt, &schemas.AttemptEvent{
			ID: id + "#1", RequestID: id, Tenant: "acme", Op: schemas.OpChat, Model: "m", Worker: "w1",
			Attempt: schemas.Attempt{
				Number: 1, Target: schemas.Target{Provider: "openai", Model: "gpt", Endpoint: "openai-eu"}, Reason: "first", Outcome: schemas.OK,
				StartedAt: at, LatencyMS: int64(i), Usage: schemas.Usage{InputTokens: 10, OutputTokens: 5},
			},
		})
		send(r, "audit", p, r.codecs.Audit, &schemas.AuditEvent{ID: id + ":request.completed", Time: at, Tenant: "acme", Actor: "acme", Action: "request.completed", Resource: id, Outcome: schemas.OK})
		send(r, "metrics", p, r.codecs.Metric, &schemas.MetricEvent{Time: at, Name: "in_flight", Worker: "w1", Value: float64(i)})
		send(r, "health", p, r.codecs.Health, &schemas.HealthEvent{
			ID: schemas.ShiftID("openai", id, 1), Time: at, Kind: schemas.HealthShare, Provider: "openai", Endpoint: id, Source: schemas.SourceAnalyst,
			Instance: "a1", Applied: true, FromShare: 100, ToShare: 5, Probability: 0.8, Reasons: []string{"slow"},
		})
		send(r, "budgets", p, r.codecs.Budget, &schemas.BudgetEvent{
			ID: fmt.Sprintf("b#%d", i+1), Time: at, Budget: "b", Seq: int64(i + 1), Tenant: "acme", Mode: "hard", Decision: "granted", Request: id,
			Amount: decimal.RequireFromString("0.000000000003"), Currency: "USD", Window: base, Limit: decimal.New(100, 0),
		})
		r.put(&kgo.Record{Topic: "dead", Partition: p, Value: []byte("x"), Headers: []kgo.RecordHeader{{Key: schemas.HeaderDeadReason, Value: []byte("exhausted")}}})
	}
	if err := r.client.Flush(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func result(id string, at time.Time) *schemas.Result {
	return &schemas.Result{
		RequestID: id, Tenant: "acme", Status: schemas.Succeeded, Response: &schemas.Response{Model: "gpt"}, Op: schemas.OpChat, Model: "m",
		Target: &schemas.Target{Provider: "openai", Model: "gpt", Endpoint: "openai-eu"}, Origin: "requests/0/1", Labels: map[string]string{"team": "a"},
		Attempts: []schemas.Attempt{{Number: 1, Reason: "first", Outcome: schemas.OK, StartedAt: at}, {Number: 2, Reason: "fallback", Outcome: schemas.OK, StartedAt: at}},
		Cost:     schemas.Cost{State: schemas.CostPriced}, CreatedAt: at, StartedAt: at.Add(5 * time.Millisecond), CompletedAt: at.Add(100 * time.Millisecond),
	}
}

func send[T any](r *rig, topic string, partition int32, c *avro.Codec[T], v *T) {
	r.t.Helper()
	value, err := c.Append(nil, v)
	if err != nil {
		r.t.Fatal(err)
	}
	r.put(&kgo.Record{Topic: topic, Partition: partition, Value: value})
}

func (r *rig) json(topic string, partition int32, v any) {
	r.t.Helper()
	value, err := json.Marshal(v)
	if err != nil {
		r.t.Fatal(err)
	}
	r.put(&kgo.Record{Topic: topic, Partition: partition, Value: value})
}

func (r *rig) put(rec *kgo.Record) {
	r.sent[rec.Topic]++
	r.client.Produce(r.t.Context(), rec, func(_ *kgo.Record, err error) {
		if err != nil {
			r.t.Error(err)
		}
	})
}

// running is a recorder at work.
type running struct {
	*Recorder
	stop func() // and wait; harmless when repeated
}

// record starts a recorder.
func (r *rig) record(instance string, edit ...func(*RecorderConfig)) *running {
	r.t.Helper()
	cfg := RecorderConfig{
		Client: r.config, Group: "recorder", Instance: instance, Conn: r.conn, Codecs: r.codecs, Topics: topics, Link: chainHash,
		MaxWait: 50 * time.Millisecond, SessionTimeout: time.Second, Heartbeat: 50 * time.Millisecond, Log: zap.NewNop(),
	}
	for _, e := range edit {
		e(&cfg)
	}
	rec := NewRecorder(cfg)
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.t.Context()))
	done := make(chan error, 1)
	go func() { done <- rec.Run(ctx) }()
	run := &running{Recorder: rec, stop: sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			r.t.Errorf("recorder %s: %v", instance, err)
		}
	})}
	r.t.Cleanup(run.stop)
	return run
}

// dies makes a stop as sudden as a test can: nothing is finished, nothing is
// committed.
func dies(c *RecorderConfig) { c.Drain = time.Nanosecond }

var tables = map[string][]string{
	"requests": {"results", "replies"}, "costs": {"costs"}, "attempts": {"attempts"}, "audit": {"audit"}, "metrics": {"metrics"}, "dead_letters": {"dead"}, "health": {"health"}, "budget_events": {"budgets"},
}

// waitRows waits until every table holds what was sent, at least.
func (r *rig) waitRows() {
	r.t.Helper()
	for table, from := range tables {
		want := 0
		for _, t := range from {
			want += r.sent[t]
		}
		r.wait(table+" to be complete", func() bool { return r.number(r.t, "SELECT count() FROM "+table) >= uint64(want) })
	}
}

func (r *rig) wait(what string, ok func() bool) {
	r.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			r.t.Fatalf("waiting for %s: it did not happen in 20 s", what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// exact checks that tables, rollups and chains hold every event exactly once.
func (r *rig) exact() {
	r.t.Helper()
	for table, from := range tables {
		var want uint64
		for _, t := range from {
			want += uint64(r.sent[t])
		}
		if n := r.number(r.t, "SELECT count() FROM "+table); n != want {
			r.t.Errorf("%s holds %d rows, want %d", table, n, want)
		}
		if n := r.number(r.t, "SELECT uniqExact(src_topic, src_partition, src_offset) FROM "+table); n != want {
			r.t.Errorf("%s holds %d events, want %d", table, n, want)
		}
	}
	for rollup, table := range map[string]string{"requests_1h": "requests", "costs_1h": "costs", "attempts_1m": "attempts"} {
		if in, want := r.number(r.t, "SELECT sum(n) FROM "+rollup), r.number(r.t, "SELECT count() FROM "+table); in != want {
			r.t.Errorf("%s counts %d, %s holds %d", rollup, in, table, want)
		}
	}
	if n := r.number(r.t, "SELECT toUInt64((SELECT sum(amount) FROM costs) != (SELECT sum(amount) FROM costs_1h))"); n != 0 {
		r.t.Error("the sums of costs and costs_1h differ")
	}
	broken := r.number(r.t, `SELECT countIf(seq != want OR prev_hash != link) FROM (
		SELECT seq, prev_hash, row_number() OVER w - 1 AS want, lagInFrame(hash, 1, toFixedString('', 32)) OVER w AS link
		FROM audit WINDOW w AS (PARTITION BY chain ORDER BY seq ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW))`)
	if broken != 0 {
		r.t.Errorf("%d links of the audit chains are broken", broken)
	}
}

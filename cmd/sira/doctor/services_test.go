package doctor

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline/kafka"
	"github.com/sira-ai/sira/schemas/avro"
	"github.com/sira-ai/sira/sinks/clickhouse"
	"github.com/sira-ai/sira/sinks/clickhouse/embedded"
)

// cluster returns a patient with three brokers, the settings of which may be
// changed.
func cluster(t *testing.T, settings map[string]string) *patient {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(3), kfake.BrokerConfigs(settings))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	p := patientOf(parse(t, fmt.Sprintf("instance: me\nkafka: {brokers: [\"%s\"], partitions: 2, event_partitions: 2, lanes: [{name: a, max_age: 2h}], retry: [], replication_factor: 3, min_insync_replicas: 2}\nblobs: {dir: /b}\n",
		strings.Join(c.ListenAddrs(), `", "`))))
	t.Cleanup(p.close)
	if found := ask(t, p, "kafka"); Worst(found) != OK {
		t.Fatalf("three brokers: %+v", found)
	}
	return p
}

// made makes the topics as they should be, and changes one.
func made(t *testing.T, p *patient, change func(*kafka.TopicSpec)) {
	t.Helper()
	specs := p.cfg.Topics()
	if change != nil {
		change(&specs[0])
	}
	if _, err := kafka.EnsureTopics(t.Context(), p.kafka, specs); err != nil {
		t.Fatal(err)
	}
	if found := ask(t, p, "topics"); Worst(found) != OK {
		t.Fatalf("all topics are there, and it finds %+v", found)
	}
}

func TestMissingTopicsAreFound(t *testing.T) {
	t.Parallel()
	p := cluster(t, nil)
	expect(t, ask(t, p, "topics"), Warning, "sira.requests.a")
	made(t, p, nil)
	for _, name := range []string{"partitions", "cleanup", "retention", "replication", "message_size", "transactions"} {
		expect(t, ask(t, p, name), OK, "")
	}
}

func TestWrongTopicsAreFound(t *testing.T) {
	t.Parallel()
	extra := func(key, value string) func(*kafka.TopicSpec) {
		return func(s *kafka.TopicSpec) { s.Extra = map[string]string{key: value} }
	}
	for name, c := range map[string]struct {
		check  string
		change func(*kafka.TopicSpec)
		state  State
		says   string
	}{
		"few partitions":      {"partitions", func(s *kafka.TopicSpec) { s.Partitions = 1 }, Failure, "1 partitions"},
		"compacted":           {"cleanup", func(s *kafka.TopicSpec) { s.Compact = true }, Failure, "compact"},
		"forgets too soon":    {"retention", func(s *kafka.TopicSpec) { s.Retention = 3600e9 }, Failure, "lost without an answer"},
		"forgets rather soon": {"retention", func(s *kafka.TopicSpec) { s.Retention = 3 * 3600e9 }, Warning, "3h"},
		"forgets by size":     {"retention", extra("retention.bytes", "1000000"), Warning, "1000000"},
		"one copy":            {"replication", func(s *kafka.TopicSpec) { s.ReplicationFactor, s.MinInsyncReplicas = 1, 0 }, Failure, "one copy"},
		"all copies":          {"replication", func(s *kafka.TopicSpec) { s.MinInsyncReplicas = 3 }, Warning, "all of them"},
		"one is enough":       {"replication", func(s *kafka.TopicSpec) { s.MinInsyncReplicas = 1 }, Warning, "only one broker"},
		"small records":       {"message_size", func(s *kafka.TopicSpec) { s.MaxMessageBytes = 100_000 }, Failure, "100000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := cluster(t, nil)
			made(t, p, c.change)
			expect(t, ask(t, p, c.check), c.state, c.says)
		})
	}
}

func TestShortTransactionsOfTheBrokersAreFound(t *testing.T) {
	t.Parallel()
	p := cluster(t, map[string]string{"transaction.max.timeout.ms": "5000"})
	expect(t, ask(t, p, "transactions"), Failure, "5s")
}

// Two processes have one instance: whoever joins last takes the place of the
// other, which joins again.
func TestProcessesThatFenceEachOtherAreFound(t *testing.T) {
	t.Parallel()
	p := cluster(t, nil)
	made(t, p, nil)
	expect(t, ask(t, p, "instance"), OK, "No worker named me")
	join := func() *kgo.Client {
		cl, err := p.cfg.Client().NewClient(zap.NewNop(), nil, kgo.ConsumerGroup("sira.worker.a"), kgo.InstanceID("me"), kgo.ConsumeTopics("sira.requests.a"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		return cl
	}
	first := join()
	var was string
	for was == "" {
		if t.Context().Err() != nil {
			t.Fatal("the first process does not join")
		}
		was, _ = first.GroupMetadata()
	}
	expect(t, ask(t, p, "instance"), OK, "stays")
	before, err := p.members(t.Context())
	if err != nil || len(before) != 1 {
		t.Fatalf("members %v, error %v", before, err)
	}
	second := join()
	for now := was; now == was || now == ""; now, _ = second.GroupMetadata() {
		if t.Context().Err() != nil {
			t.Fatal("the second process does not join")
		}
	}
	after, err := p.members(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	expect(t, replaced(before, after, "me"), Failure, "two processes")
}

func TestSchemasOfOthersAreFound(t *testing.T) {
	t.Parallel()
	r, err := avro.OpenEmbedded(avro.EmbeddedConfig{Dir: t.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	l, err := r.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = r.Serve(t.Context(), l, zap.NewNop()) }()
	p := patientOf(parse(t, "registry: {url: 'http://"+l.Addr().String()+"'}"))
	expect(t, ask(t, p, "registry"), OK, l.Addr().String())
	expect(t, ask(t, p, "schemas"), OK, "")
	if _, err := r.Register(t.Context(), avro.ValueSubject("sira.results"), `{"type":"record","name":"Theirs","fields":[{"name":"x","type":"int"}]}`); err != nil {
		t.Fatal(err)
	}
	found := ask(t, p, "schemas")
	expect(t, found, Failure, "sira.results")
	if len(found) != 1 {
		t.Errorf("one subject is of others, and it finds %+v", found)
	}
}

func TestTablesAreLookedAt(t *testing.T) {
	t.Parallel()
	if _, err := embedded.Find(); errors.Is(err, embedded.ErrNoLibrary) && os.Getenv("CI") == "" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	engine, err := embedded.Open(t.Context(), embedded.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	s, err := embedded.Serve(t.Context(), embedded.ServerConfig{Addr: "127.0.0.1:0", Log: zap.NewNop()}, engine)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	p := patientOf(parse(t, ""))
	p.cfg.ClickHouse.Listen = s.Addr()
	t.Cleanup(p.close)
	expect(t, ask(t, p, "clickhouse"), OK, "")
	expect(t, ask(t, p, "migrations"), Warning, "0001_facts")
	if _, err := clickhouse.Migrate(t.Context(), p.cfg.ClickHouseDSN()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"migrations", "ttl", "clock"} {
		expect(t, ask(t, p, name), OK, "")
	}
	for _, change := range []string{
		"ALTER TABLE costs MODIFY TTL toDateTime(event_time) + INTERVAL 30 DAY",
		"INSERT INTO schema_migrations SELECT 1, 'x', 'other', now() + 1",
	} {
		if err := p.tables.Exec(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, ask(t, p, "ttl"), Warning, "costs")
	expect(t, ask(t, p, "migrations"), Failure, "changed")
}

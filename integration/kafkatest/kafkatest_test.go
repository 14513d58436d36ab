package kafkatest_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/integration/kafkatest"
)

const maxMessageBytes = 64 << 10

func TestBroker(t *testing.T) {
	started := time.Now()
	cluster := kafkatest.Start(t, kafkatest.Options{Properties: map[string]string{"message.max.bytes": "65536"}})
	t.Run("is ready in less than 15 s", func(t *testing.T) {
		took := time.Since(started)
		t.Logf("ready after %s", took.Round(time.Millisecond))
		if took > 15*time.Second {
			t.Errorf("the broker was ready after %s, want at most 15s", took)
		}
	})
	t.Run("speaks the second version of transactions", func(t *testing.T) { finalizedTransactionVersion(t, cluster) })
	t.Run("shows only what was committed", func(t *testing.T) { onlyCommittedIsRead(t, cluster) })
	t.Run("refuses a record above message.max.bytes", func(t *testing.T) { largeRecordIsRefused(t, cluster) })
	t.Run("refuses offset metadata above 4096 bytes", func(t *testing.T) { longOffsetMetadataIsRefused(t, cluster) })
}

func finalizedTransactionVersion(t *testing.T, cluster *kafkatest.Cluster) {
	versions, err := kadm.NewClient(newClient(t, cluster)).ApiVersions(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, broker := range versions.Sorted() {
		if broker.Err != nil {
			t.Fatal(broker.Err)
		}
		levels := map[string]int16{}
		for _, feature := range broker.Raw().FinalizedFeatures {
			levels[feature.Name] = feature.MaxVersionLevel
		}
		if levels["transaction.version"] != 2 {
			t.Errorf("transaction.version of broker %d is %d, want 2; all features: %v", broker.NodeID, levels["transaction.version"], levels)
		}
	}
}

func onlyCommittedIsRead(t *testing.T, cluster *kafkatest.Cluster) {
	const topic = "transactions"
	createTopic(t, cluster, topic, 1)
	producer := newClient(t, cluster, kgo.TransactionalID("one"), kgo.DefaultProduceTopic(topic))
	transact := func(value string, end kgo.TransactionEndTry) {
		t.Helper()
		if err := producer.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		produce(t, producer, value)
		if err := producer.EndTransaction(testContext(t), end); err != nil {
			t.Fatal(err)
		}
	}
	transact("aborted", kgo.TryAbort)
	transact("committed", kgo.TryCommit)
	transact("aborted too", kgo.TryAbort)
	transact("committed too", kgo.TryCommit)

	got := consume(t, cluster, topic, 2)
	if diff := cmp.Diff([]string{"committed", "committed too"}, got); diff != "" {
		t.Errorf("read_committed saw (-want +got):\n%s", diff)
	}
}

func largeRecordIsRefused(t *testing.T, cluster *kafkatest.Cluster) {
	const topic = "large"
	createTopic(t, cluster, topic, 1)
	client := newClient(t, cluster, kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()))
	produce(t, client, strings.Repeat("x", maxMessageBytes-1024))

	large := kgo.SliceRecord(bytes.Repeat([]byte("x"), maxMessageBytes))
	if err := client.ProduceSync(testContext(t), large).FirstErr(); !errors.Is(err, kerr.MessageTooLarge) {
		t.Errorf("producing %d bytes returned %v, want %v", maxMessageBytes, err, kerr.MessageTooLarge)
	}
}

func longOffsetMetadataIsRefused(t *testing.T, cluster *kafkatest.Cluster) {
	const topic = "metadata"
	createTopic(t, cluster, topic, 1)
	admin := kadm.NewClient(newClient(t, cluster))
	for length, want := range map[int]error{4096: nil, 4097: kerr.OffsetMetadataTooLarge} {
		offsets := kadm.Offsets{}
		offsets.Add(kadm.Offset{Topic: topic, At: 0, LeaderEpoch: -1, Metadata: strings.Repeat("x", length)})
		responses, err := admin.CommitOffsets(testContext(t), "metadata", offsets)
		if err != nil {
			t.Fatal(err)
		}
		if got := responses.Error(); !errors.Is(got, want) {
			t.Errorf("committing %d bytes of metadata returned %v, want %v", length, got, want)
		}
	}
}

func TestAcknowledgedRecordsSurviveKillAndShutdown(t *testing.T) {
	killedBrokerKeepsRecords(t, kafkatest.Start(t, kafkatest.Options{}))
}

func killedBrokerKeepsRecords(t *testing.T, cluster *kafkatest.Cluster) {
	t.Helper()
	const topic = "survivors"
	addresses := cluster.Brokers()
	createTopic(t, cluster, topic, 1)
	client := newClient(t, cluster, kgo.DefaultProduceTopic(topic))

	produce(t, client, "before the kill")
	cluster.Kill()
	restart(t, cluster)
	produce(t, client, "before the shutdown")
	cluster.StopGraceful()
	restart(t, cluster)

	if diff := cmp.Diff([]string{"before the kill", "before the shutdown"}, consume(t, cluster, topic, 2)); diff != "" {
		t.Errorf("records after the restarts (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(addresses, cluster.Brokers()); diff != "" {
		t.Errorf("addresses after the restarts (-before +after):\n%s", diff)
	}
}

func TestThreeBrokersOutliveOne(t *testing.T) {
	const topic = "replicated"
	cluster := kafkatest.Start(t, kafkatest.Options{Brokers: 3})
	createTopic(t, cluster, topic, 3)
	client := newClient(t, cluster, kgo.DefaultProduceTopic(topic))

	produce(t, client, "with three")
	cluster.Kill(0)
	produce(t, client, "with two")
	restart(t, cluster, 0)

	if diff := cmp.Diff([]string{"with three", "with two"}, consume(t, cluster, topic, 2)); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	started := time.Now()
	cluster.StopGraceful()
	t.Logf("three brokers shut down in %s", time.Since(started).Round(time.Millisecond))
	restart(t, cluster)
	if diff := cmp.Diff([]string{"with three", "with two"}, consume(t, cluster, topic, 2)); diff != "" {
		t.Errorf("records after the shutdown (-want +got):\n%s", diff)
	}
}

func restart(t *testing.T, cluster *kafkatest.Cluster, brokers ...int) {
	t.Helper()
	started := time.Now()
	cluster.Restart(brokers...)
	t.Logf("restarted in %s", time.Since(started).Round(time.Millisecond))
}

func newClient(t *testing.T, cluster *kafkatest.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append(opts, kgo.SeedBrokers(cluster.Brokers()...))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func createTopic(t *testing.T, cluster *kafkatest.Cluster, topic string, replicas int16) {
	t.Helper()
	admin := kadm.NewClient(newClient(t, cluster))
	if _, err := admin.CreateTopic(testContext(t), 1, replicas, nil, topic); err != nil {
		t.Fatalf("creating topic %s: %v", topic, err)
	}
}

func produce(t *testing.T, client *kgo.Client, value string) {
	t.Helper()
	if err := client.ProduceSync(testContext(t), kgo.StringRecord(value)).FirstErr(); err != nil {
		t.Fatalf("producing: %v", err)
	}
}

// consume returns the values of the first n committed records of a topic.
func consume(t *testing.T, cluster *kafkatest.Cluster, topic string, n int) []string {
	t.Helper()
	client := newClient(t, cluster, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	ctx := testContext(t)
	var values []string
	for len(values) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("consuming %s after %d of %d records: %v", topic, len(values), n, err)
		}
		for _, record := range fetches.Records() {
			values = append(values, string(record.Value))
		}
	}
	return values
}

func testContext(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

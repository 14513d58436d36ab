package pubsub

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/sira-ai/sira/pipeline/kafka"
)

func newCluster(t testing.TB, opts ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(time.Second)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// quickConfig has short waits everywhere, so that tests are.
func quickConfig(c *kfake.Cluster, group string) SubscriberConfig {
	return SubscriberConfig{
		Client: kafka.Config{Brokers: c.ListenAddrs()}, Group: group,
		NackDelay: 10 * time.Millisecond, NackDelayMax: 50 * time.Millisecond, CloseTimeout: 100 * time.Millisecond,
		CommitInterval: 100 * time.Millisecond, HeartbeatInterval: 100 * time.Millisecond, SessionTimeout: 10 * time.Second,
		NewTopic: kafka.TopicSpec{Partitions: 4},
	}
}

func newPair(t *testing.T, cfg SubscriberConfig) (message.Publisher, message.Subscriber) {
	t.Helper()
	cfg.Log = zaptest.NewLogger(t, zaptest.Level(zap.WarnLevel))
	pub, err := NewPublisher(PublisherConfig{Client: cfg.Client})
	if err != nil {
		t.Fatal(err)
	}
	sub, err := NewSubscriber(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // some of the suite's tests leave theirs open
		_ = pub.Close()
		_ = sub.Close()
	})
	return pub, sub
}

// groupOf gives the members of one test of the suite one group, and other tests others: they would rebalance each other.
func groupOf(t *testing.T) string { return "group-" + strings.ReplaceAll(t.Name(), "/", "-") }

var groupedFeatures = tests.Features{ConsumerGroups: true, Persistent: true}

func TestSuiteGrouped(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	tests.TestPubSub(t, groupedFeatures,
		func(t *testing.T) (message.Publisher, message.Subscriber) {
			return newPair(t, quickConfig(c, groupOf(t)))
		},
		func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
			return newPair(t, quickConfig(c, group))
		})
}

// Without a group every subscription reads everything.
func TestSuiteUngrouped(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	tests.TestPubSub(t, tests.Features{
		Persistent: true, NewSubscriberReceivesOldMessages: true,
		ForceShort: os.Getenv("STRESS_TEST_COUNT") == "", // otherwise 50 subscriptions read 5000 messages each
	},
		func(t *testing.T) (message.Publisher, message.Subscriber) { return newPair(t, quickConfig(c, "")) }, nil)
}

// One message at a time and one partition: the suite's strictest features.
func TestSuiteInOrder(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	strict := func(group string) SubscriberConfig {
		cfg := quickConfig(c, group)
		cfg.MaxInFlight, cfg.NewTopic.Partitions = 1, 1
		cfg.NackDelay, cfg.NackDelayMax = time.Millisecond, 5*time.Millisecond // the suite says Nack 300 times in a row
		return cfg
	}
	features := groupedFeatures
	features.GuaranteedOrder = true
	tests.TestPubSub(t, features,
		func(t *testing.T) (message.Publisher, message.Subscriber) { return newPair(t, strict(groupOf(t))) },
		func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
			return newPair(t, strict(group))
		})
}

// TestSuiteStress runs the suite many times over at once: STRESS_TEST_COUNT=4 go test -run TestSuiteStress ./pipeline/pubsub.
func TestSuiteStress(t *testing.T) {
	if os.Getenv("STRESS_TEST_COUNT") == "" {
		t.Skip("set STRESS_TEST_COUNT to run the suite that many times at once")
	}
	c := newCluster(t)
	tests.TestPubSubStressTest(t, groupedFeatures,
		func(t *testing.T) (message.Publisher, message.Subscriber) {
			return newPair(t, quickConfig(c, groupOf(t)))
		},
		func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
			return newPair(t, quickConfig(c, group))
		})
}

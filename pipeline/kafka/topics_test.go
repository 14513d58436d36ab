package kafka

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// topicsCluster is a broker that creates topics on request only, and a client of it.
func topicsCluster(t *testing.T, opts ...kfake.Opt) (*kfake.Cluster, *kgo.Client) {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	cl, err := Config{Brokers: c.ListenAddrs()}.NewClient(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return c, cl
}

func TestEnsureTopicsCreatesWhatIsMissingAndLeavesTheRest(t *testing.T) {
	t.Parallel()
	_, cl := topicsCluster(t, kfake.SeedTopics(8, "old"))
	specs := []TopicSpec{
		{Name: "old", Partitions: 4, Retention: time.Hour},
		{Name: "new", Partitions: 3, Retention: 36 * time.Hour, MinInsyncReplicas: 1, MaxMessageBytes: 2 << 20},
		{Name: "state", Partitions: 1, ReplicationFactor: 1, Compact: true, Retention: -1, Extra: map[string]string{"segment.ms": "60000"}},
	}
	created, err := EnsureTopics(t.Context(), cl, specs)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"new", "state"}, created); diff != "" {
		t.Errorf("created (-want +got):\n%s", diff)
	}
	if again, err := EnsureTopics(t.Context(), cl, specs); err != nil || len(again) != 0 {
		t.Errorf("second call created %v, %v; want nothing", again, err)
	}

	infos, err := ListTopics(t.Context(), cl, []string{"new", "old", "state"})
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]int{}
	for _, i := range infos {
		parts[i.Name] = len(i.Partitions)
	}
	if diff := cmp.Diff(map[string]int{"new": 3, "old": 8, "state": 1}, parts); diff != "" {
		t.Errorf("partitions (-want +got):\n%s", diff)
	}
	got := map[string]string{}
	for _, k := range []string{"retention.ms", "min.insync.replicas", "max.message.bytes"} {
		got["new "+k] = infos[0].Config[k]
	}
	for _, k := range []string{"retention.ms", "cleanup.policy", "segment.ms"} {
		got["state "+k] = infos[2].Config[k]
	}
	want := map[string]string{
		"new retention.ms": "129600000", "new min.insync.replicas": "1", "new max.message.bytes": "2097152",
		"state retention.ms": "-1", "state cleanup.policy": "compact", "state segment.ms": "60000",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("configs (-want +got):\n%s", diff)
	}
}

func TestTooFewPartitionsIsAnErrorThatTellsHowToAddThem(t *testing.T) {
	t.Parallel()
	_, cl := topicsCluster(t, kfake.SeedTopics(2, "narrow"))
	created, err := EnsureTopics(t.Context(), cl, []TopicSpec{{Name: "narrow", Partitions: 6}, {Name: "fine", Partitions: 1}})
	if err == nil || !strings.Contains(err.Error(), "kafka-topics.sh --alter --topic narrow --partitions 6") {
		t.Errorf("error %v does not tell how to add partitions", err)
	}
	if diff := cmp.Diff([]string{"fine"}, created); diff != "" {
		t.Errorf("one bad topic must not stop the others (-want +got):\n%s", diff)
	}
}

func TestMoreReplicasThanBrokersIsAClearError(t *testing.T) {
	t.Parallel()
	_, cl := topicsCluster(t)
	_, err := EnsureTopics(t.Context(), cl, []TopicSpec{{Name: "wide", Partitions: 1, ReplicationFactor: 3}})
	if !errors.Is(err, kerr.InvalidReplicationFactor) || !strings.Contains(err.Error(), "write 0") {
		t.Errorf("got %v; want InvalidReplicationFactor with advice", err)
	}
}

func TestEnsureTopicsWaitsOutABusyController(t *testing.T) {
	t.Parallel()
	c, cl := topicsCluster(t)
	h := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.ThrottlingQuotaExceeded, Count: 2})
	created, err := EnsureTopics(t.Context(), cl, []TopicSpec{{Name: "patience", Partitions: 1}})
	if err != nil || !slices.Equal(created, []string{"patience"}) {
		t.Fatalf("created %v, %v", created, err)
	}
	if h.Hits() != 2 {
		t.Errorf("the broker refused %d times, want 2", h.Hits())
	}
}

// A controller that answers REQUEST_TIMED_OUT may have created the topic all the same.
func TestACreateWithUnknownOutcomeIsLookedUp(t *testing.T) {
	t.Parallel()
	c, cl := topicsCluster(t)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.RequestTimedOut})
	if _, err := EnsureTopics(t.Context(), cl, []TopicSpec{{Name: "slow", Partitions: 3}}); err != nil {
		t.Fatal(err)
	}
	if infos, err := ListTopics(t.Context(), cl, []string{"slow"}); err != nil || len(infos[0].Partitions) != 3 {
		t.Errorf("got %+v, %v", infos, err)
	}
}

// Two processes start together; both find the topic missing, and one is told that it exists.
func TestLosingTheRaceToCreateATopicIsNoError(t *testing.T) {
	t.Parallel()
	c, cl := topicsCluster(t)
	rival, err := Config{Brokers: c.ListenAddrs()}.NewClient(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer rival.Close()
	var creating sync.WaitGroup
	defer creating.Wait()
	c.ControlKey(kmsg.CreateTopics.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
		rt := kmsg.NewCreateTopicsResponseTopic()
		rt.Topic, rt.ErrorCode = "shared", kerr.TopicAlreadyExists.Code
		resp.Topics = append(resp.Topics, rt)
		// Not from here: the broker answers nobody while this function runs.
		creating.Go(func() { _, _ = kadm.NewClient(rival).CreateTopics(t.Context(), 2, 1, nil, "shared") })
		return resp, nil, true
	})
	created, err := EnsureTopics(t.Context(), cl, []TopicSpec{{Name: "shared", Partitions: 2}})
	if err != nil || len(created) != 0 {
		t.Errorf("created %v, %v; want nothing and no error", created, err)
	}
}

func TestEnsureTopicsEndsWithItsContext(t *testing.T) {
	t.Parallel()
	c, cl := topicsCluster(t)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.CreateTopics}, Err: kerr.ThrottlingQuotaExceeded, Count: -1})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := EnsureTopics(ctx, cl, []TopicSpec{{Name: "never", Partitions: 1}}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want the context's error", err)
	}
}

func TestListTopicsReportsOffsetsAndNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, cl := topicsCluster(t, kfake.SeedTopics(2, "data"))
	for range 5 {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "data", Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	infos, err := ListTopics(t.Context(), cl, []string{"data", "absent"})
	if !errors.Is(err, kerr.UnknownTopicOrPartition) || !strings.Contains(err.Error(), `"absent"`) {
		t.Errorf("got %v, want an error that names the absent topic", err)
	}
	if len(infos) != 1 || infos[0].Records() != 5 || len(infos[0].Partitions) != 2 {
		t.Errorf("got %+v, want data with 2 partitions and 5 records", infos)
	}
	if all, err := ListTopics(t.Context(), cl, nil); err != nil || len(all) != 1 {
		t.Errorf("all topics: %+v, %v", all, err)
	}
}

func TestTopicSpecFaultsComeTogetherWithAdvice(t *testing.T) {
	t.Parallel()
	_, err := EnsureTopics(t.Context(), nil, []TopicSpec{
		{Name: "a b", Partitions: -1, ReplicationFactor: 1, MinInsyncReplicas: 2, Compact: true, Extra: map[string]string{"cleanup.policy": "delete"}},
		{Name: "twice"},
		{Name: "twice"},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"illegal name", "partitions is -1", "exceeds replication_factor", "extra repeats cleanup.policy", "listed twice"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
}

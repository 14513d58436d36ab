package kafka

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// absence keeps a member out of its group between a heartbeat that sends it to join and an answer to its join.
type absence struct {
	asked, out atomic.Bool // sent to join; kept from joining
	tries      atomic.Int64
}

func (r *rig) absence(instance string) *absence {
	a, c := new(absence), r.broker.cluster
	c.ControlKey(int16(kmsg.Heartbeat), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		beat := req.(*kmsg.HeartbeatRequest)
		if !a.out.Load() || beat.InstanceID == nil || *beat.InstanceID != instance {
			return nil, nil, false
		}
		a.asked.Store(true)
		resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
		resp.ErrorCode = kerr.RebalanceInProgress.Code
		return resp, nil, true
	})
	c.ControlKey(int16(kmsg.JoinGroup), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		join := req.(*kmsg.JoinGroupRequest)
		if !a.out.Load() || join.InstanceID == nil || *join.InstanceID != instance {
			return nil, nil, false
		}
		a.tries.Add(1)
		resp := req.ResponseKind().(*kmsg.JoinGroupResponse)
		resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code // at which the client asks again, and goes on reading
		return resp, nil, true
	})
	return a
}

// forget removes a static member from the group.
func (r *rig) forget(group, instance string) {
	r.t.Helper()
	left, err := kadm.NewClient(r.client).LeaveGroup(r.t.Context(), kadm.LeaveGroup(group).InstanceIDs(instance))
	if err == nil {
		err = left.Error()
	}
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	until(r.t, what, ok)
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(limit) {
			t.Fatalf("no %s in time", what)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

// The coordinator forgot a member while it was joining. Another one had its partitions and answered requests; then the first
// came back as a new member, and its client went on with the partitions as if it had had them all the time: 3,064 of
// 100,000 requests had two results.
func TestPartitionsThatAnotherMemberHadMeanwhileRepeatNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	away := r.absence("w1")
	r.send(0, 100)
	stop := r.worker("w1", nil, func(context.Context, *pipeline.Job) error { return nil })
	defer stop()
	r.until("first calls", func() bool { return r.calls.Load() == 100 })
	away.out.Store(true)
	r.until("join", func() bool { return away.tries.Load() > 0 })

	r.forget("sira.standard", "w1")
	r.send(100, 100) // w1 reads them too, and can't commit
	other := r.worker("w2", nil, func(context.Context, *pipeline.Job) error { return nil })
	defer other()
	r.exactlyOnce(200)
	other()
	r.forget("sira.standard", "w2")
	away.out.Store(false)
	r.send(200, 100)
	r.exactlyOnce(300)
}

// The same without anybody else: nothing is made again.
func TestForgottenMemberKeepsWhatNobodyElseHad(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	away := r.absence("w1")
	r.send(0, 500)
	stop := r.worker("w1", nil, jitter(400*time.Millisecond), func(c *EngineConfig) { c.Concurrency = 300 })
	defer stop()
	r.until("first calls", func() bool { return r.calls.Load() > 20 })
	away.out.Store(true)
	r.until("join", func() bool { return away.tries.Load() > 0 })
	r.forget("sira.standard", "w1")
	away.out.Store(false)
	r.send(500, 500)
	r.exactlyOnce(1000)
	if n := r.calls.Load(); n != 1000 {
		t.Errorf("%d calls finished, want 1000", n)
	}
}

// A collector that was forgotten starts anew: what it had read may be in another one's batches.
func TestForgottenCollectorReadsAnew(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	if _, err := EnsureTopics(t.Context(), r.client, []TopicSpec{{Name: "waiting", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	keep := func(_ context.Context, b []byte) (ref string, err error) {
		members, err := parseMembers(b)
		for _, m := range members {
			ref += string(m.value)
		}
		return ref, err
	}
	reader := embeddedClient(t, r.broker.Brokers(), kgo.ConsumeTopics("retry"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	all := ""
	taken := func() string {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		reader.PollFetches(ctx).EachRecord(func(rec *kgo.Record) {
			r := copyRecord(rec)
			all += r.header(schemas.HeaderMembers)
		})
		return all
	}
	run := func(instance string, most int) (stop func()) {
		c := NewCollector(CollectorConfig{
			Client: r.config(), Group: "batches", Instance: instance, Topic: "waiting", RetryTopic: "retry", MaxRequests: most, MaxBytes: 1 << 20, MaxWait: time.Minute,
			SessionTimeout: 2 * time.Second, Static: true, Log: zap.NewNop(),
			Put: keep,
		})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	send := func(ids ...string) {
		for _, id := range ids {
			rec := &kgo.Record{Topic: "waiting", Key: []byte("k"), Value: []byte(id), Headers: []kgo.RecordHeader{{Key: schemas.HeaderKey, Value: []byte(id)}}}
			if err := r.client.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	away := r.absence("c1")
	stop := run("c1", 6)
	defer stop()
	send("a", "b")
	stable := func() bool {
		groups, err := kadm.NewClient(r.client).DescribeGroups(t.Context(), "batches")
		return err == nil && groups["batches"].State == "Stable"
	}
	r.until("member", stable)
	away.out.Store(true)
	r.until("join", func() bool { return away.tries.Load() > 0 })
	r.forget("batches", "c1")
	other := run("c2", 4)
	send("c", "d") // c1 reads them too, and waits for two more
	r.until("batch", func() bool { return taken() == "abcd" })
	other()
	r.forget("batches", "c2")
	away.out.Store(false)
	r.until("return", stable)
	send("e", "f", "g", "h", "i", "j")
	r.until("second batch", func() bool { return len(taken()) >= 10 })
	if got := taken(); got != "abcdefghij" {
		t.Errorf("batches took %q, want each request once", got)
	}
}

// A collector that found no broker to begin a transaction with ended, and its worker with it.
func TestCollectorOutlivesABrokerThatIsAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	if _, err := EnsureTopics(t.Context(), r.client, []TopicSpec{{Name: "waiting", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	var refused atomic.Int64
	r.broker.cluster.ControlKey(int16(kmsg.InitProducerID), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.broker.cluster.KeepControl()
		if req.(*kmsg.InitProducerIDRequest).TransactionalID == nil || refused.Add(1) > 2 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		resp.ErrorCode = kerr.InvalidProducerEpoch.Code // which no client tries again
		return resp, nil, true
	})
	c := NewCollector(CollectorConfig{
		Client: r.config(), Group: "batches", Instance: "c1", Topic: "waiting", RetryTopic: "retry", MaxRequests: 1, MaxBytes: 1 << 20, MaxWait: time.Minute,
		Log: zap.NewNop(), Put: func(context.Context, []byte) (string, error) { return "ref", nil },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	rec := &kgo.Record{Topic: "waiting", Key: []byte("k"), Value: []byte("a"), Headers: []kgo.RecordHeader{{Key: schemas.HeaderKey, Value: []byte("a")}}}
	if err := r.client.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if _, order := r.collect("retry", 1); len(order) != 1 {
		t.Errorf("%d batches, want 1", len(order))
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if refused.Load() < 3 {
		t.Error("the fault was not met")
	}
}

package pubsub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/sira-ai/sira/pipeline/kafka"
)

const patience = 10 * time.Second

// receive returns the next message, without acknowledging it.
func receive(t *testing.T, ch <-chan *message.Message) *message.Message {
	t.Helper()
	select {
	case m, ok := <-ch:
		if !ok {
			t.Fatal("the channel was closed")
		}
		return m
	case <-time.After(patience):
		t.Fatal("no message")
	}
	return nil
}

func receiveN(t *testing.T, ch <-chan *message.Message, n int) []*message.Message {
	t.Helper()
	var out []*message.Message
	for range n {
		out = append(out, receive(t, ch))
	}
	return out
}

func subscribe(t *testing.T, cfg SubscriberConfig, topic string) (*Subscriber, <-chan *message.Message) {
	t.Helper()
	sub, err := NewSubscriber(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sub.Close() })
	ch, err := sub.Subscribe(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	return sub, ch
}

func adminOf(t *testing.T, c *kfake.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kafka.Config{Brokers: c.ListenAddrs()}.NewClient(nil, nil, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// fill writes n records into every partition of the topic; their value is partition:number.
func fill(t *testing.T, c *kfake.Cluster, topic string, partitions, n int) {
	t.Helper()
	cl := adminOf(t, c, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	for i := range n {
		for p := range partitions {
			r := &kgo.Record{Topic: topic, Partition: int32(p), Value: fmt.Appendf(nil, "%d:%d", p, i)}
			if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func committed(t *testing.T, c *kfake.Cluster, group, topic string) map[int32]int64 {
	t.Helper()
	offsets, err := kadm.NewClient(adminOf(t, c)).FetchOffsets(t.Context(), group)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[int32]int64)
	for p, o := range offsets[topic] {
		out[p] = o.At
	}
	return out
}

// eventually fails the test if ok does not become true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not reached: %s", what)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

// The story of redpanda-data/connect #4477, in which 10,000 messages were lost. Two members share two partitions. The first has
// un-acknowledged messages of both when the second joins and takes one partition over. Then the first acknowledges all it has.
func TestAcknowledgingAfterARevocationDoesNotMoveTheNewOwner(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kfake.SeedTopics(2, "events"))
	fill(t, c, "events", 2, 10)
	cfg := quickConfig(c, "sharers")
	_, ch1 := subscribe(t, cfg, "events")
	held := receiveN(t, ch1, 20)

	second, ch2 := subscribe(t, cfg, "events")
	moved := receiveN(t, ch2, 10) // it has not acknowledged them either
	partition := moved[0].Metadata[MetadataPartition]
	moved[0].Ack()
	moved[1].Ack()
	for _, m := range held {
		if m.Metadata[MetadataPartition] == partition && m.Context().Err() == nil {
			t.Error("the context of a message goes on after its partition moved away")
		}
		m.Ack()
	}
	p, err := strconv.Atoi(partition)
	if err != nil {
		t.Fatal(err)
	}
	want := map[int32]int64{int32(p): 2, int32(1 - p): 10}
	eventually(t, "both members committed what they own", func() bool { return cmp.Equal(want, committed(t, c, "sharers", "events")) })

	// Nothing is lost: who comes after the second member gets the eight it never acknowledged.
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	var again []string
	for _, m := range receiveN(t, ch1, 8) {
		again = append(again, string(m.Payload))
	}
	if want := string(moved[2].Payload); again[0] != want {
		t.Errorf("delivered again from %s on, want from %s", again[0], want)
	}
}

// Members come and go while every message takes a while; each must be acknowledged by somebody who owns it.
func TestNoMessageIsLostWhileMembersComeAndGo(t *testing.T) {
	t.Parallel()
	const partitions, each = 4, 150
	c := newCluster(t, kfake.SeedTopics(partitions, "busy"))
	fill(t, c, "busy", partitions, each)
	cfg := quickConfig(c, "workers")
	cfg.MaxInFlight = 16

	var mu sync.Mutex
	handled := make(map[string]bool)
	work := func(ch <-chan *message.Message) {
		var late []*message.Message // one in ten is acknowledged after up to five younger ones
		for m := range ch {
			late = append(late, m)
			if bytes.HasSuffix(m.Payload, []byte("3")) && len(late) < 5 {
				continue
			}
			slices.Reverse(late)
			for _, m := range late {
				owned := m.Context().Err() == nil
				m.Ack()
				mu.Lock()
				handled[string(m.Payload)] = handled[string(m.Payload)] || owned
				mu.Unlock()
			}
			late = nil
		}
	}
	var workers sync.WaitGroup
	join := func() *Subscriber {
		sub, ch := subscribe(t, cfg, "busy")
		workers.Go(func() { work(ch) })
		return sub
	}
	stable := join()
	for range 3 {
		passing := join()
		select {
		case <-time.After(300 * time.Millisecond):
		case <-t.Context().Done():
		}
		if err := passing.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "every message was acknowledged by an owner of its partition", func() bool {
		mu.Lock()
		defer mu.Unlock()
		n := 0
		for _, owned := range handled {
			if owned {
				n++
			}
		}
		return n == partitions*each
	})
	if err := stable.Close(); err != nil {
		t.Fatal(err)
	}
	workers.Wait()
}

func TestOneSlowMessageHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kfake.SeedTopics(1, "mixed"))
	fill(t, c, "mixed", 1, 1000)
	cfg := quickConfig(c, "patient")
	cfg.MaxInFlight = 8
	sub, ch := subscribe(t, cfg, "mixed")
	slow := receive(t, ch)
	for i := 1; i < 1000; i++ {
		m := receive(t, ch)
		if want := fmt.Sprintf("0:%d", i); string(m.Payload) != want {
			t.Fatalf("got %s, want %s: first deliveries keep the order", m.Payload, want)
		}
		m.Ack()
	}
	eventually(t, "the start was committed", func() bool { return cmp.Equal(map[int32]int64{0: 0}, committed(t, c, "patient", "mixed")) })
	slow.Ack()
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[int32]int64{0: 1000}, committed(t, c, "patient", "mixed")); diff != "" {
		t.Errorf("after Close (-want +got):\n%s", diff)
	}
}

func TestNoMoreThanMaxInFlightIsUnacknowledged(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kfake.SeedTopics(2, "bounded"))
	fill(t, c, "bounded", 2, 20)
	cfg := quickConfig(c, "g")
	cfg.MaxInFlight = 5
	_, ch := subscribe(t, cfg, "bounded")
	held := receiveN(t, ch, 5)
	select {
	case m := <-ch:
		t.Fatalf("%s came although 5 messages are un-acknowledged", m.Payload)
	case <-time.After(200 * time.Millisecond):
	}
	held[3].Ack()
	receive(t, ch)
}

func TestNackedMessagesComeAgainLaterAndUnchanged(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kfake.SeedTopics(1, "retry"))
	fill(t, c, "retry", 1, 1)
	cfg := quickConfig(c, "g")
	cfg.NackDelay, cfg.NackDelayMax = 40*time.Millisecond, 60*time.Millisecond
	_, ch := subscribe(t, cfg, "retry")
	var nacked time.Time
	for n, want := range []time.Duration{0, 40 * time.Millisecond, 60 * time.Millisecond, 60 * time.Millisecond} {
		m := receive(t, ch)
		if took := time.Since(nacked); took < want {
			t.Errorf("delivery %d came after %v, want at least %v", n+1, took, want)
		}
		if got := m.Metadata[MetadataDelivery]; got != strconv.Itoa(n+1) || m.Metadata.Get("junk") != "" || string(m.Payload) != "0:0" {
			t.Errorf("delivery %d is number %s, %q, junk %q", n+1, got, m.Payload, m.Metadata.Get("junk"))
		}
		m.Metadata.Set("junk", "from a handler")
		m.Payload[0] = 'X'
		nacked = time.Now()
		m.Nack()
		eventually(t, "the context ended with the Nack", func() bool { return m.Context().Err() != nil })
	}
}

func TestCloseWaitsForAcknowledgementsButNotForEver(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kfake.SeedTopics(1, "closing"))
	fill(t, c, "closing", 1, 2)
	cfg := quickConfig(c, "closers")

	cfg.CloseTimeout = patience
	sub, ch := subscribe(t, cfg, "closing")
	held := receiveN(t, ch, 2)
	closed := make(chan struct{})
	go func() { defer close(closed); _ = sub.Close() }()
	held[0].Ack()
	select {
	case <-closed:
		t.Fatal("Close did not wait for the second message")
	case <-time.After(100 * time.Millisecond):
	}
	if held[1].Context().Err() != nil {
		t.Error("the context of a message ended before CloseTimeout")
	}
	held[1].Nack()
	<-closed
	if diff := cmp.Diff(map[int32]int64{0: 1}, committed(t, c, "closers", "closing")); diff != "" {
		t.Errorf("committed (-want +got):\n%s", diff)
	}
	if _, err := sub.Subscribe(t.Context(), "closing"); !errors.Is(err, ErrClosed) {
		t.Errorf("subscribing after Close: %v", err)
	}

	cfg.CloseTimeout = 50 * time.Millisecond
	sub, ch = subscribe(t, cfg, "closing")
	m := receive(t, ch)
	start := time.Now()
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > requestTimeout {
		t.Errorf("Close took %v with a message that is never acknowledged", took)
	}
	if m.Context().Err() == nil {
		t.Error("the context of the message goes on after Close")
	}
}

func TestCloseIsBoundedWithoutABroker(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kfake.SeedTopics(1, "gone"))
	fill(t, c, "gone", 1, 3)
	cfg := quickConfig(c, "orphans")
	sub, ch := subscribe(t, cfg, "gone")
	receive(t, ch).Ack()
	c.Close()
	start := time.Now()
	if err := sub.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > cfg.CloseTimeout+3*requestTimeout {
		t.Errorf("Close took %v", took)
	}
}

// Not parallel: it looks at all goroutines of the process.
func TestCloseLeavesNoGoroutine(t *testing.T) {
	c := newCluster(t, kfake.SeedTopics(2, "leaks"))
	fill(t, c, "leaks", 2, 50)
	ignore := goleak.IgnoreCurrent()
	for _, group := range []string{"", "g"} {
		for _, start := range []string{StartAtStart, StartAtEnd} {
			cfg := quickConfig(c, group)
			cfg.StartOffset, cfg.MaxInFlight = start, 10
			sub, err := NewSubscriber(cfg)
			if err != nil {
				t.Fatal(err)
			}
			ch, err := sub.Subscribe(t.Context(), "leaks")
			if err != nil {
				t.Fatal(err)
			}
			if start == StartAtStart {
				receive(t, ch).Nack()
				receive(t, ch)
			}
			if err := sub.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	pub, err := NewPublisher(PublisherConfig{Client: kafka.Config{Brokers: c.ListenAddrs()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := pub.Publish("leaks", message.NewMessage("1", nil)); err != nil {
		t.Fatal(err)
	}
	if err := pub.Close(); err != nil {
		t.Fatal(err)
	}
	if err := pub.Publish("leaks", message.NewMessage("2", nil)); !errors.Is(err, ErrClosed) {
		t.Errorf("publishing after Close: %v", err)
	}
	goleak.VerifyNone(t, ignore, goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).read"),
		goleak.IgnoreAnyFunction("github.com/twmb/franz-go/pkg/kfake.(*clientConn).write"))
}

func TestARecordAndItsMessageSayTheSame(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kfake.SeedTopics(3, "in", "out"))
	pub, err := NewPublisher(PublisherConfig{Client: kafka.Config{Brokers: c.ListenAddrs()}})
	if err != nil {
		t.Fatal(err)
	}
	defer pub.Close()
	_, ch := subscribe(t, quickConfig(c, ""), "out")

	sent := message.NewMessage("id-1", []byte("value"))
	sent.Metadata = message.Metadata{MetadataKey: "tenant-7", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	if err := pub.Publish("out", sent); err != nil {
		t.Fatal(err)
	}
	got := receive(t, ch)
	for _, name := range []string{MetadataPartition, MetadataOffset, MetadataTimestamp} {
		if _, err := strconv.ParseInt(got.Metadata[name], 10, 64); err != nil {
			t.Errorf("%s is %q: %v", name, got.Metadata[name], err)
		}
	}
	got.Ack()
	again := got.Copy() // as a handler does that forwards what it got
	if err := pub.Publish("in", again); err != nil {
		t.Fatal(err)
	}
	r := readOne(t, c, "in", again.UUID)
	want := map[string]string{HeaderUUID: "id-1", "traceparent": sent.Metadata["traceparent"]}
	headers := make(map[string]string)
	for _, h := range r.Headers {
		headers[h.Key] = string(h.Value)
	}
	if diff := cmp.Diff(want, headers); diff != "" || string(r.Key) != "tenant-7" || string(r.Value) != "value" {
		t.Errorf("key %q, value %q, headers (-want +got):\n%s", r.Key, r.Value, diff)
	}
}

func readOne(t *testing.T, c *kfake.Cluster, topic, uuid string) *kgo.Record {
	t.Helper()
	cl := adminOf(t, c, kgo.ConsumeTopics(topic))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for ctx.Err() == nil {
		for _, r := range cl.PollFetches(ctx).Records() {
			for _, h := range r.Headers {
				if h.Key == HeaderUUID && string(h.Value) == uuid {
					return r
				}
			}
		}
	}
	t.Fatal("no such record")
	return nil
}

// A process that keeps a copy of a compacted topic needs the order of changes of a key, and must tell a deletion from an
// empty value.
func TestTailingAStateTopicSeesChangesInOrderAndTombstones(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	cl := adminOf(t, c)
	if _, err := kafka.EnsureTopics(t.Context(), cl, []kafka.TopicSpec{{Name: "state", Partitions: 3, Compact: true}}); err != nil {
		t.Fatal(err)
	}
	put := func(key string, value []byte) {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "state", Key: []byte(key), Value: value}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	put("a", []byte("1"))
	put("b", []byte{})
	put("a", nil)
	put("a", []byte("2"))
	for range 2 { // every subscription sees all
		_, ch := subscribe(t, quickConfig(c, ""), "state")
		got := make(map[string][]string)
		for _, m := range receiveN(t, ch, 4) {
			v := string(m.Payload)
			if m.Payload == nil {
				v = "deleted"
			}
			got[m.Metadata[MetadataKey]] = append(got[m.Metadata[MetadataKey]], v)
			if want := fmt.Sprintf("state/%s/%s", m.Metadata[MetadataPartition], m.Metadata[MetadataOffset]); m.UUID != want {
				t.Errorf("UUID %s, want %s", m.UUID, want)
			}
			m.Ack()
		}
		if diff := cmp.Diff(map[string][]string{"a": {"1", "deleted", "2"}, "b": {""}}, got); diff != "" {
			t.Errorf("changes (-want +got):\n%s", diff)
		}
	}
}

func TestStartingAtTheEndMissesNothingPublishedAfterSubscribe(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kfake.SeedTopics(3, "news"))
	fill(t, c, "news", 3, 5)
	cfg := quickConfig(c, "")
	cfg.StartOffset = StartAtEnd
	// Should the client look for the end itself after Subscribe returned, it finds one behind the fresh message.
	var subscribed atomic.Bool
	late := c.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.ListOffsets}, Err: kerr.LeaderNotAvailable, Count: -1,
		When: func(kmsg.Request) bool { return subscribed.Load() },
	})
	_, ch := subscribe(t, cfg, "news")
	subscribed.Store(true)
	cl := adminOf(t, c)
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "news", Value: []byte("fresh")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	late.Remove()
	if m := receive(t, ch); string(m.Payload) != "fresh" {
		t.Errorf("got %s, want only what was published after Subscribe", m.Payload)
	}
}

// What a transaction writes is published when it commits, though its offsets are older.
func TestStartingAtTheEndSeesTransactionsThatWereOpen(t *testing.T) {
	t.Parallel()
	c := newCluster(t, kfake.SeedTopics(1, "news"))
	fill(t, c, "news", 1, 5)
	cl := adminOf(t, c, kgo.TransactionalID("reporter"))
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "news", Value: []byte("pending")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	cfg := quickConfig(c, "")
	cfg.StartOffset = StartAtEnd
	_, ch := subscribe(t, cfg, "news")
	if err := cl.EndTransaction(t.Context(), kgo.TryCommit); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, ch); string(m.Payload) != "pending" {
		t.Errorf("got %s", m.Payload)
	}
}

func TestConfigFaultsComeTogetherWithAdvice(t *testing.T) {
	t.Parallel()
	_, err := NewSubscriber(SubscriberConfig{StartOffset: "earliest", MaxInFlight: -1, NackDelay: -1, Instance: "pod-1", SessionTimeout: time.Second})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"brokers: empty", `"earliest" is unknown; write start or end`, "max_in_flight is -1", "nack_delay is", "set group", "must be below"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
	if _, err := NewPublisher(PublisherConfig{Timeout: -1}); err == nil || !slices.ContainsFunc(strings.Split(err.Error(), "\n"),
		func(l string) bool { return strings.HasPrefix(l, "timeout is") }) {
		t.Errorf("got %v", err)
	}
}

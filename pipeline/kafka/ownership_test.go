package kafka

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sira-ai/sira/pipeline"
)

// member is a session whose group and broker are played by the test: it says which
// offsets are fetched and which records are read.
type member struct {
	*session

	t *testing.T
}

func newMember(t *testing.T) *member {
	t.Helper()
	e, err := NewEngine(EngineConfig{Instance: "w1", Group: "sira", Lanes: []LaneConfig{{Name: "standard", Topics: []string{"requests"}}}, RevokeDrain: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	m := &member{e.newSession(0, e.cfg.Log), t}
	if m.consumer, err = kgo.NewClient(); err != nil { // connects to nothing before it is asked to
		t.Fatal(err)
	}
	t.Cleanup(m.consumer.Close)
	t.Cleanup(func() { m.drop(nil) })
	return m
}

// fetches is an answer about the committed offset of requests/0.
func (m *member) fetches(offset int64, metadata string) {
	m.t.Helper()
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	p.Offset, p.Metadata = offset, &metadata
	topic := kmsg.NewOffsetFetchResponseGroupTopic()
	topic.Topic, topic.TopicID = "requests", [16]byte{1}
	topic.Partitions = append(topic.Partitions, p)
	group := kmsg.NewOffsetFetchResponseGroup()
	group.Topics = append(group.Topics, topic)
	r := kmsg.NewPtrOffsetFetchResponse()
	r.Groups = append(r.Groups, group)
	if err := m.fetched(m.t.Context(), m.consumer, r); err != nil {
		m.t.Fatal(err)
	}
}

// reads hands the session the records from one offset up to another and returns
// those that are to be worked on.
func (m *member) reads(from, to int64) []pipeline.Delivery {
	m.t.Helper()
	p := kgo.FetchPartition{Partition: 0, HighWatermark: to}
	for o := from; o < to; o++ {
		p.Records = append(p.Records, &kgo.Record{Topic: "requests", Offset: o, Value: []byte("{}")})
	}
	m.accept(&kgo.FetchTopic{Topic: "requests", TopicID: [16]byte{1}}, &p, time.Now())
	var out []pipeline.Delivery
	for {
		it := m.engine.sched.next()
		if it == nil {
			return out
		}
		if m.engine.start(it) {
			out = append(out, m.engine.delivery(it))
		}
	}
}

func settle(ds []pipeline.Delivery) {
	for _, d := range ds {
		d.Settle(pipeline.Settlement{})
	}
}

// commits takes what waits for a transaction, as if it had been committed with an
// offset of want, and returns the offsets of the requests in it.
func (m *member) commits(want int64) []int64 {
	m.t.Helper()
	cuts := m.cuts()
	if len(cuts) != 1 {
		m.t.Fatalf("%d partitions have something to commit, want one", len(cuts))
	}
	if cuts[0].offset != want {
		m.t.Errorf("offset %d is committed, want %d", cuts[0].offset, want)
	}
	var out []int64
	for _, b := range cuts[0].batch {
		out = append(out, b.offset)
	}
	slices.Sort(out)
	m.durable(cuts[0])
	return out
}

func offsets(from, to int64) []int64 {
	var out []int64
	for o := from; o < to; o++ {
		out = append(out, o)
	}
	return out
}

// A session of the group ended before the client took note of its offsets, so they
// were asked for again. The answer was older than the last commit. It replaced the
// tracker of a partition that was never lost: requests that were done were made
// again, and each of them had two results.
func TestOffsetsThatAreFetchedTwiceRepeatNothing(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	m.fetches(10, "")
	handed := m.reads(10, 20)
	if len(handed) != 10 {
		t.Fatalf("%d requests are worked on, want 10", len(handed))
	}
	settle(handed[:5])
	m.commits(15)
	settle(handed[5:7]) // finished, and not committed when the answer comes

	m.fetches(10, "")
	if again := m.reads(10, 20); len(again) != 0 {
		t.Errorf("%d requests are made again", len(again))
	}
	settle(handed[7:])
	if diff := cmp.Diff(offsets(15, 20), m.commits(20)); diff != "" {
		t.Errorf("committed requests (-want +got):\n%s", diff)
	}
	if next := m.reads(20, 22); len(next) != 2 {
		t.Errorf("%d new requests are worked on, want 2", len(next))
	}
}

// The same for what is committed above the offset, in the map.
func TestOffsetsThatAreFetchedTwiceRepeatNothingAboveAStraggler(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	m.fetches(10, "")
	handed := m.reads(10, 15)
	settle(handed[1:])
	if done := m.commits(10); len(done) != 4 {
		t.Fatalf("requests %v are committed, want 4", done)
	}
	m.fetches(10, "") // the map of before
	if again := m.reads(10, 15); len(again) != 0 {
		t.Errorf("%d requests are made again", len(again))
	}
	settle(handed[:1])
	m.commits(15)
}

// The same for a partition of which all is done, until its next requests come.
func TestOffsetsThatAreFetchedTwiceRepeatNothingThatIsDone(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	m.fetches(10, "")
	settle(m.reads(10, 20))
	m.commits(20)
	m.fetches(10, "")
	if again := m.reads(10, 20); len(again) != 0 {
		t.Errorf("%d requests are made again", len(again))
	}
}

// A tracker that nothing was read for knows no more than the answer that it was made
// from: another member may have gone on meanwhile.
func TestOffsetsThatAreFetchedTwiceHoldBeforeAnythingIsRead(t *testing.T) {
	t.Parallel()
	m := newMember(t)
	m.fetches(10, "")
	m.fetches(12, encodeMap(12, []run{{13, 14}}, [16]byte{1}))
	handed := m.reads(10, 16)
	settle(handed)
	if diff := cmp.Diff([]int64{12, 14, 15}, m.commits(16)); diff != "" {
		t.Errorf("requests that were worked on (-want +got):\n%s", diff)
	}
}

// Once a partition is lost, only the broker knows what others did with it.
func TestPartitionThatWasLostIsKnownByItsOffsetAlone(t *testing.T) {
	t.Parallel()
	requests := map[string][]int32{"requests": {0}}
	for name, lose := range map[string]func(context.Context, *member){
		"revoked": func(ctx context.Context, m *member) { m.revoked(ctx, m.consumer, requests) },
		"lost":    func(ctx context.Context, m *member) { m.lost(ctx, m.consumer, requests) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMember(t)
			m.fetches(10, "")
			handed := m.reads(10, 20)
			cut := make(chan struct{})
			context.AfterFunc(handed[9].Life, func() { close(cut) })
			settle(handed[:5])
			m.commits(15)

			lose(t.Context(), m)
			m.fetches(17, "") // another member's
			select {
			case <-cut:
			case <-time.After(10 * time.Second):
				t.Error("a call of the partition goes on")
			}
			settle(handed[5:]) // too late
			if cuts := m.cuts(); len(cuts) != 0 {
				t.Errorf("requests of before are committed: %+v", cuts)
			}
			settle(m.reads(15, 20))
			if diff := cmp.Diff(offsets(17, 20), m.commits(20)); diff != "" {
				t.Errorf("requests that are worked on (-want +got):\n%s", diff)
			}
		})
	}
}

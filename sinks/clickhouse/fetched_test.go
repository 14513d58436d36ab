package clickhouse

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sira-ai/sira/schemas/avro"
)

// offsetOf has a recorder told the committed offset of costs/0, and returns what it
// then knows of the partition.
func offsetOf(t *testing.T, r *Recorder, offset int64, metadata string) *partition {
	t.Helper()
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	p.Offset, p.Metadata = offset, &metadata
	topic := kmsg.NewOffsetFetchResponseGroupTopic()
	topic.Topic = "costs"
	topic.Partitions = append(topic.Partitions, p)
	group := kmsg.NewOffsetFetchResponseGroup()
	group.Topics = append(group.Topics, topic)
	answer := kmsg.NewPtrOffsetFetchResponse()
	answer.Groups = append(answer.Groups, group)
	if err := r.fetched(t.Context(), nil, answer); err != nil {
		t.Fatal(err)
	}
	return r.parts[topicPartition{"costs", 0}]
}

func newRecorder() *Recorder {
	return NewRecorder(RecorderConfig{Codecs: avro.NewCodecs(nil), Topics: topics}) // no schema is asked for
}

// A session of the group ended before the client took note of its offsets, so they
// were asked for again. The answer replaced a partition that was never lost and had
// rows: they were read again, announced as another batch and inserted twice.
func TestOffsetsThatAreFetchedTwiceInsertNothingTwice(t *testing.T) {
	t.Parallel()
	for name, metadata := range map[string]string{"before anything was announced": "", "after its batch was announced": plan{10, 19, 99}.String()} {
		r := newRecorder()
		p := offsetOf(t, r, 10, "")
		p.next, p.used, p.busy = 20, true, true // offsets 10 to 19 are read, and not inserted
		if again := offsetOf(t, r, 10, metadata); again != p || p.next != 20 || p.pending != nil {
			t.Errorf("%s: it goes on from offset %d with the plan %v", name, again.next, again.pending)
		}
	}
}

// What nothing was read of is known by the last answer alone.
func TestOffsetsThatAreFetchedTwiceHoldBeforeAnythingIsRead(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	offsetOf(t, r, 10, plan{10, 19, 99}.String())
	if p := offsetOf(t, r, 20, plan{20, 24, 100}.String()); p.next != 20 || p.committed != 20 || p.pending == nil || *p.pending != (plan{20, 24, 100}) {
		t.Errorf("it goes on from offset %d with the plan %v", p.next, p.pending)
	}
	if p := offsetOf(t, r, 25, ""); p.next != 25 || p.pending != nil {
		t.Errorf("it goes on from offset %d with the plan %v", p.next, p.pending)
	}
}

// Once a partition is lost, another recorder may have gone on: its plan is to be done,
// and what was read before must not be inserted.
func TestPartitionThatWasLostIsKnownByItsOffsetAlone(t *testing.T) {
	t.Parallel()
	r := newRecorder()
	before := offsetOf(t, r, 10, "")
	before.next, before.used, before.busy = 20, true, true
	r.dropped(t.Context(), nil, map[string][]int32{"costs": {0}})
	p := offsetOf(t, r, 10, plan{10, 14, 99}.String())
	if p == before || !before.lost || p.next != 10 || p.pending == nil || *p.pending != (plan{10, 14, 99}) {
		t.Errorf("it goes on from offset %d with the plan %v", p.next, p.pending)
	}
}

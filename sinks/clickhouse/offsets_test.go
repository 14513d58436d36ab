package clickhouse

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// offsets is an answer of the group's coordinator about partition 0 of "dead".
func offsets(id [16]byte, offset int64, metadata string) *kmsg.OffsetFetchResponse {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	p.Offset, p.Metadata = offset, &metadata
	t := kmsg.NewOffsetFetchResponseGroupTopic()
	t.Topic, t.TopicID, t.Partitions = "dead", id, append(t.Partitions, p)
	g := kmsg.NewOffsetFetchResponseGroup()
	g.Topics = append(g.Topics, t)
	resp := kmsg.NewPtrOffsetFetchResponse()
	resp.Groups = append(resp.Groups, g)
	return resp
}

// reader is a recorder of one partition whose records come by hand.
type reader struct {
	*Recorder
	t *testing.T
}

func newReader(t *testing.T) reader {
	return reader{&Recorder{
		cfg: RecorderConfig{MaxRows: 10, MaxBuffer: 1000, MaxWait: time.Hour}, parts: map[topicPartition]*partition{},
		tables: map[string]*table{"dead": newTable("dead_letters", func() rows { return &deadRows{} })},
	}, t}
}

// answer hands over what the coordinator says.
func (r reader) answer(id [16]byte, offset int64, metadata string) {
	r.t.Helper()
	if err := r.fetched(r.t.Context(), nil, offsets(id, offset, metadata)); err != nil {
		r.t.Fatal(err)
	}
}

// reads takes in the records from first to last.
func (r reader) reads(id [16]byte, first, last int64) {
	var records []*kgo.Record
	for o := first; o <= last; o++ {
		records = append(records, &kgo.Record{Topic: "dead", Offset: o})
	}
	topic := kgo.FetchTopic{Topic: "dead", TopicID: id, Partitions: []kgo.FetchPartition{{Records: records}}}
	work := r.ours(kgo.Fetches{{Topics: []kgo.FetchTopic{topic}}})
	r.addAll(r.t.Context(), work)
	r.note(work)
}

// inserts does what a flush and its end do, and returns the plan and the number of
// its rows.
func (r reader) inserts() (plan, int) {
	r.t.Helper()
	due := r.due(true)
	if len(due) != 1 {
		r.t.Fatalf("%d batches are due", len(due))
	}
	due[0].done = true
	p, n := due[0].plan, due[0].block.n
	r.settle(due)
	return p, n
}

// Offsets are asked for twice when a session of the group ends early. In a kill
// test the second answer, older than the first batch, made the recorder plan that
// batch once more, under another token.
func TestOldAnswerAboutOffsetsPlansNothingTwice(t *testing.T) {
	t.Parallel()
	id := [16]byte{1}
	for name, when := range map[string]func(r reader){
		"while rows wait":        func(reader) {},
		"after they are written": func(r reader) { r.inserts() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReader(t)
			r.answer(id, 0, "")
			r.reads(id, 0, 4)
			when(r)
			r.answer(id, 0, "") // sent before the batch was announced
			r.reads(id, 0, 6)   // the client goes back to there
			first := int64(0)
			if name == "after they are written" {
				first = 5
			}
			if got, n := r.inserts(); got.first != first || got.last != 6 || n != int(7-first) || r.buffered != 0 {
				t.Errorf("planned %+v with %d rows, %d are left, want offsets %d to 6", got, n, r.buffered, first)
			}
		})
	}
}

// Between two answers somebody else may have had the partition, as long as nothing
// of it was read here.
func TestNewAnswerAboutOffsetsCountsForWhatWasNotRead(t *testing.T) {
	t.Parallel()
	id := [16]byte{1}
	r := newReader(t)
	r.answer(id, 0, "")
	r.answer(id, 3, "p1:3-5@77")
	r.reads(id, 3, 9)
	if got, n := r.inserts(); got != (plan{3, 5, 77}) || n != 3 {
		t.Errorf("planned %+v with %d rows, want the plan that was announced", got, n)
	}
	if got, n := r.inserts(); got.first != 6 || got.last != 9 || n != 4 {
		t.Errorf("planned %+v with %d rows, want offsets 6 to 9", got, n)
	}
}

// A topic that was deleted and made anew begins at 0 again, whether or not the
// broker knows ids of topics. What was read of the old one must not move the
// offset of the new one.
func TestTopicMadeAnewIsReadFromItsStart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		old, anew [16]byte
		written   bool
	}{
		"with ids, rows wait": {[16]byte{1}, [16]byte{2}, false},
		"with ids":            {[16]byte{1}, [16]byte{2}, true},
		"without ids":         {written: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReader(t)
			r.answer(c.old, -1, "")
			r.reads(c.old, 0, 4)
			old := r.parts[topicPartition{"dead", 0}]
			if c.written {
				r.inserts()
			}
			r.answer(c.anew, -1, "")
			r.reads(c.anew, 0, 2)
			if got, n := r.inserts(); got.first != 0 || got.last != 2 || n != 3 {
				t.Errorf("planned %+v with %d rows, want offsets 0 to 2", got, n)
			}
			if !r.gone(old) {
				t.Error("the old partition still commits its offsets")
			}
		})
	}
}

package clickhouse

import (
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

func TestEveryEventIsKeptOnceInTableAndRollup(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	r.events(200, 3)
	run := r.record("a")
	r.waitRows()
	run.stop()
	r.exact()
	if n := r.number(t, "SELECT count() FROM requests WHERE tenant = 'acme' AND outcome = 'ok' AND fallbacks = 1 AND queue_ms = 5 AND e2e_ms = 100 AND handling_ms = 95 AND labels['team'] = 'a'"); n != 400 {
		t.Errorf("%d of 400 results are kept as they were", n)
	}
	if n := r.number(t, "SELECT toUInt64(sum(amount) * 1000000000000) FROM costs_1h"); n != 600 {
		t.Errorf("costs add up to %d, want 600 (10^-12 USD)", n)
	}
}

// A recorder that is killed between the steps of a batch leaves either a plan
// without rows, or rows without a commit. Whoever comes next does the plan.
func TestKilledRecorderLosesAndDoublesNothing(t *testing.T) {
	for _, c := range []struct {
		name, next string
		nth        int64
	}{{"first insert, same instance", "a", 1}, {"third insert, other instance", "b", 3}, {"seventh insert, other instance", "b", 7}} {
		t.Run(strings.ReplaceAll(strings.ReplaceAll(c.name, ",", ""), " ", "_"), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			r.events(60, 2)
			r.swallow.Store(c.nth)
			small := func(c *RecorderConfig) { c.MaxRows = 10 }
			run := r.record("a", dies, small)
			select {
			case <-r.lost:
			case <-time.After(20 * time.Second):
				t.Fatal("no insert came")
			}
			r.down.Store(true)
			run.stop()
			r.down.Store(false)
			r.record(c.next, small)
			r.waitRows()
			r.exact()
		})
	}
}

func TestKilledBeforeInsertIsRepairedByThePlan(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.events(50, 2)
	r.down.Store(true) // batches are announced and can't be inserted
	run := r.record("a", dies)
	r.wait("a plan", func() bool { return run.Ready() != nil })
	run.stop()
	r.down.Store(false)
	r.events(50, 2)
	r.record("b")
	r.waitRows()
	r.exact()
}

// The metadata of the offset must reach the next owner as it was written, also
// when the answer was lost while the recorder lived on.
func TestLostAnswerIsRepeatedWithTheSameToken(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.events(100, 2)
	r.swallow.Store(2)
	run := r.record("a")
	r.waitRows()
	run.stop()
	r.exact()
	if len(r.lost) == 0 {
		t.Error("no answer was lost")
	}
}

func TestEventsWaitWhileClickHouseIsAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.down.Store(true)
	run := r.record("a", func(c *RecorderConfig) { c.MaxRows, c.MaxBuffer = 20, 100 })
	r.events(150, 2)
	r.wait("Ready to say so", func() bool { return run.Ready() != nil })
	if held := run.held.Load(); held > 100+14 {
		t.Errorf("%d rows are held, want about 100", held)
	}
	r.down.Store(false)
	r.waitRows()
	r.wait("Ready to be well", func() bool { return run.Ready() == nil })
	run.stop()
	r.exact()
}

func TestUnreadableEventIsBuriedAndBlocksNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.events(5, 1)
	r.client.Produce(t.Context(), &kgo.Record{Topic: "costs", Value: []byte("not avro"), Key: []byte("k")}, nil)
	r.client.Produce(t.Context(), &kgo.Record{Topic: "replies", Value: []byte("{")}, nil)
	send(r, "costs", 0, r.codecs.Cost, &schemas.CostEvent{Time: base, State: schemas.CostPriced, Currency: "EURO"})
	r.sent["costs"]--
	r.events(5, 1)
	r.sent["dead"] += 3
	run := r.record("a")
	r.waitRows()
	run.stop()
	run = r.record("a") // what was buried is not buried again
	r.events(5, 1)
	r.waitRows()
	run.stop()
	if n := r.number(t, "SELECT count() FROM costs"); n != 15 {
		t.Errorf("costs holds %d rows, want 15", n)
	}
	if n := r.number(t, "SELECT count() FROM dead_letters WHERE reason = ? AND origin IN ('', 'costs/0/5', 'costs/0/6', 'replies/0/5')", string(schemas.DeadUndecodable)); n != 3 {
		t.Errorf("%d unreadable events are on the dead-letter topic, want 3", n)
	}
}

// A dead letter as large as the record that it is about would not fit on its topic:
// the partition would be held up, by an event that nobody can use, for good.
func TestHugeUnreadableEventHoldsNothingUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	large, err := r.config.NewClient(nil, nil, kgo.ProducerBatchMaxBytes(1<<20), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer large.Close()
	huge := &kgo.Record{Topic: "replies", Value: []byte(strings.Repeat("{", 1020<<10))}
	if err := large.ProduceSync(t.Context(), huge).FirstErr(); err != nil {
		t.Fatal(err)
	}
	r.events(5, 1)
	r.sent["dead"]++
	r.record("a")
	r.waitRows()
	if n := r.number(t, "SELECT count() FROM dead_letters WHERE origin = 'replies/0/0' AND bytes = 0"); n != 1 {
		t.Errorf("%d letters say where the event is, want 1", n)
	}
}

// A record whose schema can't be fetched must hold the ones behind it up, also
// over a stop: committing them would lose it.
func TestEventThatCannotBeReadNowIsNotSkipped(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.source.late = r.codecs.Cost.Schema()
	r.events(5, 1)
	cost := schemas.CostEvent{ID: "x", Time: base, Outcome: schemas.OK, State: schemas.CostNone}
	value, err := r.codecs.Cost.Append(nil, &cost)
	if err != nil {
		t.Fatal(err)
	}
	_, body, err := avro.SplitHeader(value)
	if err != nil {
		t.Fatal(err)
	}
	r.put(&kgo.Record{Topic: "costs", Value: append(avro.AppendHeader(nil, lateID), body...)})
	r.events(5, 1)
	run := r.record("a")
	r.wait("the schema to be asked for", func() bool { return r.source.asked.Load() > 0 })
	run.stop()
	if n := r.number(t, "SELECT count() FROM costs"); n > 5 {
		t.Errorf("%d costs were kept, those behind the unreadable one included", n)
	}
	r.source.up.Store(true)
	r.record("a")
	r.waitRows()
	r.exact()
}

func TestNewcomerSharesTheWork(t *testing.T) {
	t.Parallel()
	r := newRig(t, 4)
	small := func(c *RecorderConfig) { c.MaxRows = 50 }
	one := r.record("a", small)
	r.events(150, 4)
	two := r.record("b", small)
	r.events(150, 4)
	r.wait("both to own partitions", func() bool { return one.owned() > 0 && two.owned() > 0 })
	r.events(150, 4)
	r.waitRows()
	one.stop()
	two.stop()
	r.exact()
}

func (r *running) owned() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.parts)
}

func TestAuditChainGoesOnOverRestarts(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	for _, instance := range []string{"a", "b", "a"} {
		run := r.record(instance)
		r.events(30, 2)
		r.waitRows()
		run.stop()
	}
	r.exact()
	if n := r.number(t, "SELECT max(seq) FROM audit"); n != 44 {
		t.Errorf("the chains end at %d, want 44", n)
	}
}

func TestCleanStopFlushes(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.events(100, 2)
	run := r.record("a", func(c *RecorderConfig) { c.MaxWait, c.MaxRows = time.Hour, 200 })
	r.wait("everything to be read", func() bool { return run.held.Load() == 900 })
	run.stop()
	r.exact()
	again := r.record("a")
	r.wait("the partitions", func() bool { return again.owned() == 18 })
	again.stop()
	r.exact()
}

// Offsets of a topic that was made anew begin at 0 again; its first batch must
// not be taken for the first batch of the old one.
func TestBatchesOfARecreatedTopicAreNotTakenForRepeats(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	for range 2 {
		r.startBroker(1)
		r.events(10, 1)
		run := r.record("a")
		r.waitRows()
		run.stop()
	}
	if n := r.number(t, "SELECT count() FROM costs"); n != 20 {
		t.Errorf("costs holds %d rows, want 20", n)
	}
}

func TestPlanSurvivesTheTripThroughMetadata(t *testing.T) {
	p := plan{7, 12, 99}
	if got, ok := parsePlan(p.String(), 5); !ok || got != p {
		t.Errorf("got %+v, %v", got, ok)
	}
	for _, bad := range []string{"", "p1:", "p1:7", "p1:7-12", "p1:12-7@1", "p1:3-9@1", "p2:7-12@1", "p1:7-12@", "p1:x-12@1", "p1:7-9223372036854775808@1"} {
		if got, ok := parsePlan(bad, 5); ok {
			t.Errorf("%q was read as %+v", bad, got)
		}
	}
}

func FuzzPlan(f *testing.F) {
	f.Add("p1:7-12@99", int64(5))
	f.Fuzz(func(t *testing.T, metadata string, offset int64) {
		p, ok := parsePlan(metadata, offset)
		if !ok {
			return
		}
		if again, ok := parsePlan(p.String(), offset); !ok || again != p {
			t.Errorf("%q: %+v, then %+v", metadata, p, again)
		}
	})
}

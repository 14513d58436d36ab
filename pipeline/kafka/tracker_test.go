package kafka

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// reading returns a tracker that starts at a committed offset and has read up to
// end.
func reading(t *testing.T, committed, end int64, done ...run) *tracker {
	t.Helper()
	tr := newTracker("requests", 0, [16]byte{1}, committed, done)
	t.Cleanup(tr.end)
	for o := max(committed, 0); o < end; o++ {
		tr.register(o, 0)
	}
	return tr
}

func finish(tr *tracker, offsets ...int64) {
	for _, o := range offsets {
		tr.finish(&completion{offset: o})
	}
}

// mustTake cuts all that waits and returns what a successor would read from it.
func mustTake(t *testing.T, tr *tracker) (*cut, []run) {
	t.Helper()
	c := tr.take(maxBatch)
	if c == nil {
		t.Fatal("nothing to commit")
	}
	if len(c.metadata) > MaxMetadata {
		t.Fatalf("metadata of %d bytes, at most %d fit", len(c.metadata), MaxMetadata)
	}
	runs, err := decodeMap(c.offset, c.metadata, tr.topicID)
	if err != nil {
		t.Fatalf("decoding the committed map: %v", err)
	}
	return c, runs
}

func checkCut(t *testing.T, tr *tracker, offset int64, runs ...run) *cut {
	t.Helper()
	c, got := mustTake(t, tr)
	if c.offset != offset {
		t.Errorf("committed offset %d, want %d", c.offset, offset)
	}
	if diff := cmp.Diff(runs, got, compareRuns); diff != "" {
		t.Errorf("committed map (-want +got):\n%s", diff)
	}
	return c
}

func TestGapsInTheLogCountAsDone(t *testing.T) {
	t.Parallel()
	tr := reading(t, 10, 11) // 11 is a control record, 12 and 13 were compacted away
	tr.register(14, 0)
	finish(tr, 10)
	tr.commit(checkCut(t, tr, 14))
	if tr.low != 14 || tr.incomplete() != 1 {
		t.Errorf("low %d with %d incomplete, want 14 with 1", tr.low, tr.incomplete())
	}
}

func TestRecordBelowTheCommittedOffsetIsNotDoneAgain(t *testing.T) {
	t.Parallel()
	tr := reading(t, 10, 10)
	if tr.register(9, 0) {
		t.Error("offset 9 is worked on, but 10 was committed")
	}
	if !tr.register(10, 0) {
		t.Error("offset 10 is not worked on")
	}
	if tr.register(10, 0) {
		t.Error("offset 10 is worked on twice")
	}
}

func TestFirstRecordAboveTheCommittedOffsetClosesTheGap(t *testing.T) {
	t.Parallel()
	tr := reading(t, 10, 10) // retention removed 10 to 99
	tr.register(100, 0)
	finish(tr, 100)
	checkCut(t, tr, 101)
}

func TestPartitionWithoutACommittedOffsetStartsAtItsFirstRecord(t *testing.T) {
	t.Parallel()
	tr := reading(t, -1, 0)
	if !tr.register(40, 0) {
		t.Fatal("the first record is not worked on")
	}
	tr.register(41, 0)
	finish(tr, 41)
	checkCut(t, tr, 40, run{41, 42})
}

func TestClosingTrackerTakesNoFurtherRecord(t *testing.T) {
	t.Parallel()
	tr := reading(t, 0, 1)
	tr.closing = true
	if tr.register(1, 0) {
		t.Error("a record of a partition that is being given up is worked on")
	}
	finish(tr, 0)
	checkCut(t, tr, 1)
}

func TestMapThatDoesNotFitLeavesTheHighestOut(t *testing.T) {
	t.Parallel()
	tr := reading(t, 0, 60_000)
	for o := int64(1); o < 60_000; o += 2 { // every second one: the worst case for a map
		finish(tr, o)
	}
	want := len(tr.pending)
	covered := map[int64]bool{}
	for range 20 {
		c := tr.take(60_000)
		if c == nil {
			break
		}
		runs, err := decodeMap(c.offset, c.metadata, tr.topicID)
		if err != nil || len(c.metadata) > MaxMetadata {
			t.Fatalf("map of %d bytes: %v", len(c.metadata), err)
		}
		for _, b := range c.batch {
			covered[b.offset] = true
		}
		for o := range covered { // of this and of every earlier transaction
			if o >= c.offset && !slices.ContainsFunc(runs, func(r run) bool { return r.from <= o && o < r.to }) {
				t.Fatalf("offset %d was committed as done, and this map has stripped it", o)
			}
		}
		tr.commit(c)
	}
	if len(covered) == 0 || len(covered)+len(tr.pending) != want {
		t.Fatalf("%d committed and %d left, want %d together", len(covered), len(tr.pending), want)
	}
	first := tr.pending[0].offset
	for o := range covered {
		if o > first {
			t.Fatalf("%d is left while the higher %d is committed", first, o)
		}
	}
	// The slow one ends: now all of them get their turn.
	for o := int64(0); o < 60_000; o += 2 {
		finish(tr, o)
	}
	for c := tr.take(maxBatch); c != nil; c = tr.take(maxBatch) {
		tr.commit(c)
	}
	if tr.low != 60_000 || tr.incomplete() != 0 {
		t.Errorf("low %d, %d incomplete, want 60000 and none", tr.low, tr.incomplete())
	}
}

func TestRunsOfTheLastOwnerStayInTheMapUntilTheyAreRead(t *testing.T) {
	t.Parallel()
	tr := reading(t, 10, 13, run{12, 13}, run{20, 25}, run{30, 31})
	finish(tr, 11)
	tr.commit(checkCut(t, tr, 10, run{11, 13}, run{20, 25}, run{30, 31}))
	for o := int64(13); o < 23; o++ { // into the middle of a run
		if worked := tr.register(o, 0); worked != (o < 20) {
			t.Errorf("offset %d worked on: %v", o, worked)
		}
	}
	finish(tr, 10)
	tr.commit(checkCut(t, tr, 13, run{20, 25}, run{30, 31}))
}

// Everything that was read is done and the next offset was finished by the last
// owner: a map can't begin at its own low offset, so the offset itself moves on.
func TestRecoveredRunRightAtNextMovesTheOffset(t *testing.T) {
	t.Parallel()
	tr := reading(t, 10, 12, run{12, 20}, run{25, 26})
	finish(tr, 10, 11)
	tr.commit(checkCut(t, tr, 20, run{25, 26}))
	for o := int64(12); o < 20; o++ {
		if tr.register(o, 0) {
			t.Errorf("offset %d, below the committed 20, is worked on again", o)
		}
	}
	if !tr.register(20, 0) {
		t.Error("offset 20 is not worked on")
	}
	finish(tr, 20)
	checkCut(t, tr, 21, run{25, 26})
}

func TestGivenBackCompletionsAreTakenAgainInOrder(t *testing.T) {
	t.Parallel()
	tr := reading(t, 0, 4)
	finish(tr, 2, 0)
	c := tr.take(2)
	finish(tr, 3)
	tr.giveBack(c)
	var order []int64
	all, _ := mustTake(t, tr)
	for _, b := range all.batch {
		order = append(order, b.offset)
	}
	if want := []int64{2, 0, 3}; !slices.Equal(order, want) {
		t.Errorf("taken %v, want %v", order, want)
	}
	if all.offset != 1 {
		t.Errorf("committed offset %d, want 1", all.offset)
	}
}

func TestIdleWaitsForTheTransactionToo(t *testing.T) {
	t.Parallel()
	tr := reading(t, 0, 1)
	tr.running = 1
	idle := tr.idle()
	finish(tr, 0)
	tr.running = 0
	tr.wakeIdle()
	select {
	case <-idle:
		t.Fatal("idle although a completion waits for its transaction")
	default:
	}
	c, _ := mustTake(t, tr)
	tr.commit(c)
	<-idle
}

// partitionModel is a log, the offset and map that the broker holds, and how
// often each record was committed as done.
type partitionModel struct {
	records  []int64 // their offsets, with gaps
	offset   int64
	metadata string
	times    map[int64]int
	next     int // first record that was not read by the present owner
}

func (m *partitionModel) owner(t *testing.T) *tracker {
	t.Helper()
	done, err := decodeMap(m.offset, m.metadata, [16]byte{1})
	if err != nil {
		t.Fatalf("decoding %q above %d: %v", m.metadata, m.offset, err)
	}
	m.next, _ = slices.BinarySearch(m.records, m.offset)
	return newTracker("requests", 0, [16]byte{1}, m.offset, done)
}

func (m *partitionModel) commit(tr *tracker, c *cut) {
	m.offset, m.metadata = c.offset, c.metadata
	for _, b := range c.batch {
		m.times[b.offset]++
	}
	tr.commit(c)
}

// Records finish in any order, transactions succeed, fail and cover what they
// like, and owners die at any moment: every record is committed as done exactly
// once.
func TestEveryOffsetIsCommittedExactlyOnceThroughCrashes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(400) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		m := &partitionModel{times: map[int64]int{}}
		at := rnd.Int64N(50)
		m.offset = at
		for range 50 + rnd.IntN(400) {
			m.records = append(m.records, at)
			at += 1 + max(0, rnd.Int64N(12)-9)
		}
		live(t, m, rnd)
		for _, o := range m.records {
			if m.times[o] != 1 {
				t.Fatalf("seed %d: offset %d was committed %d times", seed, o, m.times[o])
			}
		}
		if last := m.records[len(m.records)-1] + 1; m.offset != last || m.metadata != "" {
			t.Fatalf("seed %d: ends at %d with map %q, want %d without", seed, m.offset, m.metadata, last)
		}
	}
}

// live runs owner after owner until every record is committed.
func live(t *testing.T, m *partitionModel, rnd *rand.Rand) {
	tr := m.owner(t)
	var open []int64
	for step := 0; len(m.times) < len(m.records) || len(tr.pending) > 0; step++ {
		if step > 200_000 {
			t.Fatalf("no end: %d of %d committed", len(m.times), len(m.records))
		}
		switch k := rnd.IntN(100); {
		case k < 45 && m.next < len(m.records):
			o := m.records[m.next]
			m.next++
			if tr.register(o, 0) {
				if m.times[o] > 0 {
					t.Fatalf("offset %d is handed out again after its commit", o)
				}
				open = append(open, o)
			}
		case k < 85 && len(open) > 0:
			i := rnd.IntN(len(open))
			finish(tr, open[i])
			open = slices.Delete(open, i, i+1)
		case k < 97:
			c := tr.take(1 + rnd.IntN(20))
			if c == nil {
				continue
			}
			if rnd.IntN(4) == 0 {
				tr.giveBack(c)
			} else {
				m.commit(tr, c)
			}
		case k == 99: // the owner dies, perhaps after a transaction that it never heard of
			if c := tr.take(1 + rnd.IntN(20)); c != nil && rnd.IntN(2) == 0 {
				m.commit(tr, c)
			}
			tr.end()
			tr, open = m.owner(t), nil
		}
	}
	tr.end()
}

// A batch of five that can't be unpacked is one item; nobody waits for the other
// four, and a restart does not meet them.
func TestAnItemForABatchPassesItsOffsets(t *testing.T) {
	t.Parallel()
	tr := reading(t, 10, 12)
	if !tr.register(12, 0) {
		t.Fatal("the batch's first offset is not taken")
	}
	tr.pass(17)
	if tr.position() != 17 || tr.incomplete() != 3 {
		t.Fatalf("reading goes on at %d with %d open, want 17 with 3", tr.position(), tr.incomplete())
	}
	finish(tr, 10, 11, 12)
	if c, _ := mustTake(t, tr); c.offset != 17 {
		t.Errorf("committed %d, want 17", c.offset)
	}
}

package kafka

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/sira-ai/sira/pipeline"
)

// What is known of an offset at or above a tracker's low mark.
const (
	offsetOpen    = iota // read, not finished
	offsetReady          // finished, its outputs are not committed yet
	offsetDone           // committed as finished, or never a record (control records, compaction)
	offsetDropped        // read and let go before it ran: to be taken when it is read again
)

// tracker remembers, for one owned partition, which offsets are finished. It
// lives from the fetch of the committed offset to the loss of the partition, and
// no longer: a completion that comes later finds its tracker dead and is thrown
// away, because the next owner will make the call again.
//
// Invariant: low is the first offset that is not done; states[i] belongs to
// low+i; every offset below low is done and committed.
type tracker struct {
	topic     string
	partition int32
	topicID   [16]byte

	life context.Context //nolint:containedctx // ends with the ownership of the partition, not with a call
	end  context.CancelFunc
	work context.Context //nolint:containedctx // of the calls for it; ends with life, or when a stop has waited long enough
	cut  context.CancelFunc

	mu       sync.Mutex
	low      int64
	states   []byte
	recover  []run // finished offsets found in the committed metadata, until next passes them
	next     int64 // first offset that was not read yet
	highest  int64 // end of the partition as the last fetch told it
	epoch    int32
	open     int                // offsets that are offsetOpen
	running  int                // of these, handed to a worker
	ready    int                // offsets that are offsetReady
	closing  bool               // no further dispatch: the partition is being given up
	paused   bool               // fetching is paused
	chains   map[string][]*item // keyed order: waiting items behind the one in flight
	idleWait []chan struct{}    // closed when running and ready are both zero
	pending  []*completion      // finished, waiting for a transaction

	made            int64 // committed offset that it was made from; below zero: none
	committedOffset int64 // what the broker has, as far as this owner knows
	committedMap    string
}

// completion is a finished job whose outputs wait for a transaction.
type completion struct {
	offset  int64
	outputs []pipeline.Record
	key     journalKey
	file    int // of the journal; 0: none
}

// newTracker starts from a committed offset, or from the first record that comes
// where none was committed (offset below zero).
func newTracker(topic string, partition int32, id [16]byte, offset int64, done []run) *tracker {
	life, end := context.WithCancel(context.Background())
	work, cut := context.WithCancel(life)
	return &tracker{
		topic: topic, partition: partition, topicID: id, life: life, end: end, work: work, cut: cut,
		low: offset, next: offset, recover: done, chains: map[string][]*item{}, made: offset, committedOffset: offset,
	}
}

// register notes a polled offset and reports whether it has to be worked on.
// Offsets between the last one and this one are no records and count as done.
func (t *tracker) register(offset int64, epoch int32) bool {
	if t.closing {
		return false
	}
	if t.low >= 0 && offset < t.next {
		again := offset >= t.low && t.states[offset-t.low] == offsetDropped
		if again {
			t.states[offset-t.low] = offsetOpen
		}
		return again
	}
	if t.low < 0 {
		t.low, t.next = offset, offset
	}
	for ; t.next < offset; t.next++ {
		t.states = append(t.states, offsetDone)
	}
	t.next = offset + 1
	t.epoch = epoch
	if t.recovered(offset) {
		t.states = append(t.states, offsetDone)
		t.trim()
		return false
	}
	t.states = append(t.states, offsetOpen)
	t.open++
	t.trim()
	return true
}

// position is the first offset that is to be read. Where nothing is known it is 0,
// which the broker corrects.
func (t *tracker) position() int64 {
	if i := bytes.IndexByte(t.states, offsetDropped); i >= 0 {
		return t.low + int64(i)
	}
	return max(t.next, 0)
}

// pass notes that there is nothing to work on below offset but what was registered.
func (t *tracker) pass(offset int64) {
	for ; t.next < offset; t.next++ {
		t.states = append(t.states, offsetDone)
	}
	t.trim()
}

// recovered reports whether the committed map says that offset is finished.
func (t *tracker) recovered(offset int64) bool {
	for len(t.recover) > 0 && t.recover[0].to <= offset {
		t.recover = t.recover[1:]
	}
	return len(t.recover) > 0 && t.recover[0].from <= offset
}

// trim moves low over what is done.
func (t *tracker) trim() {
	n := 0
	for n < len(t.states) && t.states[n] == offsetDone {
		n++
	}
	t.low += int64(n)
	t.states = t.states[n:]
}

// finish notes that the offset's outputs are ready to be committed.
func (t *tracker) finish(c *completion) {
	t.states[c.offset-t.low] = offsetReady
	t.open--
	t.ready++
	t.pending = append(t.pending, c)
}

// incomplete is how many offsets were read and are not committed as done.
func (t *tracker) incomplete() int { return t.open + t.ready }

// cut is what one transaction commits for one partition: the offset, its map and
// the completions that it covers. All of it is computed under one lock, so that
// offset, map and outputs agree.
type cut struct {
	tracker  *tracker
	offset   int64
	epoch    int32
	metadata string
	batch    []*completion
}

// take cuts up to limit pending completions for a transaction. They stay pending
// in the tracker's states until commit or giveBack is called. It returns nil when
// there is nothing to commit.
//
// A map that does not fit into the metadata must not be stripped: a finished
// offset that the map leaves out would be done twice after a crash. So the highest
// completions are left for a later transaction until the map fits; the ones that
// move low always fit, since they only make the committed map shorter.
func (t *tracker) take(limit int) *cut {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.pending) == 0 {
		return nil
	}
	batch := t.pending
	if len(batch) > limit {
		// The lowest first: they shorten the map. Of the highest alone it might be
		// that none fits, and then nothing would be committed any more.
		slices.SortFunc(batch, func(a, b *completion) int { return cmp.Compare(a.offset, b.offset) })
		batch = batch[:limit]
	}
	all := batch
	bound := t.next
	for {
		c := &cut{tracker: t, epoch: t.epoch, batch: all}
		c.offset, c.metadata = t.encode(all)
		if len(c.metadata) <= MaxMetadata {
			t.pending = without(t.pending, all)
			return c
		}
		bound = t.low + (bound-t.low)/2
		if bound <= t.low {
			return nil
		}
		all = below(batch, bound)
		if len(all) == 0 {
			return nil
		}
	}
}

// encode returns the offset and metadata that would hold with batch done.
func (t *tracker) encode(batch []*completion) (int64, string) {
	const inBatch = 255
	for _, c := range batch {
		t.states[c.offset-t.low] = inBatch
	}
	i := 0
	for i < len(t.states) && (t.states[i] == offsetDone || t.states[i] == inBatch) {
		i++
	}
	low := t.low + int64(i)
	var runs []run
	for j := i; j < len(t.states); j++ {
		if t.states[j] != offsetDone && t.states[j] != inBatch {
			continue
		}
		o := t.low + int64(j)
		if n := len(runs); n > 0 && runs[n-1].to == o {
			runs[n-1].to++
		} else {
			runs = append(runs, run{o, o + 1})
		}
	}
	for _, r := range t.recover { // known from the last owner, not read again yet
		r.from = max(r.from, t.next)
		switch {
		case r.to <= r.from:
		case len(runs) == 0 && r.from <= low:
			low = r.to // a map can't begin with its own low offset
		case len(runs) > 0 && runs[len(runs)-1].to >= r.from:
			runs[len(runs)-1].to = r.to
		default:
			runs = append(runs, r)
		}
	}
	for _, c := range batch {
		t.states[c.offset-t.low] = offsetReady
	}
	return low, encodeMap(low, runs, t.topicID)
}

// commit makes the cut's offsets done.
func (t *tracker) commit(c *cut) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, b := range c.batch {
		t.states[b.offset-t.low] = offsetDone
	}
	t.ready -= len(c.batch)
	t.committedOffset, t.committedMap = c.offset, c.metadata
	t.trim()
	t.wakeIdle()
}

// dropped notes that an item was let go before it ran. The tracker's lock is held.
func (t *tracker) dropped(it *item) {
	if i := it.offset - t.low; i >= 0 && i < int64(len(t.states)) && t.states[i] == offsetOpen {
		t.states[i] = offsetDropped
	}
}

// adopt takes the tracker into service again after its partition was lost and
// came back, if the committed offset and map are the ones that it knows: then
// nobody has committed anything in between, and what it has in flight is still
// its own to finish.
func (t *tracker) adopt(offset int64, metadata string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.committedOffset != offset || t.committedMap != metadata {
		return false
	}
	t.closing, t.paused = false, false
	return true
}

// agrees reports whether a committed offset and map are the ones that the tracker knows.
func (t *tracker) agrees(offset int64, metadata string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.committedOffset == offset && t.committedMap == metadata
}

// used reports whether the tracker knows more than the committed offset that it was
// made from.
func (t *tracker) used() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.next != t.made
}

// giveBack returns the cut's completions to the ones that wait.
func (t *tracker) giveBack(c *cut) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending = append(c.batch, t.pending...)
}

// idle returns a channel that is closed once nothing of the partition is running
// or waiting for a transaction.
func (t *tracker) idle() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	ch := make(chan struct{})
	t.idleWait = append(t.idleWait, ch)
	t.wakeIdle()
	return ch
}

func (t *tracker) wakeIdle() {
	if t.running > 0 || t.ready > 0 {
		return
	}
	for _, ch := range t.idleWait {
		close(ch)
	}
	t.idleWait = nil
}

func below(batch []*completion, bound int64) []*completion {
	var out []*completion
	for _, c := range batch {
		if c.offset < bound {
			out = append(out, c)
		}
	}
	return out
}

// without returns pending less those in batch, in order.
func without(pending, batch []*completion) []*completion {
	if len(pending) == len(batch) {
		return nil
	}
	in := make(map[*completion]struct{}, len(batch))
	for _, c := range batch {
		in[c] = struct{}{}
	}
	rest := pending[:0:0]
	for _, c := range pending {
		if _, ok := in[c]; !ok {
			rest = append(rest, c)
		}
	}
	return rest
}

package kafka

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// witness watches the parts of transactions come to the broker, and holds each
// produce request for a moment so that others could overtake it.
type witness struct {
	t *testing.T

	mu        sync.Mutex
	unwritten int  // produce requests that have no answer yet
	offsets   bool // the transaction's offsets have come
	early     chan struct{}
	kinds     map[string]int // of requests that came
}

// heldFor is how long a produce request waits for somebody to overtake it.
const heldFor = 20 * time.Millisecond

func watch(r *rig) *witness {
	w := &witness{t: r.t, kinds: map[string]int{}, early: make(chan struct{}, 1)}
	cluster := r.broker.cluster
	for _, key := range []kmsg.Key{kmsg.AddPartitionsToTxn, kmsg.Produce, kmsg.AddOffsetsToTxn, kmsg.TxnOffsetCommit, kmsg.EndTxn} {
		cluster.ControlKey(key.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
			cluster.KeepControl()
			if w.came(req) {
				cluster.SleepControl(w.hold)
			}
			return nil, nil, false
		})
	}
	return w
}

// came notes a request and reports whether it is to be held.
func (w *witness) came(req kmsg.Request) (held bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kinds[kmsg.NameForKey(req.Key())]++
	switch req := req.(type) {
	case *kmsg.ProduceRequest:
		if req.TransactionID == nil {
			return false // the test's own
		}
		if w.offsets {
			w.t.Error("outputs came after the offsets of their transaction")
		}
		w.unwritten++
		return true
	case *kmsg.AddPartitionsToTxnRequest:
		if w.offsets {
			w.t.Error("a partition was added to a transaction after its offsets")
		}
	case *kmsg.AddOffsetsToTxnRequest, *kmsg.TxnOffsetCommitRequest:
		w.offsets = true
		if w.unwritten > 0 {
			w.t.Errorf("%T came while %d produce requests had no answer", req, w.unwritten)
			select {
			case w.early <- struct{}{}:
			default:
			}
		}
	case *kmsg.EndTxnRequest:
		w.offsets = false
	}
	return false
}

func (w *witness) hold() {
	limit := time.NewTimer(heldFor)
	defer limit.Stop()
	select {
	case <-w.early:
	case <-limit.C:
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unwritten--
}

// Outputs and offsets were sent side by side, to save a round trip. A coordinator
// that is told of two parts of a transaction at once refuses one of them, and a
// refused produce request waited up to 5 s for its next try, the whole transaction
// and all that was finished meanwhile with it. Older clusters are told of each
// partition and of the group, later ones find out by themselves (KIP-890).
func TestOffsetsOfATransactionComeAfterItsOutputs(t *testing.T) {
	t.Parallel()
	for version, kinds := range map[int16][]string{
		1: {"AddPartitionsToTxn", "Produce", "AddOffsetsToTxn", "TxnOffsetCommit", "EndTxn"},
		2: {"Produce", "TxnOffsetCommit", "EndTxn"},
	} {
		t.Run(fmt.Sprintf("transaction.version=%d", version), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			change := kadm.FeatureUpdate{Feature: "transaction.version", MaxVersionLevel: version, UpgradeType: 3}
			answer, err := kadm.NewClient(r.client).UpdateFeatures(t.Context(), false, change)
			if err := errors.Join(err, answer.Error()); err != nil {
				t.Fatal(err)
			}
			w := watch(r)
			r.send(0, 300)
			stop := r.worker("w1", nil, jitter(200*time.Millisecond), func(c *EngineConfig) { c.Concurrency = 100 })
			r.exactlyOnce(300)
			stop()
			w.mu.Lock()
			defer w.mu.Unlock()
			for _, kind := range kinds {
				if w.kinds[kind] < 2 {
					t.Errorf("%d requests of %s were seen, want some", w.kinds[kind], kind)
				}
			}
		})
	}
}

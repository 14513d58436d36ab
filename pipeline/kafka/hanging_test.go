package kafka

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	ourProducer = 77
	ourEpoch    = 9 // as the coordinator knows it
)

// wreck is what brokers say of transactions after one of them died. It keeps the
// markers that they are told to write.
type wreck struct {
	*rig

	state   string
	listed  []int32               // partitions of results that the coordinator's transaction still needs
	open    map[string]openWrites // by topic and partition: results/0
	broken  string                // partition whose marker can't be written
	unknown bool                  // the coordinator does not know us

	mu      sync.Mutex
	markers []string
}

// openWrites are those of one producer on a partition.
type openWrites struct {
	producer int64
	epoch    int32
	age      time.Duration // since the last of them
	start    int64         // of the transaction; -1: none is open
	leader   int32         // epoch of the coordinator that knew of them; -1: none did
}

// hung is a transaction of ours from before whose last write is old enough.
func hung() openWrites {
	return openWrites{producer: ourProducer, epoch: ourEpoch - 1, age: hangingPeriod + time.Second, start: 40, leader: 3}
}

func newWreck(t *testing.T, open map[string]openWrites) *wreck {
	t.Helper()
	w := &wreck{rig: newRig(t, 1), state: "Empty", open: open}
	for key, answer := range map[kmsg.Key]func(kmsg.Request) kmsg.Response{
		kmsg.DescribeTransactions: w.transactions, kmsg.DescribeProducers: w.producers, kmsg.WriteTxnMarkers: w.write,
	} {
		w.broker.cluster.ControlKey(key.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
			w.broker.cluster.KeepControl()
			return answer(req), nil, true
		})
	}
	return w
}

// transactions is the coordinator's answer.
func (w *wreck) transactions(req kmsg.Request) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeTransactionsResponse)
	for _, id := range req.(*kmsg.DescribeTransactionsRequest).TransactionalIDs {
		if id != "sira.standard.w1" {
			w.t.Errorf("asked about %s", id)
		}
		s := kmsg.NewDescribeTransactionsResponseTransactionState()
		s.TransactionalID, s.State, s.ProducerID, s.ProducerEpoch = id, w.state, ourProducer, ourEpoch
		if w.unknown {
			s.ErrorCode = kerr.TransactionalIDNotFound.Code
		}
		if len(w.listed) > 0 {
			t := kmsg.NewDescribeTransactionsResponseTransactionStateTopic()
			t.Topic, t.Partitions = "results", w.listed
			s.Topics = append(s.Topics, t)
		}
		resp.TransactionStates = append(resp.TransactionStates, s)
	}
	return resp
}

// producers is what the leaders of partitions answer.
func (w *wreck) producers(req kmsg.Request) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.DescribeProducersResponse)
	for _, asked := range req.(*kmsg.DescribeProducersRequest).Topics {
		t := kmsg.NewDescribeProducersResponseTopic()
		t.Topic = asked.Topic
		for _, n := range asked.Partitions {
			p := kmsg.NewDescribeProducersResponseTopicPartition()
			p.Partition = n
			if o, ok := w.open[asked.Topic+"/"+strconv.Itoa(int(n))]; ok {
				a := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
				a.ProducerID, a.ProducerEpoch, a.CurrentTxnStartOffset, a.CoordinatorEpoch = o.producer, o.epoch, o.start, o.leader
				a.LastTimestamp = time.Now().Add(-o.age).UnixMilli()
				p.ActiveProducers = append(p.ActiveProducers, a)
			}
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// write notes markers as "results/0: abort 77 epoch 8 of coordinator 3".
func (w *wreck) write(req kmsg.Request) kmsg.Response {
	w.mu.Lock()
	defer w.mu.Unlock()
	resp := req.ResponseKind().(*kmsg.WriteTxnMarkersResponse)
	for _, m := range req.(*kmsg.WriteTxnMarkersRequest).Markers {
		rm := kmsg.NewWriteTxnMarkersResponseMarker()
		rm.ProducerID = m.ProducerID
		word := "abort"
		if m.Committed {
			word = "commit"
		}
		for _, t := range m.Topics {
			rt := kmsg.NewWriteTxnMarkersResponseMarkerTopic()
			rt.Topic = t.Topic
			for _, n := range t.Partitions {
				at := t.Topic + "/" + strconv.Itoa(int(n))
				rp := kmsg.NewWriteTxnMarkersResponseMarkerTopicPartition()
				rp.Partition = n
				if at == w.broken {
					rp.ErrorCode = kerr.ClusterAuthorizationFailed.Code
				}
				rt.Partitions = append(rt.Partitions, rp)
				w.markers = append(w.markers, at+": "+word+" "+strconv.FormatInt(m.ProducerID, 10)+" epoch "+strconv.Itoa(int(m.ProducerEpoch))+
					" of coordinator "+strconv.Itoa(int(m.CoordinatorEpoch)))
			}
			rm.Topics = append(rm.Topics, rt)
		}
		resp.Markers = append(resp.Markers, rm)
	}
	return resp
}

// ended has the session look once and returns what it ended.
func (w *wreck) ended() []string {
	w.t.Helper()
	e, err := NewEngine(EngineConfig{
		Client: w.config(), Instance: "w1", Group: "sira", Lanes: []LaneConfig{{Name: "standard", Topics: []string{"requests"}}}, Outputs: []string{"results", "costs"},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	s := e.newSession(0, e.cfg.Log)
	s.consumer = w.client
	s.endThoseThatHang(w.t.Context())
	return w.written()
}

func (w *wreck) written() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Sorted(slices.Values(w.markers))
}

// A broker was killed in the middle of a commit. When it was back, the coordinator
// had nothing open, and a results partition had: no reader of committed records got
// past that.
func TestTransactionThatABrokerLeftOpenIsAborted(t *testing.T) {
	t.Parallel()
	never := hung() // no coordinator had written to this partition before
	never.leader = -1
	w := newWreck(t, map[string]openWrites{"results/1": hung(), "costs/0": never})
	want := []string{"costs/0: abort 77 epoch 8 of coordinator 0", "results/1: abort 77 epoch 8 of coordinator 3"}
	if diff := cmp.Diff(want, w.ended()); diff != "" {
		t.Errorf("markers (-want +got):\n%s", diff)
	}
}

// While a new transaction goes on, what an earlier epoch left open elsewhere hangs
// all the same.
func TestTransactionThatHangsIsAbortedBesideOneThatGoesOn(t *testing.T) {
	t.Parallel()
	w := newWreck(t, map[string]openWrites{"results/0": hung(), "results/1": hung()})
	w.state, w.listed = "Ongoing", []int32{1}
	if diff := cmp.Diff([]string{"results/0: abort 77 epoch 8 of coordinator 3"}, w.ended()); diff != "" {
		t.Errorf("markers (-want +got):\n%s", diff)
	}
}

func TestTransactionThatMayBeInOrderIsLeftAlone(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*wreck, *openWrites){
		"it is of the present epoch":           func(_ *wreck, o *openWrites) { o.epoch = ourEpoch },
		"it is of a later epoch":               func(_ *wreck, o *openWrites) { o.epoch = ourEpoch + 1 },
		"it is young":                          func(_ *wreck, o *openWrites) { o.age = time.Second },
		"it is another producer's":             func(_ *wreck, o *openWrites) { o.producer++ },
		"it has ended":                         func(_ *wreck, o *openWrites) { o.start = -1 },
		"its coordinator is about to abort it": func(w *wreck, _ *openWrites) { w.state, w.listed = "PrepareAbort", []int32{0} },
		"its coordinator is about to commit":   func(w *wreck, _ *openWrites) { w.state, w.listed = "PrepareCommit", []int32{0, 1} },
		"the coordinator does not know us":     func(w *wreck, _ *openWrites) { w.unknown = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, o := newWreck(t, nil), hung()
			change(w, &o)
			w.open = map[string]openWrites{"results/0": o}
			if got := w.ended(); len(got) > 0 {
				t.Errorf("it was ended: %v", got)
			}
		})
	}
}

// One that can't be ended, for want of a permission perhaps, keeps no other from
// being ended.
func TestTransactionThatCannotBeAbortedStandsInNobodysWay(t *testing.T) {
	t.Parallel()
	w := newWreck(t, map[string]openWrites{"results/0": hung(), "results/1": hung(), "costs/1": hung()})
	w.broken = "results/0"
	got := w.ended()
	for _, at := range []string{"results/0", "results/1", "costs/1"} {
		if !slices.ContainsFunc(got, func(m string) bool { return strings.HasPrefix(m, at) }) {
			t.Errorf("nobody ended that on %s: %v", at, got)
		}
	}
}

// The session looks for as long as it lives, not once: a broker may die at any time.
func TestWorkerLooksForTransactionsThatHang(t *testing.T) {
	t.Parallel()
	w := newWreck(t, map[string]openWrites{"results/1": hung()})
	stop := w.worker("w1", nil, jitter(time.Millisecond), func(c *EngineConfig) { c.Outputs = []string{"results", "costs"} })
	defer stop()
	for deadline := time.Now().Add(4 * hangingPeriod); len(w.written()) == 0; {
		if time.Now().After(deadline) {
			t.Fatalf("none was ended in %s", 4*hangingPeriod)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// Lanes without transactions leave none open.
func TestLaneWithoutTransactionsLooksForNone(t *testing.T) {
	t.Parallel()
	e, err := NewEngine(EngineConfig{
		Instance: "w1", Group: "sira", Lanes: []LaneConfig{{Name: "standard", Topics: []string{"requests"}, Guarantee: AtLeastOnce}}, Outputs: []string{"results"},
	})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), hangingPeriod/2)
		defer cancel()
		e.newSession(0, e.cfg.Log).endHanging(ctx)
		if ctx.Err() != nil {
			t.Error("it waits for the time to look")
		}
	})
}

package simulation

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// storm does something bad every now and then.
func (w *World) storm(ctx context.Context) {
	for end := time.Now().Add(w.cfg.Storm); time.Now().Before(end) && ctx.Err() == nil; {
		time.Sleep(time.Duration(w.rng.Int64N(int64(4 * time.Second))))
		k := w.workers[w.rng.IntN(len(w.workers))]
		switch n := w.rng.IntN(100); {
		case n < 18:
			w.note("%s crashes", k.name)
			k.kill()
			w.restart(k)
		case n < 28:
			w.note("%s leaves and comes back", k.name)
			if err := k.stop(); err != nil {
				w.note("%s: %v", k.name, err)
			}
			w.restart(k)
		case n < 38:
			d := time.Duration(w.rng.Int64N(int64(15 * time.Second)))
			w.note("%s is cut off for %s", k.name, d)
			l := k.link
			l.cut()
			time.AfterFunc(d, l.heal)
		case n < 55:
			w.note("answers to %s get lost", k.name)
			k.link.lose(1 + w.rng.IntN(3))
		case n < 60:
			w.note("coordinators move")
			w.cluster.RehashCoordinators()
		case n < 65:
			w.note("leaders move")
			w.cluster.ShufflePartitionLeaders()
		default:
			f := brokerFault(w.rng)
			w.note("%v answers %v %d times", f.Keys[0].Name(), f.Err, f.Count)
			h := w.cluster.Fault(f)
			time.AfterFunc(5*time.Second, h.Remove)
		}
	}
}

// restart brings a worker back after up to ten seconds.
func (w *World) restart(k *worker) {
	time.Sleep(time.Duration(w.rng.Int64N(int64(10 * time.Second))))
	w.note("%s starts", k.name)
	if err := k.start(); err != nil {
		w.note("%s: %v", k.name, err)
	}
}

// calm heals everything.
func (w *World) calm() {
	time.Sleep(20 * time.Second) // what was timed is over
	for _, k := range w.workers {
		k.link.heal()
		k.link.lose(0)
	}
}

// brokerFault draws an error that a broker may answer to a request.
func brokerFault(rng *rand.Rand) kfake.Fault {
	type kind struct {
		key  kmsg.Key
		errs []*kerr.Error
	}
	kinds := []kind{
		{kmsg.Produce, []*kerr.Error{kerr.NotLeaderForPartition, kerr.RequestTimedOut, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend}},
		{kmsg.TxnOffsetCommit, []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.NotCoordinator, kerr.RequestTimedOut, kerr.UnknownTopicOrPartition, kerr.IllegalGeneration}},
		{kmsg.TxnOffsetCommit, []*kerr.Error{kerr.ConcurrentTransactions, kerr.UnknownTopicOrPartition, kerr.GroupAuthorizationFailed}},
		{kmsg.EndTxn, []*kerr.Error{kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.ConcurrentTransactions, kerr.UnknownServerError}},
		{kmsg.InitProducerID, []*kerr.Error{kerr.ConcurrentTransactions, kerr.CoordinatorLoadInProgress}},
		{kmsg.Heartbeat, []*kerr.Error{kerr.NotCoordinator, kerr.RebalanceInProgress, kerr.UnknownMemberID}},
		{kmsg.JoinGroup, []*kerr.Error{kerr.CoordinatorLoadInProgress, kerr.NotCoordinator, kerr.RebalanceInProgress}},
		{kmsg.SyncGroup, []*kerr.Error{kerr.RebalanceInProgress, kerr.NotCoordinator}},
		{kmsg.OffsetFetch, []*kerr.Error{kerr.UnstableOffsetCommit, kerr.CoordinatorLoadInProgress, kerr.NotCoordinator}},
		{kmsg.Fetch, []*kerr.Error{kerr.NotLeaderForPartition, kerr.UnknownServerError, kerr.OffsetNotAvailable}},
		{kmsg.FindCoordinator, []*kerr.Error{kerr.CoordinatorNotAvailable}},
		{kmsg.Metadata, []*kerr.Error{kerr.LeaderNotAvailable}},
	}
	k := kinds[rng.IntN(len(kinds))]
	return kfake.Fault{Keys: []kmsg.Key{k.key}, Err: k.errs[rng.IntN(len(k.errs))], Count: 1 + rng.IntN(4)}
}

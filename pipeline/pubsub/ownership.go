package pubsub

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ownership knows which partitions of a topic this group member has, and how far each may be committed.
//
// Kafka does not ask whether a committer owns the partition; any member with a valid generation may move any offset. So the
// dangerous sequence is: a message of partition 3 is un-acknowledged, 3 moves to another member, the message is acknowledged
// here, and this member's next commit for 3 skips what the other has not done yet. Two rules exclude it: acknowledgements
// reach a tracker that leaves the map when its partition is revoked, and a commit takes its offsets from the map and is
// answered before a revocation can go on (commitMu).
type ownership struct {
	topic string

	// commitMu is held during a commit, request and answer included, and during a revocation. It is taken before mu.
	commitMu sync.Mutex

	mu       sync.Mutex // guards trackers and all that is in them; never held while waiting
	trackers map[int32]*tracker
}

// tracker follows one partition from its assignment to its revocation. When the partition comes back it gets a new one.
type tracker struct {
	// gone is closed when the partition is revoked.
	gone chan struct{}
	// pending are the offsets that were polled and not acknowledged, in order. What was acknowledged needs no memory, however
	// far it is ahead of the oldest pending one.
	pending   *list.List
	next      int64 // one above the highest offset polled; -1 before the first
	epoch     int32 // leader epoch of the latest record
	committed int64 // as the broker knows it from us; -1 before the first commit
}

func newOwnership(topic string) *ownership {
	return &ownership{topic: topic, trackers: make(map[int32]*tracker)}
}

// assign starts trackers. Only an assignment does: a tracker made for the first record that turns up would also be made for a
// record that was polled just before its partition was revoked.
func (o *ownership) assign(partitions []int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range partitions {
		if old := o.trackers[p]; old != nil {
			close(old.gone)
		}
		o.trackers[p] = &tracker{gone: make(chan struct{}), pending: list.New(), next: -1, committed: -1}
	}
}

// register notes that a record was polled. It returns the tracker's gone channel and a function that notes the
// acknowledgement; ok is false for a partition that is not ours.
func (o *ownership) register(r *kgo.Record) (gone <-chan struct{}, acked func(), ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.trackers[r.Partition]
	if t == nil {
		return nil, nil, false
	}
	e := t.pending.PushBack(r.Offset)
	t.next, t.epoch = r.Offset+1, r.LeaderEpoch
	acked = func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		t.pending.Remove(e)
	}
	return t.gone, acked, true
}

// low returns the offset to commit: everything below it is acknowledged.
func (t *tracker) low() int64 {
	if front := t.pending.Front(); front != nil {
		return front.Value.(int64)
	}
	return t.next
}

// commit tells the broker how far we are, in all partitions where it does not know. The first commit of a partition comes
// before its first acknowledgement: a group that starts at the end of a topic must not start at a later end after a crash.
func (o *ownership) commit(ctx context.Context, cl *kgo.Client) error {
	o.commitMu.Lock()
	defer o.commitMu.Unlock()
	return o.commitTrackers(ctx, cl, func() map[int32]*tracker { return o.trackers })
}

// revoke stops deliveries of the partitions, commits what is acknowledged, and forgets them.
func (o *ownership) revoke(ctx context.Context, cl *kgo.Client, partitions []int32) error {
	o.commitMu.Lock()
	defer o.commitMu.Unlock()
	lost := o.drop(partitions)
	return o.commitTrackers(ctx, cl, func() map[int32]*tracker { return lost })
}

// lose forgets the partitions without a commit, which would be refused or, worse, accepted.
func (o *ownership) lose(partitions []int32) {
	o.commitMu.Lock()
	defer o.commitMu.Unlock()
	o.drop(partitions)
}

func (o *ownership) drop(partitions []int32) map[int32]*tracker {
	o.mu.Lock()
	defer o.mu.Unlock()
	dropped := make(map[int32]*tracker, len(partitions))
	for _, p := range partitions {
		if t := o.trackers[p]; t != nil {
			close(t.gone)
			delete(o.trackers, p)
			dropped[p] = t
		}
	}
	return dropped
}

// commitTrackers wants commitMu held. The trackers function is called under mu.
func (o *ownership) commitTrackers(ctx context.Context, cl *kgo.Client, trackers func() map[int32]*tracker) error {
	o.mu.Lock()
	offsets := make(map[int32]kgo.EpochOffset)
	at := make(map[int32]*tracker)
	for p, t := range trackers() {
		if low := t.low(); low >= 0 && low != t.committed {
			offsets[p], at[p] = kgo.EpochOffset{Epoch: t.epoch, Offset: low}, t
		}
	}
	o.mu.Unlock()
	if len(offsets) == 0 {
		return nil
	}
	var errs []error
	cl.CommitOffsetsSync(ctx, map[string]map[int32]kgo.EpochOffset{o.topic: offsets},
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
			if err != nil {
				errs = append(errs, err)
				return
			}
			o.mu.Lock()
			defer o.mu.Unlock()
			for _, rt := range resp.Topics {
				for _, rp := range rt.Partitions {
					if err := kerr.ErrorForCode(rp.ErrorCode); err != nil {
						errs = append(errs, fmt.Errorf("partition %d: %w", rp.Partition, err))
					} else if t := at[rp.Partition]; t != nil {
						t.committed = offsets[rp.Partition].Offset
					}
				}
			}
		})
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("committing offsets of %s: %w", o.topic, err)
	}
	return nil
}

// isRebalanceError tells commit errors that every rebalance may bring, and that only mean another delivery.
func isRebalanceError(err error) bool {
	for _, e := range []error{kerr.RebalanceInProgress, kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.StaleMemberEpoch} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

package kafka

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// gatherTime is how long a leader that lost its partitions waits at most for the
// others, who lost theirs and find out with their next heartbeat.
const gatherTime = 2500 * time.Millisecond

// returning is the cooperative sticky balancer for a group that a coordinator
// forgot, as brokers do that die and keep no members. Left alone, the first member
// to come back gets everything, and makes the calls again that the others have in
// flight. So members ask for the partitions that they lost, and a leader that
// lost its own gives the others a moment to come back.
type returning struct {
	kgo.GroupBalancer
	session *session
	until   time.Time // when the wait for the others ends; this and since are of the client's group goroutine
	since   time.Time // the loss that it is for
}

func newReturning(s *session) *returning {
	return &returning{GroupBalancer: kgo.CooperativeStickyBalancer(), session: s}
}

// JoinGroupMetadata implements kgo.GroupBalancer. What was lost is only asked for,
// not claimed as owned: a cooperative group would wait for its owner to give it
// up.
func (b *returning) JoinGroupMetadata(topics []string, current map[string][]int32, generation int32) []byte {
	raw := b.GroupBalancer.JoinGroupMetadata(topics, current, generation)
	lost, last := b.session.lostPartitions()
	if len(current) > 0 || len(lost) == 0 {
		return raw
	}
	var meta kmsg.ConsumerMemberMetadata
	if err := meta.ReadFrom(raw); err != nil {
		return raw
	}
	wish := kmsg.NewStickyMemberMetadata()
	wish.Generation = last
	for topic, partitions := range lost {
		slices.Sort(partitions)
		t := kmsg.NewStickyMemberMetadataCurrentAssignment()
		t.Topic, t.Partitions = topic, partitions
		wish.CurrentAssignment = append(wish.CurrentAssignment, t)
	}
	slices.SortFunc(wish.CurrentAssignment, func(a, b kmsg.StickyMemberMetadataCurrentAssignment) int {
		if a.Topic < b.Topic {
			return -1
		}
		return 1
	})
	meta.UserData = wish.AppendTo(nil)
	meta.Generation = -1 // of a member with a generation only what it owns counts
	return meta.AppendTo(nil)
}

// MemberBalancer implements kgo.GroupBalancer; the leader alone calls it.
func (b *returning) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	inner, topics, err := b.GroupBalancer.MemberBalancer(members)
	if cb, ok := inner.(*kgo.ConsumerBalancer); ok && err == nil {
		return &gathering{ConsumerBalancer: cb, returning: b}, topics, nil
	}
	return inner, topics, err
}

// gathering waits for the others before it balances.
type gathering struct {
	*kgo.ConsumerBalancer

	returning *returning
}

// BalanceOrError implements kgo.GroupMemberBalancerOrError.
func (g *gathering) BalanceOrError(topics map[string]int32) (kgo.IntoSyncAssignment, error) {
	if !g.complete(topics) {
		g.returning.gather()
	}
	return g.ConsumerBalancer.BalanceOrError(topics)
}

// complete reports whether every partition is owned or asked for by some member:
// then all are back.
func (g *gathering) complete(topics map[string]int32) bool {
	seen := make(map[topicPartition]bool)
	g.EachMember(func(_ *kmsg.JoinGroupResponseMember, meta *kmsg.ConsumerMemberMetadata) {
		for _, t := range meta.OwnedPartitions {
			for _, p := range t.Partitions {
				seen[topicPartition{t.Topic, p}] = true
			}
		}
		var wish kmsg.StickyMemberMetadata
		if meta.Generation >= 0 || wish.ReadFrom(meta.UserData) != nil {
			return
		}
		for _, t := range wish.CurrentAssignment {
			for _, p := range t.Partitions {
				seen[topicPartition{t.Topic, p}] = true
			}
		}
	})
	total := 0
	for _, n := range topics {
		total += int(n)
	}
	return len(seen) >= total
}

// gather returns when another member has joined, which starts another round, or
// when the others had time enough. A leader that has lost nothing does not wait.
func (b *returning) gather() {
	lostAt := b.session.lastLoss()
	if lostAt.IsZero() {
		return
	}
	if b.since != lostAt {
		b.since, b.until = lostAt, time.Now().Add(gatherTime)
	}
	ctx, cancel := context.WithDeadline(context.Background(), b.until)
	defer cancel()
	admin := kadm.NewClient(b.session.consumer)
	group := b.session.engine.cfg.Group + "." + b.session.cfg.Name
	for {
		select {
		case <-time.After(gatherTime / 20):
		case <-ctx.Done():
			return
		case <-b.session.leaving:
			return
		}
		groups, err := admin.DescribeGroups(ctx, group)
		if err == nil && groups[group].State == "PreparingRebalance" {
			return
		}
	}
}

// lostPartitions returns what was lost and may come back, and the generation in
// which it was held.
func (s *session) lostPartitions() (map[string][]int32, int32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lost := make(map[string][]int32)
	for tp := range s.limbo {
		lost[tp.topic] = append(lost[tp.topic], tp.partition)
	}
	return lost, s.generation
}

// lastLoss returns when partitions were lost that may come back; zero if none.
func (s *session) lastLoss() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.limbo) == 0 {
		return time.Time{}
	}
	return s.lostAt
}

package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
)

// ErrForgotten means that a group had forgotten its member. Another one may have worked on its partitions meanwhile, so that
// what the member knows of them is old.
var ErrForgotten = errors.New("the group had forgotten this member, and another one may have had its partitions")

// WatchMembership returns balancer, which tells when a member's group has forgotten it. A coordinator that answers a join with
// UNKNOWN_MEMBER_ID has given the member's partitions away, or is about to. The client (franz-go 1.22) joins again as a new
// member and goes on with these partitions if it gets them back, without a word: neither OnPartitionsLost nor
// OnPartitionsAssigned names them, and a commit of what was known before is accepted.
//
// forgotten is called in between, before the new member can commit anything, by one goroutine at a time. member returns the
// client, or nil while it is not made yet.
func WatchMembership(balancer kgo.GroupBalancer, member func() *kgo.Client, forgotten func()) kgo.GroupBalancer {
	return &membership{balancer, member, forgotten}
}

type membership struct {
	kgo.GroupBalancer

	member    func() *kgo.Client
	forgotten func()
}

// JoinGroupMetadata implements kgo.GroupBalancer; the client calls it for every attempt to join.
func (m *membership) JoinGroupMetadata(topics []string, current map[string][]int32, generation int32) []byte {
	if cl := m.member(); cl != nil && len(current) > 0 {
		if id, _ := cl.GroupMetadata(); id == "" {
			m.forgotten()
		}
	}
	return m.GroupBalancer.JoinGroupMetadata(topics, current, generation)
}

// forgotten stops commits until it is known whether another member has had the partitions that this one goes on with.
func (s *session) forgotten() {
	s.suspect.Store(true)
	s.hold(true)
}

// assigned is called when the member has joined, whether it got something new or not.
func (s *session) assigned(ctx context.Context, _ *kgo.Client, _ map[string][]int32) {
	if !s.suspect.Load() {
		return
	}
	s.own.lock() // waits for the transaction in progress
	defer s.own.unlock()
	s.mu.Lock()
	kept := make([]*tracker, 0, len(s.trackers))
	for _, t := range s.trackers {
		kept = append(kept, t)
	}
	s.mu.Unlock()
	if err := s.verify(ctx, kept); err != nil {
		s.fail(err)
		return
	}
	s.log.Info("the group had forgotten this member; nobody else had its partitions")
	s.suspect.Store(false)
	s.hold(false)
	s.markDirty()
}

// verify compares what is known of partitions with what is committed. The member has joined, so nobody else can commit.
func (s *session) verify(ctx context.Context, kept []*tracker) error {
	if len(kept) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.engine.cfg.SessionTimeout)
	defer cancel()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		committed, err := s.committed(ctx, s.consumer, kept)
		if err == nil {
			for _, t := range kept {
				at := committed[topicPartition{t.topic, t.partition}]
				if !t.agrees(at.offset, at.metadata) {
					return fmt.Errorf("%s/%d: %w", t.topic, t.partition, ErrForgotten)
				}
			}
			return nil
		}
		s.log.Debug("asking again for committed offsets", zap.Error(err))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("asking whether another member had partitions: %w", err)
		}
	}
}

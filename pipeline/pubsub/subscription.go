package pubsub

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"
)

const (
	// fetchErrorPause keeps an error that stays, such as a missing permission, from filling the log.
	fetchErrorPause = time.Second
	// newPartitionsInterval is how often a subscription without a group that started at the end looks for added partitions.
	newPartitionsInterval = 30 * time.Second
)

// subscription is one call of Subscribe: a client, a goroutine that polls and delivers in order, and one goroutine for every
// message that is not acknowledged.
type subscription struct {
	cfg   SubscriberConfig
	topic string
	log   *zap.Logger
	out   chan *message.Message
	// slots holds one token for every message that is polled and not acknowledged. Polling asks for no more records than there
	// are free slots, and not at all while there is none: that is the bound on memory.
	slots chan struct{}
	owned *ownership // nil without a group
	// unsettled counts the goroutines of messages.
	unsettled sync.WaitGroup
}

// delivery is a polled record on its way through its messages.
type delivery struct {
	letter letter
	gone   <-chan struct{} // closed when the partition is revoked; nil without a group
	acked  func()
}

func newSubscription(cfg SubscriberConfig, topic string) *subscription {
	s := &subscription{
		cfg: cfg, topic: topic,
		log:   cfg.Log.With(zap.String("topic", topic), zap.String("group", cfg.Group)),
		out:   make(chan *message.Message),
		slots: make(chan struct{}, cfg.MaxInFlight),
	}
	if cfg.Group != "" {
		s.owned = newOwnership(topic)
	}
	return s
}

func (s *subscription) groupOptions() []kgo.Opt {
	opts := []kgo.Opt{
		kgo.ConsumerGroup(s.cfg.Group),
		kgo.DisableAutoCommit(),
		// Without it a revocation could run between a poll's return and the registration of its records.
		kgo.BlockRebalanceOnPoll(),
		kgo.HeartbeatInterval(s.cfg.HeartbeatInterval),
		kgo.SessionTimeout(s.cfg.SessionTimeout),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { s.owned.assign(m[s.topic]) }),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, m map[string][]int32) { s.owned.lose(m[s.topic]) }),
		kgo.OnPartitionsRevoked(func(ctx context.Context, cl *kgo.Client, m map[string][]int32) {
			ctx, cancel := context.WithTimeout(ctx, requestTimeout)
			defer cancel()
			s.logCommit(s.owned.revoke(ctx, cl, m[s.topic]))
		}),
	}
	if s.cfg.Instance != "" {
		opts = append(opts, kgo.InstanceID(s.cfg.Instance+"-"+s.topic))
	}
	return opts
}

// run owns the client and all goroutines of the subscription. It ends in the order in which data flows: polling, messages,
// the commit, the client, the channel.
func (s *subscription) run(ctx context.Context, cl *kgo.Client, closing <-chan struct{}) {
	defer close(s.out)
	defer cl.CloseAllowingRebalance()

	messages, endMessages := context.WithCancel(ctx)
	defer endMessages()
	polling, stopPolling := context.WithCancel(ctx)
	defer stopPolling()
	var helpers sync.WaitGroup
	helpers.Go(func() {
		defer stopPolling()
		select {
		case <-closing:
		case <-polling.Done():
		}
	})
	switch {
	case s.owned != nil:
		helpers.Go(func() { s.commitEvery(polling, cl, s.cfg.CommitInterval) })
	case s.cfg.StartOffset == StartAtEnd:
		helpers.Go(func() { s.addPartitionsEvery(polling, cl, newPartitionsInterval) })
	}

	s.poll(polling, messages, cl)
	helpers.Wait()
	s.settle(endMessages)
	if s.owned != nil {
		s.leave(context.WithoutCancel(ctx), cl)
	}
}

// settle waits for the messages that were delivered: for their acknowledgement, then for their goroutines.
func (s *subscription) settle(endMessages context.CancelFunc) {
	settled := make(chan struct{})
	go func() {
		s.unsettled.Wait()
		close(settled)
	}()
	t := time.NewTimer(s.cfg.CloseTimeout)
	defer t.Stop()
	select {
	case <-settled:
	case <-t.C:
	}
	endMessages()
	<-settled
}

// leave commits and leaves the group, each within requestTimeout. Closing the client would leave too, but would wait longer for
// a broker that is gone.
func (s *subscription) leave(ctx context.Context, cl *kgo.Client) {
	commitCtx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	s.logCommit(s.owned.commit(commitCtx, cl))
	leaveCtx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := cl.LeaveGroupContext(leaveCtx); err != nil {
		s.log.Warn("leaving the group did not work; the others notice after the session timeout", zap.Error(err))
	}
}

func (s *subscription) commitEvery(ctx context.Context, cl *kgo.Client, interval time.Duration) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		commitCtx, cancel := context.WithTimeout(ctx, requestTimeout)
		err := s.owned.commit(commitCtx, cl)
		cancel()
		if ctx.Err() == nil {
			s.logCommit(err)
		}
	}
}

// logCommit is the end of the line for commit errors: the next interval tries again, and at worst messages come twice.
func (s *subscription) logCommit(err error) {
	switch {
	case err == nil:
	case isRebalanceError(err):
		s.log.Debug("offsets not committed during a rebalance", zap.Error(err))
	default:
		s.log.Warn("offsets not committed; messages may be delivered again", zap.Error(err))
	}
}

// addPartitionsEvery starts added partitions at their beginning: all that they hold was published after Subscribe.
func (s *subscription) addPartitionsEvery(ctx context.Context, cl *kgo.Client, interval time.Duration) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		topics, err := kadm.NewClient(cl).ListTopics(ctx, s.topic)
		if err != nil {
			continue // polling meets the same trouble and reports it
		}
		add := make(map[int32]kgo.Offset)
		for p := range topics[s.topic].Partitions {
			add[p] = kgo.NewOffset().AtStart()
		}
		// Partitions that are being read are left where they are.
		cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{s.topic: add})
	}
}

// poll delivers until ctx ends. The context of messages outlives it by the time they have to be acknowledged.
func (s *subscription) poll(ctx, messages context.Context, cl *kgo.Client) {
	for {
		n := s.takeSlots(ctx)
		if n == 0 {
			return
		}
		fetches := cl.PollRecords(ctx, n)
		batch := s.register(fetches)
		cl.AllowRebalance() // from here on it is the trackers that know; delivering may take for ever
		s.freeSlots(n - len(batch))
		for i, d := range batch {
			if !s.deliver(ctx, messages, d) {
				s.freeSlots(len(batch) - i)
				return
			}
		}
		if s.reportErrors(ctx, fetches) {
			wait(ctx.Done(), nil, fetchErrorPause)
		}
	}
}

// takeSlots waits for a free slot and takes all that are free. It returns 0 when ctx ends.
func (s *subscription) takeSlots(ctx context.Context) (n int) {
	select {
	case s.slots <- struct{}{}:
		n = 1
	case <-ctx.Done():
		return 0
	}
	for {
		select {
		case s.slots <- struct{}{}:
			n++
		default:
			return n
		}
	}
}

func (s *subscription) freeSlots(n int) {
	for range n {
		<-s.slots
	}
}

func (s *subscription) register(fetches kgo.Fetches) []delivery {
	batch := make([]delivery, 0, fetches.NumRecords())
	fetches.EachRecord(func(r *kgo.Record) {
		d := delivery{acked: func() {}}
		if s.owned != nil {
			var ok bool
			if d.gone, d.acked, ok = s.owned.register(r); !ok {
				s.log.Error("a record of a partition that is not ours was polled and dropped; its owner delivers it",
					zap.Int32("partition", r.Partition), zap.Int64("offset", r.Offset))
				return
			}
		}
		d.letter = toLetter(r)
		batch = append(batch, d)
	})
	return batch
}

// reportErrors logs what went wrong in a poll and says whether anything did. The client goes on trying by itself.
func (s *subscription) reportErrors(ctx context.Context, fetches kgo.Fetches) (failed bool) {
	for _, e := range fetches.Errors() {
		if ctx.Err() != nil || errors.Is(e.Err, context.Canceled) {
			continue
		}
		failed = true
		s.log.Warn("reading failed", zap.Int32("partition", e.Partition), zap.Error(e.Err))
	}
	return failed
}

// deliver sends a record's first message, from the goroutine that polls so that order is kept, and hands the rest over. It
// returns false, with the record's slot still taken, when ctx ends first.
func (s *subscription) deliver(ctx, messages context.Context, d delivery) bool {
	m, end := d.letter.messageWithin(messages, 1)
	select {
	case s.out <- m:
		s.unsettled.Go(func() {
			defer s.freeSlots(1)
			s.follow(ctx, messages, d, m, end)
		})
		return true
	case <-d.gone:
		end()
		s.freeSlots(1)
		return true
	case <-ctx.Done():
		end()
		return false
	}
}

// follow waits for the message to be acknowledged, and delivers it again after every Nack.
func (s *subscription) follow(ctx, messages context.Context, d delivery, m *message.Message, end context.CancelFunc) {
	delay := s.cfg.NackDelay
	for n := 2; ; n++ {
		nacked := await(messages, d, m)
		end()
		if !nacked || !wait(ctx.Done(), d.gone, delay) {
			return
		}
		delay = min(2*delay, s.cfg.NackDelayMax)
		m, end = d.letter.messageWithin(messages, n)
		select {
		case s.out <- m:
		case <-d.gone:
			end()
			return
		case <-ctx.Done():
			end()
			return
		}
	}
}

// await returns true if the message got a Nack; false if it got an Ack, which it notes, or if it does not matter any more.
func await(messages context.Context, d delivery, m *message.Message) (nacked bool) {
	select {
	case <-m.Acked():
		d.acked()
	case <-m.Nacked():
		return true
	case <-d.gone:
	case <-messages.Done():
		// Both may have happened, and then select takes either.
		select {
		case <-m.Acked():
			d.acked()
		default:
		}
	}
	return false
}

// messageWithin makes a message whose context ends with ctx, or earlier with the returned function.
func (l letter) messageWithin(ctx context.Context, delivery int) (*message.Message, context.CancelFunc) {
	ctx, end := context.WithCancel(ctx)
	m := l.message(delivery)
	m.SetContext(ctx)
	return m, end
}

// wait returns true after d, and false when one of the channels is closed earlier.
func wait(stop, gone <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-stop:
	case <-gone:
	}
	return false
}

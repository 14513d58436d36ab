package office

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/cost/budget"
)

const (
	// transactionTimeout ends the transaction of an owner that is dead, if nobody
	// follows it.
	transactionTimeout = 15 * time.Second
	// startLimit bounds the taking over, reading the state included.
	startLimit = 2 * time.Minute
	// tick is how often what nobody settled is looked for.
	tick = 500 * time.Millisecond
	// maxTogether bounds the commands of one step.
	maxTogether = 2000
)

// serving is an owner at work.
type serving struct {
	*Office
	partition int32
	log       *zap.Logger
	client    *kgo.Client // producer with the partition's transactional id, and reader of its commands
	owner     *budget.Owner
	progress  progress
	clock     time.Time // time of the last step; steps do not go back
}

// newServing returns an owner that has not taken over yet. The caller closes its
// client.
func (o *Office) newServing(partition int32, log *zap.Logger) (*serving, error) {
	owner, err := budget.NewOwner(slices.Clone(o.cfg.Budgets))
	if err != nil {
		return nil, err
	}
	client, err := o.cfg.NewClient(
		kgo.TransactionalID(o.transactionalID(partition)), kgo.TransactionTimeout(transactionTimeout), kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.BasicConsistentPartitioner(func(string) func(*kgo.Record, int) int {
			return func(_ *kgo.Record, n int) int { return int(partition) % n }
		})),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(250*time.Millisecond),
	)
	if err != nil {
		return nil, err
	}
	return &serving{Office: o, partition: partition, log: log, client: client, owner: owner}, nil
}

// serve owns a partition until ctx is done or anything goes wrong.
func (o *Office) serve(ctx context.Context, partition int32, log *zap.Logger) error {
	s, err := o.newServing(partition, log)
	if err != nil {
		return err
	}
	defer s.client.Close()
	if err := s.takeOver(ctx); err != nil {
		return fmt.Errorf("taking over budgets: %w", err)
	}
	mine := s.show(nil)
	defer func() {
		for id := range mine {
			if c, ok := s.owner.Config(id); ok {
				o.metrics.forget(&c)
			}
		}
	}()
	for ctx.Err() == nil {
		records, err := s.read(ctx)
		if err != nil {
			return err
		}
		if mine, err = s.step(ctx, records, mine); err != nil {
			return err
		}
	}
	return nil
}

// takeOver ends what the owner before may be writing, reads the state, and goes to
// where the commands were read.
func (s *serving) takeOver(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	if _, _, err := s.client.ProducerID(ctx); err != nil {
		return fmt.Errorf("fencing the owner before: %w", err)
	}
	// A record of our own says where the state ends: no other can be behind it, and
	// offsets are no measure, for compaction takes records out.
	token := uuid.NewString()
	mark, err := json.Marshal(deed{Owner: s.cfg.Instance, Token: token, Since: time.Now().UTC()})
	if err != nil {
		return fmt.Errorf("writing who owns: %w", err)
	}
	if err := s.transact(ctx, []*kgo.Record{{Topic: s.cfg.Topics.State, Key: []byte(keyOwner), Value: mark}}); err != nil {
		return err
	}
	state := newTable()
	if err := s.restore(ctx, state, token); err != nil {
		return err
	}
	state.load(s.owner)
	s.progress = state.progress
	from := func(next int64) kgo.Offset {
		if next < 0 {
			return kgo.NewOffset().AtStart()
		}
		return kgo.NewOffset().At(next)
	}
	s.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{
		s.cfg.Topics.Reserve: {s.partition: from(s.progress.Reserve)},
		s.cfg.Topics.Settle:  {s.partition: from(s.progress.Settle)},
	})
	return nil
}

// restore reads the state up to the mark with the given token.
func (s *serving) restore(ctx context.Context, state *table, token string) error {
	reader, err := s.cfg.NewClient(
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{s.cfg.Topics.State: {s.partition: kgo.NewOffset().AtStart()}}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxWait(250*time.Millisecond),
	)
	if err != nil {
		return err
	}
	defer reader.Close()
	for state.owner.Token != token {
		fetches := reader.PollFetches(ctx)
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return fmt.Errorf("reading the state: %w", err)
		}
		for r := range fetches.RecordsAll() {
			if err := state.take(r.Key, r.Value); err != nil {
				return fmt.Errorf("offset %d: %w", r.Offset, err)
			}
		}
	}
	return nil
}

// read returns the next commands, or none when it is time to look at the clock.
func (s *serving) read(ctx context.Context) ([]*kgo.Record, error) {
	limited, cancel := context.WithTimeout(ctx, tick)
	defer cancel()
	fetches := s.client.PollRecords(limited, maxTogether)
	for _, e := range fetches.Errors() {
		if !errors.Is(e.Err, context.DeadlineExceeded) && !errors.Is(e.Err, context.Canceled) {
			return nil, fmt.Errorf("reading commands of %s: %w", e.Topic, e.Err)
		}
	}
	return fetches.Records(), nil
}

// step handles commands and keeps what came of them. What calls cost comes first,
// since it frees what was set aside.
func (s *serving) step(ctx context.Context, records []*kgo.Record, mine map[string]bool) (map[string]bool, error) {
	if now := time.Now().UTC(); now.After(s.clock) {
		s.clock = now
	}
	b := &batch{serving: s, touched: map[string]bool{}}
	for _, topic := range []string{s.cfg.Topics.Settle, s.cfg.Topics.Reserve} {
		for _, r := range records {
			if r.Topic == topic {
				b.handle(r)
			}
		}
	}
	for _, change := range s.owner.Expire(s.clock) {
		b.keep(&change, "")
	}
	if len(b.records) == 0 && len(records) == 0 {
		return mine, nil
	}
	if err := b.close(); err != nil {
		return mine, err
	}
	// The stop must not cut a commit off: its outcome would be unknown.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), transactionTimeout)
	defer cancel()
	if err := s.transact(ctx, b.records); err != nil {
		return mine, err
	}
	b.warn()
	return s.show(mine), nil
}

// transact writes all records, or none.
func (s *serving) transact(ctx context.Context, records []*kgo.Record) error {
	if err := s.client.BeginTransaction(); err != nil {
		return fmt.Errorf("beginning to keep changes of budgets: %w", err)
	}
	if err := s.client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return fmt.Errorf("keeping changes of budgets: %w", errors.Join(err, s.abort(ctx)))
	}
	if err := s.client.EndTransaction(ctx, kgo.TryCommit); err != nil {
		return fmt.Errorf("ending the keeping of changes of budgets: %w", err)
	}
	return nil
}

// abort is a courtesy: the next owner's epoch ends the transaction anyway.
func (s *serving) abort(ctx context.Context) error {
	if err := s.client.AbortBufferedRecords(ctx); err != nil {
		return err
	}
	return s.client.EndTransaction(ctx, kgo.TryAbort)
}

// show sets the metrics of all budgets that have a state here, and returns them.
func (s *serving) show(mine map[string]bool) map[string]bool {
	if mine == nil {
		mine = map[string]bool{}
	}
	for i := range s.cfg.Budgets {
		c := &s.cfg.Budgets[i]
		if state, ok := s.owner.Summary(c.ID); ok && state.Seq > 0 {
			mine[c.ID] = true
			s.metrics.set(c, state.Spent, state.Reserved)
		}
	}
	return mine
}

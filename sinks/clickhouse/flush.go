package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline/kafka"
)

// batch is what is due of one partition. Without a block there is nothing to
// insert and only the offset to move: all its records were unreadable.
type batch struct {
	p     *partition
	plan  plan
	block *block
	done  bool // inserted
}

// maxInserts is how many batches are on their way at once.
const maxInserts = 4

// flush announces the batches, inserts them and commits the offsets behind them.
// It runs next to the reader and touches nothing of a partition that the reader
// uses but pending, which is looked at only between flushes.
func (r *Recorder) flush(ctx context.Context, due []batch) error {
	if err := r.announce(ctx, due); err != nil {
		return err
	}
	errs := make([]error, len(due))
	slots := make(chan struct{}, maxInserts)
	var inserts sync.WaitGroup
	for i := range due {
		b := &due[i]
		slots <- struct{}{}
		inserts.Go(func() {
			defer func() { <-slots }()
			if r.gone(b.p) { // perhaps before it was announced: then the next owner knows nothing of this batch
				return
			}
			b.done, errs[i] = r.insert(ctx, b)
		})
	}
	inserts.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return r.commit(ctx, slices.Clone(due), func(b batch) (int64, string) { return b.plan.last + 1, "" })
}

// settle takes what a flush inserted out of the partitions. A batch that was
// announced and not inserted stays pending: it must be inserted as announced.
func (r *Recorder) settle(due []batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range due {
		b := &due[i]
		if !b.done {
			continue
		}
		b.p.committed, b.p.pending = b.plan.last+1, nil
		b.p.busy = b.p.next > b.p.committed
		if b.block != nil {
			b.p.blocks = b.p.blocks[1:]
			b.p.table.free(b.block)
		}
	}
	r.tally()
}

func (r *Recorder) gone(p *partition) bool {
	r.own.RLock()
	defer r.own.RUnlock()
	return p.lost
}

// due returns the batches to flush now: full ones, old ones, announced ones; all
// of them when everything is set.
func (r *Recorder) due(everything bool) []batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []batch
	now := time.Now()
	r.tally()
	full := r.full()
	for _, p := range r.parts {
		if b, ok := p.batch(now); ok && (everything || full || p.pending != nil || p.ripe(now, r.cfg)) {
			if b.block != nil {
				b.block.sealed = true
			}
			out = append(out, b)
		}
	}
	return out
}

// batch returns the oldest batch of the partition, if there is one.
func (p *partition) batch(now time.Time) (batch, bool) {
	b := batch{p: p}
	if len(p.blocks) > 0 {
		b.block = p.blocks[0]
	}
	switch {
	case p.pending != nil:
		b.plan = *p.pending
		if b.block != nil && b.block.first > p.pending.last {
			b.block = nil
		}
		// Complete once a later offset was read, or the rows reach its end.
		return b, p.next > p.pending.last
	case p.next <= p.committed:
		return b, false
	}
	b.plan = plan{p.committed, p.next - 1, now.UnixMicro()}
	if b.block != nil {
		b.plan.last = b.block.last
	}
	if b.plan.first < 0 {
		b.plan.first = b.plan.last
		if b.block != nil {
			b.plan.first = b.block.first
		}
	}
	return b, true
}

// ripe reports whether the oldest batch is full or old.
func (p *partition) ripe(now time.Time, cfg RecorderConfig) bool {
	if len(p.blocks) == 0 {
		return now.Sub(p.since) >= cfg.MaxWait
	}
	b := p.blocks[0]
	return b.sealed || b.full(cfg.MaxRows) || now.Sub(b.since) >= cfg.MaxWait
}

// announce commits the plans with the old offsets, in one request.
func (r *Recorder) announce(ctx context.Context, due []batch) error {
	var fresh []batch
	for _, b := range due {
		if b.p.pending == nil && b.block != nil {
			fresh = append(fresh, b)
		}
	}
	if err := r.commit(ctx, fresh, func(b batch) (int64, string) { return b.plan.first, b.plan.String() }); err != nil {
		return err
	}
	for _, b := range fresh {
		b.p.pending = &b.plan
	}
	return nil
}

// commit commits what of says for each batch that is still owned, and tries again
// until it holds or ctx is done.
func (r *Recorder) commit(ctx context.Context, batches []batch, of func(batch) (int64, string)) error {
	if len(batches) == 0 {
		return nil
	}
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := r.tryCommit(ctx, batches, of)
		if err == nil {
			return nil
		}
		if errors.Is(err, kerr.FencedInstanceID) {
			return fmt.Errorf("another recorder runs as %q: %w", r.cfg.Instance, err)
		}
		if errors.Is(err, kafka.ErrForgotten) {
			return err
		}
		r.cfg.Log.Debug("committing offsets again", zap.Error(err))
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("committing offsets: %w", errors.Join(err, ctx.Err()))
		}
	}
}

func (r *Recorder) tryCommit(ctx context.Context, batches []batch, of func(batch) (int64, string)) error {
	r.own.RLock()
	defer r.own.RUnlock()
	member, generation := r.client.GroupMetadata()
	if r.forgotten.Load() { // looked at after the metadata, which may be those of a new member
		return kafka.ErrForgotten
	}
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.MemberID, req.Generation, req.InstanceID = r.cfg.Group, member, generation, &r.cfg.Instance
	at := map[string]int{}
	for _, b := range batches {
		if b.p.lost {
			continue
		}
		i, ok := at[b.p.topic]
		if !ok {
			rt := kmsg.NewOffsetCommitRequestTopic()
			rt.Topic, rt.TopicID = b.p.topic, b.p.topicID
			i = len(req.Topics)
			at[b.p.topic] = i
			req.Topics = append(req.Topics, rt)
		}
		rp := kmsg.NewOffsetCommitRequestTopicPartition()
		offset, metadata := of(b)
		rp.Partition, rp.Offset, rp.Metadata = b.p.partition, offset, &metadata
		req.Topics[i].Partitions = append(req.Topics[i].Partitions, rp)
	}
	if len(req.Topics) == 0 {
		return nil
	}
	resp, err := req.RequestWith(ctx, r.client)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("%s/%d: %w", t.Topic, p.Partition, err)
			}
		}
	}
	return nil
}

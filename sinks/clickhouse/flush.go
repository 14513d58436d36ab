package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
)

// batch is what is due of one partition. Without rows there is nothing to insert
// and only the offset to move: all its records were unreadable.
type batch struct {
	p    *partition
	plan plan
	rows []row
	done bool // inserted
}

// flush announces the batches, inserts them and commits the offsets behind them.
// It runs next to the reader and touches nothing of a partition that the reader
// uses but pending, which the reader looks at only between flushes.
func (r *Recorder) flush(ctx context.Context, due []batch) error {
	if err := r.announce(ctx, due); err != nil {
		return err
	}
	for i := range due {
		b := &due[i]
		if r.gone(b.p) { // perhaps before it was announced: then the next owner knows nothing of this batch
			continue
		}
		done, err := r.insert(ctx, b)
		if err != nil {
			return err
		}
		b.done = done
	}
	return r.commit(ctx, slices.Clone(due), func(b batch) (int64, string) { return b.plan.last + 1, "" })
}

// settle takes what a flush inserted out of the partitions. A batch that was
// announced and not inserted stays pending: it must be inserted as announced.
func (r *Recorder) settle(due []batch) {
	for i := range due {
		b := &due[i]
		if !b.done {
			continue
		}
		b.p.rows = b.p.rows[len(b.rows):]
		b.p.committed, b.p.pending = b.plan.last+1, nil
		r.buffered -= len(b.rows)
		clear(b.rows)
		if len(b.p.rows) == 0 {
			b.p.rows = nil
		}
	}
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
	full := r.buffered >= r.cfg.MaxBuffer
	r.buffered = 0 // counted anew: rows of lost partitions leave here
	for _, p := range r.parts {
		r.buffered += len(p.rows)
		switch {
		case p.pending != nil:
			// Complete once a later offset was read, or the rows reach its end.
			if p.next > p.pending.last {
				n, _ := slices.BinarySearchFunc(p.rows, p.pending.last+1, func(x row, o int64) int { return int(x.offset - o) })
				out = append(out, batch{p: p, plan: *p.pending, rows: p.rows[:n]})
			}
		case p.next <= p.committed:
		case everything || full || len(p.rows) >= r.cfg.MaxRows || now.Sub(p.since) >= r.cfg.MaxWait:
			rows := p.rows[:min(len(p.rows), r.cfg.MaxRows)]
			last := p.next - 1
			if len(rows) > 0 {
				last = rows[len(rows)-1].offset
			}
			first := p.committed
			if first < 0 {
				first = last
				if len(rows) > 0 {
					first = rows[0].offset
				}
			}
			out = append(out, batch{p: p, plan: plan{first, last, now.UnixMicro()}, rows: rows})
		}
	}
	return out
}

// announce commits the plans with the old offsets, in one request.
func (r *Recorder) announce(ctx context.Context, due []batch) error {
	var fresh []batch
	for _, b := range due {
		if b.p.pending == nil && len(b.rows) > 0 {
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

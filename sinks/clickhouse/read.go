package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/schemas"
)

// read polls once, for no longer than poll lasts, and turns records into rows. Its
// error ends the recorder.
func (r *Recorder) read(ctx, poll context.Context) error {
	limit, cancel := context.WithTimeout(poll, min(r.cfg.MaxWait/2, 250*time.Millisecond))
	defer cancel()
	fetches := r.client.PollRecords(limit, min(10_000, max(1, r.cfg.MaxBuffer-r.buffered)))
	defer r.client.AllowRebalance()
	var fatal error
	fetches.EachError(func(topic string, n int32, err error) {
		switch {
		case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		case errors.Is(err, kerr.FencedInstanceID):
			fatal = fmt.Errorf("another recorder runs as %q: %w", r.cfg.Instance, err)
		default:
			r.cfg.Log.Warn("reading events", zap.String("topic", topic), zap.Int32("partition", n), zap.Error(err))
		}
	})
	work := r.ours(fetches)
	r.addAll(ctx, work)
	r.note(work)
	return fatal
}

// note takes down what is held, and which partitions have nothing left to insert.
func (r *Recorder) note(work []fetched) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range work {
		w.p.busy = w.p.next > w.p.committed
	}
	r.tally()
}

// tally counts what is held, without what lost partitions held. r.mu is held.
func (r *Recorder) tally() {
	r.buffered, r.bytes = 0, 0
	for _, p := range r.parts {
		for _, b := range p.blocks {
			r.buffered += b.n
			r.bytes += b.size()
		}
	}
	r.held.Store(int64(r.buffered))
}

// full reports whether as much is held as may be.
func (r *Recorder) full() bool { return r.buffered >= r.cfg.MaxBuffer || r.bytes >= maxHeld }

// fetched is what came of one partition.
type fetched struct {
	p       *partition
	records []*kgo.Record
}

// ours sorts what came by the partitions that are ours.
func (r *Recorder) ours(fetches kgo.Fetches) []fetched {
	var work []fetched
	at := map[*partition]int{} // in work: two brokers may answer for a partition that moves
	for _, f := range fetches {
		for i := range f.Topics {
			for _, fp := range f.Topics[i].Partitions {
				p := r.use(topicPartition{f.Topics[i].Topic, fp.Partition}, f.Topics[i].TopicID, len(fp.Records))
				if p == nil {
					continue
				}
				if i, ok := at[p]; ok {
					work[i].records = slices.Concat(work[i].records, fp.Records)
					continue
				}
				at[p] = len(work)
				work = append(work, fetched{p, fp.Records})
			}
		}
	}
	return work
}

// use returns the partition that records came of, or nil if it is not ours.
func (r *Recorder) use(tp topicPartition, id [16]byte, records int) *partition {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.parts[tp]
	if p == nil {
		return nil
	}
	if p.topicID == ([16]byte{}) && id != p.topicID {
		p.topicID = id
	}
	if records > 0 {
		p.used, p.busy = true, true
	}
	return p
}

// addAll takes records in, the partitions side by side on all processors.
func (r *Recorder) addAll(ctx context.Context, work []fetched) {
	var next atomic.Int64
	take := func() {
		for i := next.Add(1) - 1; i < int64(len(work)); i = next.Add(1) - 1 {
			for _, rec := range work[i].records {
				r.add(ctx, work[i].p, rec)
			}
		}
	}
	var others sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(work)) - 1 {
		others.Go(take)
	}
	take()
	others.Wait()
}

// add takes in one record. A record that no table can take goes to the
// dead-letter topic, and its offset counts as read. A record that can be neither
// read nor buried before ctx ends holds its partition up: it is read again after
// the next start.
func (r *Recorder) add(ctx context.Context, p *partition, rec *kgo.Record) {
	if p.stuck || rec.Offset < p.next {
		return
	}
	b := p.blockFor(rec.Offset, r.cfg.MaxRows)
	err := b.add(ctx, rec)
	for wait := 100 * time.Millisecond; err != nil && !errors.Is(err, errUnreadable); wait = min(2*wait, 5*time.Second) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			p.stuck = true
			return
		}
		err = b.add(ctx, rec)
	}
	if err != nil {
		if p.stuck = !r.bury(ctx, rec); p.stuck {
			return
		}
	}
	if err == nil && r.cfg.Tracer != nil {
		b.trace(r.cfg.Tracer, rec)
	}
	if len(p.blocks) == 0 && p.next <= p.committed {
		p.since = time.Now()
	}
	p.next = rec.Offset + 1
	p.keep(b)
}

// trace notes which trace a record is a part of.
func (b *block) trace(t Tracer, rec *kgo.Record) {
	if len(b.traces) == maxTraces {
		return
	}
	for i := range rec.Headers {
		if h := &rec.Headers[i]; h.Key == schemas.HeaderTraceparent {
			if t.Sampled(h.Value) {
				b.traces = append(b.traces, string(h.Value))
			}
			return
		}
	}
}

// blockFor returns the block that the row of an offset goes to, the newest one or
// one that is new and not kept yet. A batch that was announced before must be cut
// where it was cut then, whatever it holds.
func (p *partition) blockFor(offset int64, maxRows int) *block {
	if len(p.blocks) > 0 {
		b := p.blocks[len(p.blocks)-1]
		full := b.full(maxRows)
		if b.first <= p.cut {
			full = offset > p.cut
		}
		if !b.sealed && !full {
			return b
		}
	}
	return p.table.block()
}

// keep takes a block of blockFor in, if anything was added to it.
func (p *partition) keep(b *block) {
	switch n := len(p.blocks); {
	case b.n == 0:
		p.table.free(b)
	case n == 0:
		p.blocks = append(p.blocks, b)
	case p.blocks[n-1] != b:
		p.blocks[n-1].sealed = true
		p.blocks = append(p.blocks, b)
	}
}

// bury puts an unreadable event on the dead-letter topic and reports whether it
// is there. An unreadable dead letter stays where it is.
func (r *Recorder) bury(ctx context.Context, rec *kgo.Record) bool {
	if rec.Topic != r.cfg.Topics.Dead && r.cfg.Topics.Dead != "" {
		if err := r.client.ProduceSync(ctx, letter(r.cfg.Topics.Dead, rec)).FirstErr(); err != nil {
			r.cfg.Log.Warn("unreadable event was not buried", zap.String("topic", rec.Topic), zap.Int64("offset", rec.Offset), zap.Error(err))
			return false
		}
	}
	r.unread.WithLabelValues(rec.Topic).Inc()
	return true
}

// maxLetter bounds what a dead letter keeps of its record. The broker refuses what
// is too large for a batch, and a letter that it refuses would hold up its
// partition for good.
const maxLetter = 768 << 10

// letter is an unreadable event with the reason in headers. Of one that is too
// large it says only where it is.
func letter(topic string, rec *kgo.Record) *kgo.Record {
	size := len(rec.Key) + len(rec.Value)
	for _, h := range rec.Headers {
		size += len(h.Key) + len(h.Value)
	}
	dead := &kgo.Record{Topic: topic}
	if size <= maxLetter {
		dead.Key, dead.Value, dead.Headers = rec.Key, rec.Value, slices.Clone(rec.Headers)
	} else {
		omitted := fmt.Appendf(nil, "key, value, %d headers", len(rec.Headers))
		dead.Headers = []kgo.RecordHeader{{Key: schemas.HeaderDeadOmitted, Value: omitted}}
	}
	dead.Headers = append(dead.Headers,
		kgo.RecordHeader{Key: schemas.HeaderDeadReason, Value: []byte(schemas.DeadUndecodable)},
		kgo.RecordHeader{Key: schemas.HeaderDeadDetail, Value: []byte("event that no table can take")},
		kgo.RecordHeader{Key: schemas.HeaderDeadOrigin, Value: fmt.Appendf(nil, "%s/%d/%d", rec.Topic, rec.Partition, rec.Offset)},
	)
	return dead
}

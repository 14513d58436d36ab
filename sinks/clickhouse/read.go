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
	for _, f := range fetches {
		for i := range f.Topics {
			for _, fp := range f.Topics[i].Partitions {
				r.mu.Lock()
				p := r.parts[topicPartition{f.Topics[i].Topic, fp.Partition}]
				r.mu.Unlock()
				if p == nil {
					continue
				}
				if id := f.Topics[i].TopicID; p.topicID == ([16]byte{}) && id != p.topicID {
					p.topicID = id
				}
				for i, d := range decodeAll(ctx, p.table, fp.Records) {
					r.add(ctx, p, fp.Records[i], d)
				}
			}
		}
	}
	return fatal
}

// decoded is a record's row, or why it has none.
type decoded struct {
	values []any
	err    error
}

// decodeChunk is how many records a goroutine decodes at a time.
const decodeChunk = 500

// decodeAll decodes records on all processors.
func decodeAll(ctx context.Context, t *table, records []*kgo.Record) []decoded {
	out := make([]decoded, len(records))
	var workers sync.WaitGroup
	var next atomic.Int64
	work := func() {
		for {
			from := int(next.Add(decodeChunk)) - decodeChunk
			if from >= len(records) {
				return
			}
			for i := from; i < min(from+decodeChunk, len(records)); i++ {
				out[i].values, out[i].err = t.read(ctx, records[i])
			}
		}
	}
	for range min(runtime.GOMAXPROCS(0), len(records)/decodeChunk) {
		workers.Go(work)
	}
	work()
	workers.Wait()
	return out
}

// add takes in one record. A record that no table can take goes to the
// dead-letter topic, and its offset counts as read. A record that can be neither
// read nor buried before ctx ends holds its partition up: it is read again after
// the next start.
func (r *Recorder) add(ctx context.Context, p *partition, rec *kgo.Record, d decoded) {
	if p.stuck || rec.Offset < p.next {
		return
	}
	values, err := d.values, d.err
	for wait := 100 * time.Millisecond; err != nil && !errors.Is(err, errUnreadable); wait = min(2*wait, 5*time.Second) {
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			p.stuck = true
			return
		}
		values, err = p.table.read(ctx, rec)
	}
	if err != nil {
		if p.stuck = !r.bury(ctx, rec); p.stuck {
			return
		}
	}
	if len(p.rows) == 0 && p.next <= p.committed {
		p.since = time.Now()
	}
	p.next = rec.Offset + 1
	if err != nil {
		return
	}
	p.rows = append(p.rows, row{rec.Offset, values})
	r.buffered++
}

// bury puts an unreadable event on the dead-letter topic and reports whether it
// is there. An unreadable dead letter stays where it is.
func (r *Recorder) bury(ctx context.Context, rec *kgo.Record) bool {
	if rec.Topic != r.cfg.Topics.Dead && r.cfg.Topics.Dead != "" {
		dead := &kgo.Record{Topic: r.cfg.Topics.Dead, Key: rec.Key, Value: rec.Value, Headers: append(slices.Clone(rec.Headers),
			kgo.RecordHeader{Key: schemas.HeaderDeadReason, Value: []byte(schemas.DeadUndecodable)},
			kgo.RecordHeader{Key: schemas.HeaderDeadDetail, Value: []byte("event that no table can take")},
			kgo.RecordHeader{Key: schemas.HeaderDeadOrigin, Value: fmt.Appendf(nil, "%s/%d/%d", rec.Topic, rec.Partition, rec.Offset)},
		)}
		if err := r.client.ProduceSync(ctx, dead).FirstErr(); err != nil {
			r.cfg.Log.Warn("unreadable event was not buried", zap.String("topic", rec.Topic), zap.Int64("offset", rec.Offset), zap.Error(err))
			return false
		}
	}
	r.unread.WithLabelValues(rec.Topic).Inc()
	return true
}

package kafka

import (
	"strconv"
	"time"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// retryRecord is the request record of the next round. It is written in the
// transaction that marks this round's record as done, so the request is neither
// lost nor doubled.
func (e *Engine) retryRecord(it *item, out pipeline.Settlement) pipeline.Record {
	next := nextRound(&it.rec, it.session.cfg, out)
	if out.Collect == "" {
		next.Topic = e.cfg.RetryTopic(out.Retry)
		return next
	}
	// All of a key are collected in one place; the request's own key comes back later.
	next.Topic = e.cfg.CollectTopic
	next.Headers = append(next.Headers, pipeline.Header{Key: schemas.HeaderKey, Value: next.Key})
	next.Key = []byte(out.Collect)
	return next
}

// moved is the request record of the next round for a request of a batch.
func (e *Engine) moved(m pipeline.Move) pipeline.Record {
	r := record{key: m.Record.Key, value: m.Record.Value, headers: m.Record.Headers}
	next := nextRound(&r, &LaneConfig{Retry: true}, pipeline.Settlement{Retry: m.Wait, RetryHeaders: m.Headers})
	next.Topic = e.cfg.RetryTopic(m.Wait)
	return next
}

// nextRound is a record of a lane once more, with what the next round is to know.
func nextRound(r *record, from *LaneConfig, out pipeline.Settlement) pipeline.Record {
	round := int64(0)
	origin, lane, created := r.place(), from.Name, r.timestamp.UnixMilli()
	if from.Retry {
		round = r.number(schemas.HeaderAttempt)
		origin, lane, created = r.header(schemas.HeaderOrigin), r.header(schemas.HeaderLane), r.number(headerCreated)
	}
	set := []pipeline.Header{
		{Key: schemas.HeaderOrigin, Value: []byte(origin)},
		{Key: schemas.HeaderLane, Value: []byte(lane)},
		{Key: schemas.HeaderAttempt, Value: strconv.AppendInt(nil, round+1, 10)},
		{Key: schemas.HeaderNotBefore, Value: strconv.AppendInt(nil, time.Now().Add(out.Retry).UnixMilli(), 10)},
		{Key: headerCreated, Value: strconv.AppendInt(nil, created, 10)},
	}
	set = append(set, out.RetryHeaders...)
	headers := make([]pipeline.Header, 0, len(r.headers)+len(set))
	total := 0
	for _, h := range r.headers {
		size := len(h.Key) + len(h.Value) + headerOverhead
		if !hasHeader(set, h.Key) && size <= maxRetryHeader && total+size <= maxRetryHeaders {
			headers = append(headers, h)
			total += size
		}
	}
	next := pipeline.Record{Key: r.key, Value: r.value, Headers: append(headers, set...)}
	if len(next.Key) > maxRetryKey {
		next.Key = nil
	}
	if hasHeader(next.Headers, schemas.HeaderDataRef) { // nobody reads a value beside it
		next.Value = nil
	}
	return next
}

// Bounds of what travels to the next round with the value, bytes. A record that the
// broker refuses would hold up its whole lane.
const (
	maxRetryKey     = 64 << 10
	maxRetryHeader  = 4 << 10
	maxRetryHeaders = 64 << 10
	headerOverhead  = 8
)

func hasHeader(headers []pipeline.Header, key string) bool {
	for i := range headers {
		if headers[i].Key == key {
			return true
		}
	}
	return false
}

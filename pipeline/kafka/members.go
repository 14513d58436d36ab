package kafka

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// appendMember appends a request record to the requests of a batch: time of the
// record, key, value and headers, with lengths as the journal writes them.
func appendMember(dst []byte, r *record) []byte {
	dst = binary.AppendVarint(dst, r.timestamp.UnixMilli())
	dst = appendBytes(dst, r.key)
	dst = appendBytes(dst, r.value)
	dst = binary.AppendUvarint(dst, uint64(len(r.headers)))
	for _, h := range r.headers {
		dst = appendBytes(dst, []byte(h.Key))
		dst = appendBytes(dst, h.Value)
	}
	return dst
}

// keepLooking is for how long the requests of a batch are looked for, from when the
// first of them came.
const keepLooking = 48 * time.Hour

var errMembers = errors.New("not the requests of a batch")

// parseMembers reads what appendMember wrote, one after the other.
func parseMembers(b []byte) ([]record, error) {
	var out []record
	d := decoder{b: b}
	for len(d.b) > 0 && !d.bad {
		r := record{timestamp: time.UnixMilli(d.varint())}
		r.key, r.value = d.bytes(), d.bytes()
		for range d.count() {
			r.headers = append(r.headers, pipeline.Header{Key: string(d.bytes()), Value: d.bytes()})
		}
		out = append(out, r)
	}
	if d.bad || len(out) == 0 {
		return nil, errMembers
	}
	return out, nil
}

// openBatch makes the job that stands for the requests of a batch. Requests that
// have their outcome already are left out.
func (r *record) openBatch(ctx context.Context, cfg *EngineConfig, ref string, lane *LaneConfig, started time.Time) (*pipeline.Job, error) {
	job := r.job(lane, started)
	job.Request = &schemas.Request{ID: "batch " + ref}
	job.Outgoing = job.Request
	members, err := r.members(ctx, cfg, ref)
	if err != nil && time.Since(job.Created) < keepLooking {
		// A worker that sees another folder may have them: better late than lost.
		return nil, fmt.Errorf("%w: reading the requests of a batch: %w", ErrNotNow, err)
	}
	if err != nil {
		job.Deadline = r.timestamp.Add(lane.MaxAge)
		job.Failure = schemas.Fail(schemas.Internal, "the requests of a batch are not to be found any more", err)
		job.Dead = &pipeline.Dead{Reason: schemas.DeadUndecodable, Detail: "the payload with the requests of the batch is gone"}
		return job, nil
	}
	r.history(job)
	settled := func(int) bool { return false }
	if job.Pending != nil {
		bits := job.Pending.Settled
		settled = func(i int) bool { return i/8 < len(bits) && bits[i/8]>>(i%8)&1 == 1 }
	}
	job.Members = make([]*pipeline.Job, len(members))
	for i := range members {
		if settled(i) {
			continue
		}
		m, err := members[i].open(ctx, cfg, lane, started)
		if err != nil {
			return nil, err
		}
		job.Members[i] = m
		if m.Deadline.After(job.Deadline) {
			job.Deadline = m.Deadline
		}
	}
	return job, nil
}

func (r *record) members(ctx context.Context, cfg *EngineConfig, ref string) ([]record, error) {
	if cfg.Fetch == nil {
		return nil, errNoPayload
	}
	b, err := cfg.Fetch(ctx, ref)
	if err != nil {
		return nil, err
	}
	return parseMembers(b)
}

// poisonedBatch is the job of a batch that the gateway broke on again and again: its
// requests are answered, and kept for people.
func poisonedBatch(job *pipeline.Job) {
	job.Failure = schemas.Fail(schemas.Internal, "the gateway could not handle the batch of the request", nil)
	for _, m := range job.Members {
		if m != nil {
			m.Failure = job.Failure
			m.Dead = &pipeline.Dead{Reason: schemas.DeadPoison, Detail: "handling its batch failed in the gateway itself"}
		}
	}
}

// batchRecord is the record that stands for a batch in the retry topics.
func batchRecord(topic string, key []byte, ref string, members []record) (pipeline.Record, error) {
	value, err := json.Marshal(map[string]any{"batch": string(key), "requests": len(members)})
	if err != nil {
		return pipeline.Record{}, err
	}
	first := &members[0]
	return pipeline.Record{Topic: topic, Key: key, Value: value, Headers: []pipeline.Header{
		{Key: schemas.HeaderMembers, Value: []byte(ref)},
		{Key: schemas.HeaderLane, Value: []byte(first.header(schemas.HeaderLane))},
		{Key: schemas.HeaderOrigin, Value: []byte(first.header(schemas.HeaderOrigin))},
		{Key: headerCreated, Value: []byte(first.header(headerCreated))},
	}}, nil
}

// Package kafka writes down what became of a job: as the records of one Kafka
// transaction (result, cost, attempts, audit, dead letter), and as the chunks of
// a stream outside of it.
package kafka

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// Topics are the names of what the deliverer writes to.
type Topics struct {
	Results, Costs, Attempts, Audit, Dead, Chunks string
}

// Tier is a retry topic: requests wait there about as long as Delay says.
type Tier struct {
	Delay time.Duration
	Topic string
}

// TierTopic returns the topic of the first tier that is at least as long as
// delay, else of the longest one. Tiers are in order of delay.
func TierTopic(tiers []Tier, delay time.Duration) string {
	for _, t := range tiers {
		if t.Delay >= delay {
			return t.Topic
		}
	}
	return tiers[len(tiers)-1].Topic
}

// Store keeps payloads that are too large for a record.
type Store interface {
	Put(ctx context.Context, b []byte) (ref string, err error)
}

// Deliverer implements pipeline.Deliverer. Its fields are set before use; it is
// safe for concurrent use.
type Deliverer struct {
	Codecs *avro.Codecs
	Topics Topics
	// ReplyTopics are the topics that a request may name in reply_to.
	ReplyTopics []string
	// Tiers are the retry topics, shortest first. A request goes through at most
	// one round for each. None: no later rounds.
	Tiers []Tier
	// Ordered are the lanes whose requests of one key must not pass each other;
	// they have no later rounds.
	Ordered []string
	// Blobs keeps results above schemas.ClaimCheckBytes.
	Blobs         Store
	Worker        string
	ConfigVersion string

	rooms sync.Pool // of *[]byte, to write JSON into
}

// Admit is a stage that refuses requests whose reply_to is not allowed, before
// anything is spent on them.
func (d *Deliverer) Admit(_ context.Context, job *pipeline.Job) error {
	if t := job.Request.ReplyTo; t != "" && !d.allowed(t) {
		return &schemas.Failure{Code: schemas.InvalidRequest, Param: "reply_to", Message: "reply_to is not among the topics that the configuration allows"}
	}
	return nil
}

func (d *Deliverer) allowed(topic string) bool {
	return topic == d.Topics.Results || slices.Contains(d.ReplyTopics, topic)
}

// Outputs implements pipeline.Deliverer: attempts of this round always; then
// either another round, or result, cost and audit, a dead letter where people
// should look, and what settle steps added.
func (d *Deliverer) Outputs(ctx context.Context, job *pipeline.Job) (pipeline.Settlement, error) {
	if len(job.Members) > 0 {
		return d.batch(ctx, job)
	}
	out := make([]pipeline.Record, 0, 4)
	for i := range job.Attempts {
		if job.Attempts[i].Round != job.Origin.Round {
			continue
		}
		r, err := d.attempt(job, &job.Attempts[i])
		if err != nil {
			return pipeline.Settlement{}, err
		}
		out = append(out, r)
	}
	if job.Parked > 0 || job.Collect != "" {
		headers, err := d.roundHeaders(ctx, job)
		return pipeline.Settlement{Outputs: out, Retry: job.Parked, RetryHeaders: headers, Collect: job.Collect}, err
	}
	if wait := d.nextRound(job); wait > 0 {
		headers, err := d.roundHeaders(ctx, job)
		return pipeline.Settlement{Outputs: out, Retry: wait, RetryHeaders: headers}, err
	}
	result, err := d.result(ctx, job)
	if err != nil {
		return pipeline.Settlement{}, fmt.Errorf("writing result: %w", err)
	}
	out = append(out, result)
	if job.Cost != nil {
		r, err := encode(d.Codecs.Cost, d.Topics.Costs, job.Request.Tenant, job, job.Cost)
		if err != nil {
			return pipeline.Settlement{}, fmt.Errorf("writing cost: %w", err)
		}
		out = append(out, r)
	}
	if job.Audit != nil {
		r, err := encode(d.Codecs.Audit, d.Topics.Audit, job.Request.Tenant, job, job.Audit)
		if err != nil {
			return pipeline.Settlement{}, fmt.Errorf("writing audit: %w", err)
		}
		out = append(out, r)
	}
	if dead := d.dead(job); dead != nil {
		letter, err := d.deadLetter(ctx, job, dead)
		if err != nil {
			return pipeline.Settlement{}, fmt.Errorf("writing dead letter: %w", err)
		}
		out = append(out, letter)
	}
	out = append(out, job.Also...)
	return pipeline.Settlement{Outputs: out}, fits(out)
}

// maxRecord is the largest record that is written, bytes; 1 MiB is what brokers
// take by default.
const maxRecord = 960 << 10

// fits returns an error if a record would be refused: that would hold up the whole
// lane, so the job has to end another way.
func fits(out []pipeline.Record) error {
	for i := range out {
		size := len(out[i].Key) + len(out[i].Value)
		for _, h := range out[i].Headers {
			size += len(h.Key) + len(h.Value) + headerOverhead
		}
		if size > maxRecord {
			return fmt.Errorf("writing to %s: a record of %d bytes, above the limit of %d: %w", out[i].Topic, size, maxRecord, pipeline.ErrHopeless)
		}
	}
	return nil
}

// nextRound returns how long the request should wait for another round, or 0 when
// this one was the last: answered, hopeless, out of rounds, or out of time.
func (d *Deliverer) nextRound(job *pipeline.Job) time.Duration {
	f, round := job.Failure, job.Origin.Round-job.Origin.Looks
	if f == nil || f.NoRetry || !f.Code.Policy().Later || round >= len(d.Tiers) || slices.Contains(d.Ordered, job.Origin.Lane) {
		return 0
	}
	wait := max(d.Tiers[round].Delay, f.RetryAfter())
	if time.Now().Add(wait).After(job.Deadline) {
		return 0
	}
	return wait
}

// The attempts that travel to the next round are bounded, newest kept, so that
// the record stays far below a broker's limit. Attempts are billed in the last
// round, so the bound is well above what the rounds of a request can make.
const (
	maxHistory    = 100
	maxVendorCode = 200 // bytes
)

// maxRoundValue is the largest value that travels to the next round itself, bytes.
// One that came compressed may be larger than a record of ours can be.
const maxRoundValue = 640 << 10

// roundHeaders says what the next round has to know. With a claim check among them
// the request's value stays behind.
func (d *Deliverer) roundHeaders(ctx context.Context, job *pipeline.Job) ([]pipeline.Header, error) {
	headers, err := roundHistory(job)
	if value := job.Origin.Record.Value; err == nil && len(value) > maxRoundValue && d.Blobs != nil {
		var ref string
		if ref, err = d.Blobs.Put(ctx, value); err != nil {
			return nil, fmt.Errorf("keeping large request: %w", err)
		}
		headers = append(headers, pipeline.Header{Key: schemas.HeaderDataRef, Value: []byte(ref)})
	}
	return headers, err
}

func roundHistory(job *pipeline.Job) ([]pipeline.Header, error) {
	attempts := job.Attempts[max(0, len(job.Attempts)-maxHistory):]
	slim := make([]schemas.Attempt, len(attempts))
	for i, a := range attempts {
		a.Usage.Raw = nil
		a.VendorCode = strings.ToValidUTF8(a.VendorCode[:min(len(a.VendorCode), maxVendorCode)], "")
		slim[i] = a
	}
	history, err := json.Marshal(slim)
	if err != nil {
		return nil, fmt.Errorf("writing attempts for the next round: %w", err)
	}
	looks := job.Origin.Looks
	var pending []byte // empty takes the place of an earlier round's
	if job.Parked > 0 || job.Collect != "" {
		looks++
		if job.Pending != nil {
			pending, err = json.Marshal(job.Pending)
		}
		if err != nil {
			return nil, fmt.Errorf("writing the vendor's job for the next round: %w", err)
		}
	}
	headers := []pipeline.Header{
		{Key: schemas.HeaderHistory, Value: history},
		{Key: schemas.HeaderPending, Value: pending},
		{Key: schemas.HeaderLooks, Value: strconv.AppendInt(nil, int64(looks), 10)},
		{Key: schemas.HeaderDeadline, Value: strconv.AppendInt(nil, job.Deadline.UnixMilli(), 10)},
		{Key: schemas.HeaderID, Value: []byte(job.Request.ID)},
		{Key: schemas.HeaderTenant, Value: []byte(job.Request.Tenant)},
	}
	if job.Trace != nil && job.Origin.Round == 0 { // all further rounds are parts of the first
		headers = append(headers, job.Trace.Headers...)
	}
	return headers, nil
}

func (d *Deliverer) attempt(job *pipeline.Job, a *schemas.Attempt) (pipeline.Record, error) {
	e := schemas.AttemptEvent{
		ID: job.Origin.First + "#" + strconv.Itoa(a.Number), RequestID: job.Request.ID, Tenant: job.Request.Tenant,
		Op: job.Request.Operation(), Model: job.Request.Model, Stream: job.Request.Stream, Worker: d.Worker, Attempt: *a,
	}
	e.Attempt.Usage.Raw = nil
	r, err := encode(d.Codecs.Attempt, d.Topics.Attempts, a.Target.Endpoint, job, &e)
	if err != nil {
		return r, fmt.Errorf("writing attempt %d: %w", a.Number, err)
	}
	return r, nil
}

// encode writes an event about a job. Those of a trace that is recorded say so, for
// the recorder to go on with it.
func encode[T any](c *avro.Codec[T], topic, key string, job *pipeline.Job, v *T) (pipeline.Record, error) {
	value, err := c.Append(nil, v)
	r := pipeline.Record{Topic: topic, Key: []byte(key), Value: value}
	if job.Trace != nil && job.Trace.Sampled {
		r.Headers = job.Trace.Headers
	}
	return r, hopeless(err)
}

// content is what the result record says.
func (d *Deliverer) content(job *pipeline.Job) *schemas.Result {
	r := &schemas.Result{
		RequestID: job.Request.ID, Tenant: job.Request.Tenant, Status: schemas.Succeeded, Response: job.Response, Failure: job.Failure,
		Op: job.Request.Operation(), Model: job.Request.Model, Target: job.Answered, Attempts: job.Attempts, Stream: job.Request.Stream,
		Route: job.Route, ConfigVersion: d.ConfigVersion, Origin: job.Origin.First, Lane: job.Origin.Lane,
		Labels: job.Request.Labels, Metadata: job.Request.Metadata,
		CreatedAt: job.Created, StartedAt: job.Started, CompletedAt: job.Completed,
	}
	if job.Failure != nil {
		r.Status, r.Response = schemas.Failed, nil
	}
	if c := job.Cost; c != nil {
		r.Cost.State = c.State
		if c.State == schemas.CostPriced || c.State == schemas.CostEstimated {
			r.Cost.Money = &schemas.Money{Amount: c.Amount, Currency: c.Currency}
		}
	}
	return r
}

func (d *Deliverer) result(ctx context.Context, job *pipeline.Job) (pipeline.Record, error) {
	content := d.content(job)
	rec := pipeline.Record{Topic: d.Topics.Results, Key: []byte(job.Request.ID)}
	if t := job.Request.ReplyTo; t != "" && d.allowed(t) {
		rec.Topic = t
	}
	rec.Headers = append(rec.Headers, pipeline.Header{Key: schemas.HeaderID, Value: rec.Key}, pipeline.Header{Key: schemas.HeaderTenant, Value: []byte(job.Request.Tenant)})
	switch {
	case job.Trace != nil:
		rec.Headers = append(rec.Headers, job.Trace.Headers...)
	case job.Origin.Traceparent != "":
		rec.Headers = append(rec.Headers, pipeline.Header{Key: schemas.HeaderTraceparent, Value: []byte(job.Origin.Traceparent)})
	}
	if job.Origin.JSON {
		rec.Headers = append(rec.Headers, pipeline.Header{Key: schemas.HeaderContentType, Value: []byte(schemas.ContentTypeJSON)})
	}
	var err error
	if rec.Value, err = d.encodeResult(job, content); err != nil || len(rec.Value) <= schemas.ClaimCheckBytes || d.Blobs == nil {
		return rec, err
	}
	ref, err := d.Blobs.Put(ctx, rec.Value)
	if err != nil {
		return rec, fmt.Errorf("keeping large result: %w", err)
	}
	rec.Headers = append(rec.Headers, pipeline.Header{Key: schemas.HeaderDataRef, Value: []byte(ref)})
	content.Response, content.Metadata = nil, nil // both may be of any size
	rec.Value, err = d.encodeResult(job, content)
	return rec, err
}

// encodeResult answers a producer in the form that it used.
func (d *Deliverer) encodeResult(job *pipeline.Job, r *schemas.Result) ([]byte, error) {
	if !job.Origin.JSON {
		value, err := d.Codecs.Result.Append(nil, r)
		return value, hopeless(err)
	}
	room, ok := d.rooms.Get().(*[]byte)
	if !ok {
		room = new(make([]byte, 0, 4<<10))
	}
	b, err := r.AppendJSON((*room)[:0])
	// Memory of just its size: a record is kept until its transaction has ended.
	value := bytes.Clone(b)
	if cap(b) <= 64<<10 { // few are larger
		*room = b
	}
	d.rooms.Put(room)
	return value, hopeless(err)
}

// hopeless marks an error of encoding: it would come again, and the provider would
// be paid for each time.
func hopeless(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", pipeline.ErrHopeless, err)
}

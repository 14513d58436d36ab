package kafka

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// record is a request record, copied out of the client's fetch buffer: a kept
// kgo.Record would pin the whole batch that it came in.
type record struct {
	topic     string
	partition int32
	offset    int64
	timestamp time.Time
	key       []byte
	value     []byte
	headers   []pipeline.Header
	packed    int64 // records of a batch that can't be unpacked, for which this one stands; 0: a record
}

func copyRecord(r *kgo.Record) record {
	out := record{topic: r.Topic, partition: r.Partition, offset: r.Offset, timestamp: sane(r.Timestamp, time.Now())}
	n := len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += len(h.Value)
	}
	buf := make([]byte, 0, n)
	keep := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		at := len(buf)
		buf = append(buf, b...)
		return buf[at:len(buf):len(buf)]
	}
	out.key, out.value = keep(r.Key), keep(r.Value)
	if len(r.Headers) > 0 {
		out.headers = make([]pipeline.Header, len(r.Headers))
		for i, h := range r.Headers {
			out.headers[i] = pipeline.Header{Key: h.Key, Value: keep(h.Value)}
		}
	}
	return out
}

// earlyClock is how far a producer's clock may be ahead of ours.
const earlyClock = time.Hour

// sane returns a producer's timestamp, which may be any number, as a time that can
// be reckoned with and written down.
func sane(t, now time.Time) time.Time {
	switch {
	case t.Before(time.UnixMilli(0)):
		return time.UnixMilli(0)
	case t.After(now.Add(earlyClock)):
		return now
	}
	return t
}

// size is what the record takes in memory, bytes.
func (r *record) size() int64 {
	n := len(r.key) + len(r.value) + 256
	for i := range r.headers {
		n += len(r.headers[i].Key) + len(r.headers[i].Value) + 40
	}
	return int64(n)
}

func (r *record) header(key string) string {
	for i := range r.headers {
		if r.headers[i].Key == key {
			return string(r.headers[i].Value)
		}
	}
	return ""
}

func (r *record) number(key string) int64 {
	text := r.header(key)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func (r *record) place() string {
	return r.topic + "/" + strconv.Itoa(int(r.partition)) + "/" + strconv.FormatInt(r.offset, 10)
}

// tenant returns whose share the record uses: the header's word, else what looks
// like the tenant of the value. It is a guess for fairness only; who is billed is
// read from the decoded request.
func (r *record) tenant() string {
	if t := r.header(schemas.HeaderTenant); t != "" && len(t) <= schemas.MaxIDLength {
		return t
	}
	if !isJSON(r.value) {
		return ""
	}
	_, rest, found := bytes.Cut(r.value, []byte(`"tenant"`))
	if !found {
		return ""
	}
	rest = bytes.TrimLeft(rest, " \t\r\n:")
	if len(rest) == 0 || rest[0] != '"' {
		return ""
	}
	name, _, found := bytes.Cut(rest[1:], []byte{'"'})
	if !found || len(name) > schemas.MaxIDLength {
		return ""
	}
	return string(name)
}

// isJSON reports whether a value is JSON rather than Avro in Confluent's wire
// format, whose first byte is zero.
func isJSON(value []byte) bool { return len(value) == 0 || value[0] != 0 }

// open makes a job of the record. What is no request becomes a job that has
// failed already, so that it is answered, billed and audited like any other.
func (r *record) open(ctx context.Context, cfg *EngineConfig, lane *LaneConfig, started time.Time) (*pipeline.Job, error) {
	if r.packed > 0 {
		return r.unpacked(lane, started), nil
	}
	if ref := r.header(schemas.HeaderMembers); lane.Retry && ref != "" {
		return r.openBatch(ctx, cfg, ref, lane, started)
	}
	job := r.job(lane, started)
	value, err := r.payload(ctx, cfg)
	if errors.Is(err, ErrNotNow) {
		return nil, err
	}
	if err == nil {
		job.Origin.JSON = isJSON(value)
	}
	sum := sha256.Sum256(value)
	job.Origin.Hash = hex.EncodeToString(sum[:])
	req := &schemas.Request{}
	if err == nil {
		err = r.decode(ctx, cfg, value, req)
	}
	if errors.Is(err, ErrNotNow) {
		return nil, err
	}
	job.Request, job.Outgoing = req, req
	named := req.ID == "" || legalID(req.ID)
	r.complete(job)
	switch {
	case err != nil:
		refuse(job, err, cfg.MaxRequestBytes)
	case !named: // it is answered under another id, so it must not be asked
		job.Failure = &schemas.Failure{Code: schemas.InvalidRequest, Param: "id", Message: "id is longer than " + strconv.Itoa(schemas.MaxIDLength) + " bytes or no UTF-8"}
		job.Dead = &pipeline.Dead{Reason: schemas.DeadInvalid, Detail: "id: not valid"}
	default:
		if invalid := req.Validate(); invalid != nil {
			job.Failure = schemas.AsFailure(invalid)
			job.Failure.Param, job.Failure.Message = schemas.Clip(job.Failure.Param, schemas.MaxIDLength), schemas.Clip(job.Failure.Message, 2*schemas.MaxIDLength)
			job.Dead = &pipeline.Dead{Reason: schemas.DeadInvalid, Detail: job.Failure.Param + ": not valid"}
		}
	}
	if job.Failure != nil {
		curtail(req)
	}
	job.Deadline = r.deadline(req, lane)
	r.history(job)
	return job, nil
}

// job is the record as a job whose request was not read yet.
func (r *record) job(lane *LaneConfig, started time.Time) *pipeline.Job {
	job := &pipeline.Job{Created: r.timestamp, Started: started, Emit: func(schemas.Chunk) {}}
	job.Origin = pipeline.Origin{
		Topic: r.topic, Partition: r.partition, Offset: r.offset, Lane: lane.Name, Key: r.key,
		First: r.place(), Traceparent: r.traceparent(), JSON: isJSON(r.value),
		Record: pipeline.Record{Topic: r.topic, Key: r.key, Value: r.value, Headers: r.headers},
	}
	if lane.Retry { // only the gateway itself writes there, so these may be believed
		job.Origin.Round = int(r.number(schemas.HeaderAttempt))
		job.Origin.Looks = int(r.number(schemas.HeaderLooks))
		if first := r.header(schemas.HeaderOrigin); first != "" {
			job.Origin.First = first
		}
		job.Origin.Lane = r.header(schemas.HeaderLane)
		if ms := r.number(headerCreated); ms > 0 {
			job.Created = time.UnixMilli(ms)
		}
	}
	return job
}

// maxTraceparent is above what any version of W3C trace context has used, bytes.
const maxTraceparent = 128

func (r *record) traceparent() string {
	if t := r.header(schemas.HeaderTraceparent); len(t) <= maxTraceparent {
		return t
	}
	return ""
}

// curtail cuts what a request that is refused says about itself to what results and
// events may hold: nothing has bounded it.
func curtail(req *schemas.Request) {
	req.Tenant, req.Model = schemas.Clip(req.Tenant, schemas.MaxIDLength), schemas.Clip(req.Model, schemas.MaxIDLength)
	req.Op = schemas.Operation(schemas.Clip(string(req.Op), schemas.MaxIDLength))
	if len(req.Labels) > schemas.MaxLabels {
		req.Labels = nil
	}
	for k, v := range req.Labels {
		if len(k) > schemas.MaxIDLength || len(v) > schemas.MaxIDLength {
			delete(req.Labels, k)
		}
	}
}

// unpacked is the job of a batch that can't be unpacked.
func (r *record) unpacked(lane *LaneConfig, started time.Time) *pipeline.Job {
	job := r.job(lane, started)
	job.Request = &schemas.Request{}
	job.Outgoing = job.Request
	r.complete(job)
	job.Failure = schemas.Fail(schemas.InvalidRequest, "a batch of records can't be unpacked: its compression is broken, or there is too much in it", nil)
	job.Dead = &pipeline.Dead{Reason: schemas.DeadUndecodable, Detail: "a batch of " + strconv.FormatInt(r.packed, 10) + " offsets that can't be unpacked"}
	job.Deadline = r.deadline(job.Request, lane)
	return job
}

// poisoned is the job of a record that the gateway broke on again and again: it
// is answered without being read, and kept for people.
func (r *record) poisoned(lane *LaneConfig, started time.Time) *pipeline.Job {
	job := r.job(lane, started)
	job.Request = &schemas.Request{}
	job.Outgoing = job.Request
	r.complete(job)
	job.Failure = schemas.Fail(schemas.Internal, "the gateway could not handle the request", nil)
	job.Dead = &pipeline.Dead{Reason: schemas.DeadPoison, Detail: "handling it failed in the gateway itself"}
	job.Deadline = r.deadline(job.Request, lane)
	r.history(job)
	return job
}

var (
	// ErrTooLarge is in the chain of a Fetch's error when the payload is larger than
	// it reads.
	ErrTooLarge  = errors.New("larger than the gateway reads")
	errNoPayload = errors.New("a claim check without a store that could resolve it")
)

// payload returns the value, or what its claim check stands for.
func (r *record) payload(ctx context.Context, cfg *EngineConfig) ([]byte, error) {
	ref := r.header(schemas.HeaderDataRef)
	value := r.value
	if ref != "" {
		if cfg.Fetch == nil {
			return nil, errNoPayload
		}
		var err error
		if value, err = cfg.Fetch(ctx, ref); err != nil {
			return nil, fmt.Errorf("fetching claim check: %w", err)
		}
	}
	if len(value) > cfg.MaxRequestBytes {
		return nil, ErrTooLarge
	}
	return value, nil
}

func (r *record) decode(ctx context.Context, cfg *EngineConfig, value []byte, req *schemas.Request) error {
	if !isJSON(value) {
		return cfg.Decode(ctx, value, req)
	}
	if req.ReadJSON(value) {
		return nil
	}
	*req = schemas.Request{}
	d := json.NewDecoder(bytes.NewReader(value))
	d.DisallowUnknownFields()
	if err := d.Decode(req); err != nil {
		return &jsonError{err}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return &jsonError{errTrailing}
	}
	return nil
}

var errTrailing = errors.New("more than one value in a record")

// jsonError is a value that is no request in JSON. Its text may name a field but
// quotes no content.
type jsonError struct{ cause error }

func (e *jsonError) Unwrap() error { return e.cause }

func (e *jsonError) Error() string {
	var syntax *json.SyntaxError
	var mismatch *json.UnmarshalTypeError
	switch {
	case errors.As(e.cause, &syntax):
		return "JSON syntax error at byte " + strconv.FormatInt(syntax.Offset, 10)
	case errors.As(e.cause, &mismatch):
		return "JSON field " + mismatch.Field + " must be a " + mismatch.Type.String()
	case errors.Is(e.cause, io.ErrUnexpectedEOF), errors.Is(e.cause, io.EOF):
		return "JSON ends too early"
	}
	text := e.cause.Error()
	return "JSON: " + strings.TrimPrefix(text[:min(len(text), 120)], "json: ")
}

// complete fills in what headers say and the value leaves out. Without any id
// the request is known by its place in Kafka, so that it can still be answered.
func (r *record) complete(job *pipeline.Job) {
	req := job.Request
	if !legalID(req.ID) {
		req.ID = r.anyID(job.Origin.First)
	}
	if req.Tenant == "" {
		req.Tenant = r.header(schemas.HeaderTenant)
	}
	if req.ReplyTo == "" {
		req.ReplyTo = r.header(schemas.HeaderReplyTo)
	}
}

func legalID(id string) bool {
	return id != "" && len(id) <= schemas.MaxIDLength && utf8.ValidString(id)
}

func (r *record) anyID(place string) string {
	if id := r.header(schemas.HeaderID); id != "" && len(id) <= schemas.MaxIDLength && utf8.ValidString(id) {
		return id
	}
	if k := r.key; len(k) > 0 && len(k) <= schemas.MaxIDLength && utf8.Valid(k) {
		return string(k)
	}
	return place
}

// refuse marks a job whose record could not be read.
func refuse(job *pipeline.Job, err error, limit int) {
	if errors.Is(err, ErrTooLarge) {
		job.Failure = schemas.Fail(schemas.PayloadTooLarge, "the request is larger than the gateway reads", err)
		job.Dead = &pipeline.Dead{Reason: schemas.DeadTooLarge, Detail: "more than the limit of " + strconv.Itoa(limit) + " bytes"}
		return
	}
	job.Failure = schemas.Fail(schemas.InvalidRequest, "the record is no request: "+kindOf(err), err)
	job.Dead = &pipeline.Dead{Reason: schemas.DeadUndecodable, Detail: kindOf(err)}
}

// kindOf says what is wrong with a record without quoting it.
func kindOf(err error) string {
	var j *jsonError
	switch {
	case errors.As(err, &j):
		return j.Error()
	case errors.Is(err, errNoPayload):
		return errNoPayload.Error()
	}
	return "not decodable with a known schema"
}

// headerCreated keeps the first record's timestamp through the retry topics.
const headerCreated = "sira-created"

// deadline is the earliest of the request's, the header's and the lane's.
func (r *record) deadline(req *schemas.Request, lane *LaneConfig) time.Time {
	d := req.Deadline
	if ms := r.number(schemas.HeaderDeadline); ms > 0 {
		if h := time.UnixMilli(ms); d.IsZero() || h.Before(d) {
			d = h
		}
	}
	if d.IsZero() {
		d = r.timestamp.Add(lane.MaxAge)
	}
	return d
}

// history brings back the attempts of earlier rounds.
func (r *record) history(job *pipeline.Job) {
	if job.Origin.Round == 0 {
		return
	}
	if p := r.header(schemas.HeaderPending); p != "" {
		pending := new(pipeline.Pending)
		if json.Unmarshal([]byte(p), pending) == nil {
			job.Pending = pending
		}
	}
	h := r.header(schemas.HeaderHistory)
	if h == "" {
		return
	}
	var attempts []schemas.Attempt
	if json.Unmarshal([]byte(h), &attempts) == nil {
		job.Attempts = attempts
	}
}

package kafka

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// dead says whether and why the request record is kept for people.
func (d *Deliverer) dead(job *pipeline.Job) *pipeline.Dead {
	switch {
	case job.Dead != nil:
		return job.Dead
	case job.Failure == nil:
		return nil
	case job.Failure.Code == schemas.Unroutable:
		return &pipeline.Dead{Reason: schemas.DeadUnroutable, Detail: "no route or no such model"}
	case job.Failure.Code == schemas.PayloadTooLarge && len(job.Attempts) == 0:
		return &pipeline.Dead{Reason: schemas.DeadTooLarge, Detail: "larger than any target takes"}
	case len(d.Tiers) > 0 && job.Origin.Round >= len(d.Tiers) && job.Failure.Code.Policy().Later:
		return &pipeline.Dead{Reason: schemas.DeadExhausted, Detail: "last failure: " + job.Failure.Error()}
	}
	return nil
}

// Bounds of a dead letter. A record that fitted on its topic may be too large for
// another one with the reason added, and one that came compressed may be of any
// size; a letter that the broker refuses would hold up its whole lane.
const (
	maxLetter       = 768 << 10 // bytes of key, value and headers
	maxLetterKey    = 64 << 10
	maxLetterHeader = 4 << 10   // name and value
	maxLetterHeads  = 128 << 10 // all headers together
	headerOverhead  = 8
)

// deadLetter is the request record as it came, with the reason in headers. A value
// that is too large is kept by reference; a key and headers that are too large are
// left out, and sira-dead-omitted says so.
func (d *Deliverer) deadLetter(ctx context.Context, job *pipeline.Job, dead *pipeline.Dead) (pipeline.Record, error) {
	src := job.Origin.Record
	letter := pipeline.Record{Topic: d.Topics.Dead, Key: src.Key, Value: src.Value}
	headers, size, omitted := slim(src.Headers)
	if len(src.Key) > maxLetterKey {
		letter.Key = nil
		omitted = append(omitted, "key")
	}
	if size+len(letter.Key)+len(src.Value) > maxLetter {
		letter.Value = nil
		claimed := slices.ContainsFunc(headers, func(h pipeline.Header) bool { return h.Key == schemas.HeaderDataRef })
		if claimed || d.Blobs == nil {
			omitted = append(omitted, "value") // beside a claim check nobody reads it
		} else {
			ref, err := d.Blobs.Put(ctx, src.Value)
			if err != nil {
				return letter, fmt.Errorf("keeping large dead letter: %w", err)
			}
			headers = append(headers, pipeline.Header{Key: schemas.HeaderDataRef, Value: []byte(ref)})
		}
	}
	if len(omitted) > 0 {
		headers = append(headers, pipeline.Header{Key: schemas.HeaderDeadOmitted, Value: []byte(strings.Join(omitted, ", "))})
	}
	letter.Headers = append(headers,
		pipeline.Header{Key: schemas.HeaderDeadReason, Value: []byte(dead.Reason)},
		pipeline.Header{Key: schemas.HeaderDeadDetail, Value: []byte(dead.Detail)},
		pipeline.Header{Key: schemas.HeaderDeadOrigin, Value: []byte(job.Origin.First)},
		pipeline.Header{Key: schemas.HeaderDeadTime, Value: strconv.AppendInt(nil, time.Now().UnixMilli(), 10)},
		pipeline.Header{Key: schemas.HeaderDeadAttempt, Value: strconv.AppendInt(nil, int64(job.Origin.Round)+1, 10)},
	)
	return letter, nil
}

// slim returns the headers that a dead letter keeps, their size, and whether some
// were left out.
func slim(all []pipeline.Header) (kept []pipeline.Header, size int, omitted []string) {
	n := 0
	for _, h := range all {
		of := len(h.Key) + len(h.Value) + headerOverhead
		switch {
		case strings.HasPrefix(h.Key, "sira-dead-"):
		case of > maxLetterHeader, size+of > maxLetterHeads:
			n++
		default:
			kept = append(kept, h)
			size += of
		}
	}
	if n > 0 {
		omitted = append(omitted, strconv.Itoa(n)+" headers")
	}
	return kept, size, omitted
}

package kafka

import (
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

// deadLetter is the request record as it came, with the reason in headers.
func (d *Deliverer) deadLetter(job *pipeline.Job, dead *pipeline.Dead) pipeline.Record {
	src := job.Origin.Record
	headers := slices.DeleteFunc(slices.Clone(src.Headers), func(h pipeline.Header) bool { return strings.HasPrefix(h.Key, "sira-dead-") })
	headers = append(headers,
		pipeline.Header{Key: schemas.HeaderDeadReason, Value: []byte(dead.Reason)},
		pipeline.Header{Key: schemas.HeaderDeadDetail, Value: []byte(dead.Detail)},
		pipeline.Header{Key: schemas.HeaderDeadOrigin, Value: []byte(job.Origin.First)},
		pipeline.Header{Key: schemas.HeaderDeadTime, Value: strconv.AppendInt(nil, time.Now().UnixMilli(), 10)},
		pipeline.Header{Key: schemas.HeaderDeadAttempt, Value: strconv.AppendInt(nil, int64(job.Origin.Round)+1, 10)},
	)
	return pipeline.Record{Topic: d.Topics.Dead, Key: src.Key, Value: src.Value, Headers: headers}
}

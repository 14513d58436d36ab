package kafka

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// batch writes down what became of the requests of a batch: outcomes like those of
// any other request, further rounds for those that are asked for elsewhere, and the
// batch itself for as long as it goes on. All of it is one settlement, so that a
// request leaves its batch and gets its result in the same transaction.
func (d *Deliverer) batch(ctx context.Context, job *pipeline.Job) (pipeline.Settlement, error) {
	var all pipeline.Settlement
	for _, m := range job.Members {
		if m == nil || m.Response == nil && m.Failure == nil && m.Parked == 0 {
			continue
		}
		one, err := d.Outputs(ctx, m)
		if err != nil {
			return all, err
		}
		all.Outputs = append(all.Outputs, one.Outputs...)
		if one.Retry > 0 {
			all.Moves = append(all.Moves, pipeline.Move{Record: m.Origin.Record, Wait: one.Retry, Headers: one.RetryHeaders})
		}
	}
	if job.Parked == 0 {
		return all, nil
	}
	pending, err := json.Marshal(job.Pending)
	if err != nil {
		return all, fmt.Errorf("writing the vendor's batch for the next round: %w", err)
	}
	all.Retry = job.Parked
	all.RetryHeaders = []pipeline.Header{
		{Key: schemas.HeaderPending, Value: pending},
		{Key: schemas.HeaderLooks, Value: strconv.AppendInt(nil, int64(job.Origin.Looks+1), 10)},
	}
	return all, nil
}

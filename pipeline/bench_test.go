package pipeline

import (
	"context"
	"testing"
	"time"

	"go.uber.org/zap"
)

// What the runner itself costs for a job, without a Tracer:
//
//	go test -run - -bench Settlement -benchmem -cpu 1 ./pipeline
func BenchmarkSettlement(b *testing.B) {
	job := jobDue(time.Hour)
	d := Delivery{Open: func(context.Context) (*Job, error) { return job, nil }}
	r := &Runner{Chain: chainOf(&step{f: answer}, &step{}), Deliverer: nowhere{}, Log: zap.NewNop()}
	b.ReportAllocs()
	for b.Loop() {
		job.Response = nil
		if _, err := r.settlement(b.Context(), d); err != nil {
			b.Fatal(err)
		}
	}
}

// nowhere writes nothing down.
type nowhere struct{}

func (nowhere) Outputs(context.Context, *Job) (Settlement, error) { return Settlement{}, nil }

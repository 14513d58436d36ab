package invoke

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

// What a call costs beside the call itself:
// go test -run - -bench Handle -benchmem -cpu 1 ./handlers/invoke.
func BenchmarkHandle(b *testing.B) {
	for _, keys := range []int{1, 8} {
		s := build(b, nil, map[string]provider.Provider{"a": &instant{}}, keys)
		for _, stream := range []bool{false, true} {
			b.Run(fmt.Sprintf("endpoints=%d/stream=%v", keys, stream), func(b *testing.B) {
				job := ask("a")
				job.Request.Stream = stream
				job.Deadline = time.Now().Add(time.Hour)
				ctx, cancel := context.WithDeadline(b.Context(), job.Deadline) // as pipeline.Chain does
				defer cancel()
				b.ReportAllocs()
				for b.Loop() {
					job.Attempts, job.Response, job.chunks = nil, nil, job.chunks[:0]
					if err := s.Handle(ctx, job.Job); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// instant answers at once.
type instant struct{}

var instantAnswer = answerOK()

func (*instant) Infer(_ context.Context, _ provider.Call, emit provider.Emit) (*schemas.Response, error) {
	if emit != nil {
		if err := emit(text("hi")); err != nil {
			return nil, err
		}
	}
	return instantAnswer, nil
}

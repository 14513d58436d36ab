package tracing

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sira-ai/sira/schemas"
)

// What a job with two calls costs beside itself where tracing is on; where it is off
// nothing of this runs (BenchmarkSettlement in pipeline):
//
//	go test -run - -bench Follow -benchmem -cpu 1 ./pipeline/tracing
func BenchmarkFollow(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	b.Cleanup(s.Close)
	tracer := newTracer(b, to(s.URL), nil)
	for name, traceparent := range map[string]string{"recorded": recorded, "unrecorded": unrecorded} {
		b.Run(name, func(b *testing.B) {
			job := jobWith(header(schemas.HeaderTraceparent, traceparent))
			res, f, attempt := &schemas.Response{Model: "m"}, &schemas.Failure{Code: schemas.Overloaded}, calling(1)
			b.ReportAllocs()
			for b.Loop() {
				ctx, ended := tracer.Begin(context.Background(), job)
				_, first := tracer.Call(ctx, job, attempt)
				first(nil, f)
				_, second := tracer.Call(ctx, job, attempt)
				second(res, nil)
				ended(nil)
			}
		})
	}
}

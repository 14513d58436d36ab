package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sira-ai/sira/schemas"
)

// runVersion is that of the form of saved runs.
const runVersion = 1

// Run is what was measured, as it is saved. Latencies are milliseconds from the
// intended time of sending to the moment when a reader of committed records had
// the result.
type Run struct {
	Version   int       `json:"version"`
	Name      string    `json:"name"` // beginning of the ids of its requests
	StartedAt time.Time `json:"started_at"`
	Program   string    `json:"program,omitempty"` // version of sira
	Machine   string    `json:"machine,omitempty"`
	Load      string    `json:"load,omitempty"` // in words: rate and length, or the trace
	Model     string    `json:"model,omitempty"`
	Lane      string    `json:"lane,omitempty"`
	Kinds     []Kind    `json:"kinds,omitempty"`
	Tenants   int       `json:"tenants,omitempty"`

	Requests          int                  `json:"requests"`
	Answered          int                  `json:"answered"`
	Failed            int                  `json:"failed"`             // of those answered
	Failures          map[schemas.Code]int `json:"failures,omitempty"` // by code
	Lost              int                  `json:"lost"`               // without a result when the wait was over
	Doubled           int                  `json:"doubled"`            // results after the first one of a request
	ScheduleSeconds   float64              `json:"schedule_seconds"`
	Seconds           float64              `json:"seconds"` // until the last result
	AnsweredPerSecond float64              `json:"answered_per_second"`

	Latency   []Series `json:"latency"` // of all requests first, then by kind
	FirstText *Series  `json:"first_text,omitempty"`
	SentLate  Series   `json:"sent_late"` // how far sending itself was behind the schedule
	Curve     []Point  `json:"curve"`     // over time
}

// Series is a distribution, in milliseconds.
type Series struct {
	Name  string  `json:"name"`
	Count int64   `json:"count"`
	Mean  float64 `json:"mean_ms"`
	P50   float64 `json:"p50_ms"`
	P90   float64 `json:"p90_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p99_9_ms"`
	Max   float64 `json:"max_ms"`
	// HDR is the whole histogram, in microseconds, in the compressed form (V2,
	// base64) that all HdrHistogram tools read.
	HDR string `json:"hdr,omitempty"`
}

// Point is a stretch of the run. Latencies are those of requests intended in it, 0
// where there are none; rates are per second.
type Point struct {
	At       float64 `json:"at_seconds"`
	Sent     float64 `json:"sent_per_second"`
	Answered float64 `json:"answered_per_second"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	Max      float64 `json:"max_ms"`
}

func millis(us int64) float64 { return float64(us) / 1000 }

func newSeries(name string, h *hdrhistogram.Histogram) Series {
	s := Series{
		Name: name, Count: h.TotalCount(), Mean: h.Mean() / 1000, P50: millis(h.ValueAtQuantile(50)), P90: millis(h.ValueAtQuantile(90)),
		P99: millis(h.ValueAtQuantile(99)), P999: millis(h.ValueAtQuantile(99.9)), Max: millis(h.Max()),
	}
	if b, err := h.EncodeV2(); err == nil { // without it the figures above remain
		s.HDR = string(b)
	}
	return s
}

// histogram returns the whole distribution.
func (s *Series) histogram() (*hdrhistogram.Histogram, error) {
	if len(s.HDR) == 0 {
		return nil, errors.New("it has no histogram")
	}
	h, err := hdrhistogram.Decode([]byte(s.HDR))
	if err != nil {
		return nil, fmt.Errorf("reading the histogram of %q: %w", s.Name, err)
	}
	if h.TotalCount() != s.Count {
		return nil, fmt.Errorf("reading the histogram of %q: it holds %d values, not %d", s.Name, h.TotalCount(), s.Count)
	}
	return h, nil
}

// Save writes the run to a file.
func (r *Run) Save(path string) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("writing the run: %w", err)
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o644); err != nil { //nolint:gosec // figures are for sharing
		return fmt.Errorf("saving the run: %w", err)
	}
	return nil
}

// maxRunBytes bounds a saved run; real ones have some hundred KiB.
const maxRunBytes = 64 << 20

// Open reads a saved run.
func Open(path string) (*Run, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a saved run: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxRunBytes))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	r, err := ReadRun(b)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return r, nil
}

// ReadRun reads what Save wrote.
func ReadRun(b []byte) (*Run, error) {
	var r Run
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("this is no saved run: %w", err)
	}
	if r.Version != runVersion || len(r.Latency) == 0 {
		return nil, fmt.Errorf("this is no saved run of version %d; make one with `sira bench --save FILE`", runVersion)
	}
	for i := range r.Latency {
		if _, err := r.Latency[i].histogram(); err != nil {
			return nil, err
		}
	}
	return &r, nil
}

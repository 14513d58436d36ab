package bench

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/sira-ai/sira/schemas"
)

const (
	// highest is what histograms can hold; a longer latency counts as this one.
	highest = int64(2 * time.Hour / time.Microsecond)
	// buckets is how many points the curves over time have at most.
	buckets = 240
)

// newHistogram holds microseconds with three significant digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, highest, 3) }

func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(min(max(d.Microseconds(), 1), highest)) // it is within the range
}

// tally counts what happens to each request. Its methods may be called at once.
type tally struct {
	schedule []Arrival
	kinds    []Kind
	width    time.Duration // of a bucket

	mu       sync.Mutex
	at       time.Time // start of the schedule
	state    []state   // by request
	out, in  int       // requests sent, requests with a result
	doubled  int
	failures map[schemas.Code]int
	all      *hdrhistogram.Histogram
	byKind   []*hdrhistogram.Histogram
	first    *hdrhistogram.Histogram // first piece of text of streamed ones
	late     *hdrhistogram.Histogram // sent after the intended time
	curve    []bucket
	last     time.Time     // when the last result came
	complete chan struct{} // closed when every request has a result
}

// state of one request.
type state struct{ begun, settled bool }

// bucket is a stretch of the run.
type bucket struct {
	sent, settled int
	latency       *hdrhistogram.Histogram // of the requests intended in it; nil: none came yet
}

func newTally(schedule []Arrival, kinds []Kind) *tally {
	t := &tally{
		schedule: schedule, kinds: kinds, state: make([]state, len(schedule)), failures: map[schemas.Code]int{},
		all: newHistogram(), first: newHistogram(), late: newHistogram(), complete: make(chan struct{}),
	}
	for range kinds {
		t.byKind = append(t.byKind, newHistogram())
	}
	length := schedule[len(schedule)-1].At
	t.width = max((length/buckets + time.Second - 1).Truncate(time.Second), time.Second)
	t.curve = make([]bucket, int(length/t.width)+1)
	return t
}

func (t *tally) start(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at = at
}

// bucketOf returns the stretch of a moment; what comes after the schedule makes
// new ones, as long as they are few.
func (t *tally) bucketOf(since time.Duration) *bucket {
	i := max(int(since/t.width), 0)
	for i >= len(t.curve) && len(t.curve) < 2*buckets {
		t.curve = append(t.curve, bucket{})
	}
	return &t.curve[min(i, len(t.curve)-1)]
}

func (t *tally) sent(i int, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out++
	record(t.late, now.Sub(t.at)-t.schedule[i].At)
	t.bucketOf(now.Sub(t.at)).sent++
}

// began reports whether the stream of a request has begun.
func (t *tally) began(i int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state[i].begun
}

func (t *tally) begin(i int, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.state[i].begun = true
	record(t.first, now.Sub(t.at)-t.schedule[i].At)
}

// settle counts a result; code is that of a failure, or empty.
func (t *tally) settle(i int, now time.Time, code schemas.Code) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state[i].settled {
		t.doubled++
		return
	}
	t.state[i].settled = true
	t.in++
	t.last = now
	if code != "" {
		t.failures[code]++
	}
	took := now.Sub(t.at) - t.schedule[i].At
	record(t.all, took)
	record(t.byKind[i%len(t.kinds)], took)
	t.bucketOf(now.Sub(t.at)).settled++
	b := t.bucketOf(t.schedule[i].At)
	if b.latency == nil {
		b.latency = hdrhistogram.New(1, highest, 2)
	}
	record(b.latency, took)
	if t.in == len(t.schedule) {
		close(t.complete)
	}
}

func (t *tally) progress() (sent, settled int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.out, t.in
}

// quiet is how long wait goes on after everything was answered: a result that
// comes twice comes soon.
const quiet = time.Second

// wait returns when every request has a result and none came twice for a while, or
// when the limit is over.
func (t *tally) wait(ctx context.Context, limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-t.complete:
		timer.Reset(quiet)
	case <-timer.C:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		_, in := t.progress()
		return fmt.Errorf("waiting for results: %d of %d came: %w", in, len(t.schedule), context.Cause(ctx))
	}
}

// run returns the figures.
func (t *tally) run(name string) *Run {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := &Run{
		Version: runVersion, Name: name, StartedAt: t.at.UTC().Truncate(time.Millisecond),
		Requests: len(t.schedule), Answered: t.in, Lost: len(t.schedule) - t.in, Doubled: t.doubled, Failures: t.failures,
		ScheduleSeconds: t.schedule[len(t.schedule)-1].At.Seconds(),
	}
	for _, n := range t.failures {
		r.Failed += n
	}
	if t.in > 0 {
		r.Seconds = t.last.Sub(t.at).Seconds()
		r.AnsweredPerSecond = float64(t.in) / r.Seconds
	}
	r.Latency = append(r.Latency, newSeries("all", t.all))
	if len(t.kinds) > 1 {
		for i, k := range t.kinds {
			r.Latency = append(r.Latency, newSeries(k.String(), t.byKind[i]))
		}
	}
	if t.first.TotalCount() > 0 {
		s := newSeries("first text of streams", t.first)
		r.FirstText = &s
	}
	r.SentLate = newSeries("sent late", t.late)
	for i, b := range t.curve {
		p := Point{At: (time.Duration(i) * t.width).Seconds(), Sent: float64(b.sent) / t.width.Seconds(), Answered: float64(b.settled) / t.width.Seconds()}
		if b.latency != nil {
			p.P50, p.P99, p.Max = millis(b.latency.ValueAtQuantile(50)), millis(b.latency.ValueAtQuantile(99)), millis(b.latency.Max())
		}
		r.Curve = append(r.Curve, p)
	}
	return r
}

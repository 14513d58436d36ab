package balance

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// measure is what the calls of an endpoint have shown. Writers take turns;
// readers take no lock and may see one call's numbers without the next's.
type measure struct {
	decay float64 // nanoseconds

	mu     sync.Mutex
	mean   atomic.Int64  // latency of answered calls, nanoseconds; 0: none yet
	peak   atomic.Int64  // the same, jumping up at once and coming down slowly
	failed atomic.Uint64 // share of calls that failed, bits of a float64
	at     atomic.Int64  // of the last call, unix nanoseconds; 0: none yet
}

// observe counts a finished call. Latency rises to a slow call at once and falls
// with time, as Finagle's peak EWMA does; a call that failed can only raise it,
// so that failing fast does not look like being fast.
func (m *measure) observe(d time.Duration, failed bool, now int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keep := 0.0 // what the past still has to say
	if at := m.at.Load(); at != 0 {
		keep = math.Exp(-float64(max(now-at, 0)) / m.decay)
	}
	nanos := max(int64(d), 1)
	peak := m.peak.Load()
	switch {
	case nanos >= peak:
		peak = nanos
	case !failed:
		peak = int64(float64(peak)*keep + float64(nanos)*(1-keep))
	}
	m.peak.Store(peak)
	if !failed {
		mean := m.mean.Load()
		if mean == 0 {
			mean = nanos
		}
		m.mean.Store(mean + (nanos-mean)/5)
	}
	// A single call has an eighth of the say. What fades in an idle spell is
	// forgotten only if an answer confirms it.
	share := math.Float64frombits(m.failed.Load())
	if failed {
		share += (1 - share) / 8
	} else {
		share *= keep * 7 / 8
	}
	m.failed.Store(math.Float64bits(share))
	m.at.Store(now)
}

// Performance is how an endpoint has answered lately.
type Performance struct {
	Mean    time.Duration // mean latency of answers, recent ones first; 0: no answer yet
	Peak    time.Duration // the same, but a slow answer counts whole and fades; 0: no call yet
	Success float64       // share of calls that were answered, from 0 to 1
}

// Performance returns how e has answered, as of now in unix nanoseconds. While e
// is idle, bad news fades, so that an endpoint that nobody asks is asked again;
// while it has calls in flight it does not, so that they do not all come at once.
func (e *Endpoint) Performance(now int64) Performance {
	m := &e.measure
	p := Performance{Mean: time.Duration(m.mean.Load()), Peak: time.Duration(m.peak.Load()), Success: 1}
	failed := math.Float64frombits(m.failed.Load())
	if idle := now - m.at.Load(); idle > 0 && e.inFlight.Load() == 0 && p.Peak > 0 {
		keep := math.Exp(-float64(idle) / m.decay)
		failed *= keep
		p.Peak = time.Duration(float64(p.Peak) * keep)
	}
	p.Success -= failed
	return p
}

package invoke

import (
	"math"
	"slices"
	"sync"
	"time"
)

// history is how many latencies of a target are remembered.
const history = 128

// spendMemory is after how long what was asked for and spent counts 1/e.
const spendMemory = 10 * time.Minute

// hedges knows when a call takes long and what may be spent on it.
type hedges struct {
	config     HedgeConfig
	percentile int           // 0: fixed
	fixed      time.Duration // where percentile is 0

	mu    sync.Mutex
	total float64 // tokens asked for lately
	spent float64 // of hedges
	at    time.Time
	took  map[course]*latencies
}

// course is what calls have to be alike in to be compared.
type course struct {
	provider, model string
	stream          bool
}

func newHedges(c HedgeConfig) *hedges {
	h := &hedges{config: c, took: make(map[course]*latencies)}
	h.percentile, h.fixed, _ = c.after() // Validate has read it
	return h
}

func courseOf(a *attempt) course {
	return course{a.record.Target.Provider, a.record.Target.Model, a.outgoing.Stream}
}

// after returns how long a call has before it counts as slow, if that is known.
func (h *hedges) after(a *attempt) (time.Duration, bool) {
	if h.percentile == 0 {
		return h.fixed, true
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.took[courseOf(a)]
	if l == nil || len(l.seen) < h.config.Samples {
		return 0, false
	}
	return l.percentile(h.percentile), true
}

// observe remembers how long a call took: to its first output where it was
// streamed, else to its end. h may be nil.
func (h *hedges) observe(a *attempt) {
	if h == nil || h.percentile == 0 {
		return
	}
	d := a.record.LatencyMS
	if a.outgoing.Stream && a.record.FirstTokenMS > 0 {
		d = a.record.FirstTokenMS
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.took[courseOf(a)]
	if l == nil {
		l = new(latencies)
		h.took[courseOf(a)] = l
	}
	l.add(time.Duration(d) * time.Millisecond)
}

// asked counts a request's tokens, of which a share may be spent.
func (h *hedges) asked(tokens int64, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fade(now)
	h.total += float64(tokens)
}

// pay reports whether a hedge of so many tokens is within the cap, and counts it.
func (h *hedges) pay(tokens int64, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fade(now)
	if h.spent+float64(tokens) > h.config.Share*h.total {
		return false
	}
	h.spent += float64(tokens)
	return true
}

func (h *hedges) refund(tokens int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.spent = max(h.spent-float64(tokens), 0)
}

// fade forgets what was long ago.
func (h *hedges) fade(now time.Time) {
	if !h.at.IsZero() && now.After(h.at) {
		keep := math.Exp(-float64(now.Sub(h.at)) / float64(spendMemory))
		h.total, h.spent = h.total*keep, h.spent*keep
	}
	h.at = now
}

// latencies are the last ones, in a ring.
type latencies struct {
	seen   []time.Duration
	next   int
	sorted []time.Duration
	stale  int // added since sorted was made
}

func (l *latencies) add(d time.Duration) {
	l.stale++
	if len(l.seen) < history {
		l.seen = append(l.seen, d)
		return
	}
	l.seen[l.next] = d
	l.next = (l.next + 1) % history
}

// percentile returns the p-th percentile, as of at most eight latencies ago.
func (l *latencies) percentile(p int) time.Duration {
	if l.sorted == nil || l.stale > history/16 {
		l.sorted, l.stale = append(l.sorted[:0], l.seen...), 0
		slices.Sort(l.sorted)
	}
	return max(l.sorted[(len(l.sorted)-1)*p/100], time.Millisecond)
}

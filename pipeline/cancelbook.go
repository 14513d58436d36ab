package pipeline

import (
	"crypto/sha256"
	"strconv"
	"sync"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// CancelBook knows which requests were cancelled, and which are worked on here. It
// keeps a cancellation for as long as the request may be met again, and the newest
// ones only. It is safe for concurrent use.
type CancelBook struct {
	most int
	keep time.Duration

	mu      sync.Mutex
	known   map[requestKey]int64 // when, Unix milliseconds
	oldest  []cancellation       // in the order of coming
	watched map[string]*watched  // by request id
}

var _ Cancels = (*CancelBook)(nil)

// requestKey stands for a tenant and a request id in little room: who could find two
// with the same could as well cancel both.
type requestKey [16]byte

func keyOf(tenant, id string) requestKey {
	sum := sha256.Sum256([]byte(strconv.Itoa(len(tenant)) + ":" + tenant + id))
	return requestKey(sum[:])
}

type cancellation struct {
	key requestKey
	at  int64
}

// watched is a job that is worked on here; ids may come twice.
type watched struct {
	job  *Job
	stop func()
	next *watched
}

// slack is how much younger than its cancellation a request may look: their producers'
// clocks differ.
const slack = 10 * time.Second

// NewCancelBook returns an empty book for at most that many cancellations, each for
// that long. One takes about 100 bytes.
func NewCancelBook(most int, keep time.Duration) *CancelBook {
	return &CancelBook{most: most, keep: keep, known: make(map[requestKey]int64), watched: make(map[string]*watched)}
}

// Cancel notes that a request was cancelled, at that time, and stops what is done for
// it here. A request of the same id that was made later is another one.
func (b *CancelBook) Cancel(c schemas.Cancel, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if now.Sub(at) > b.keep {
		return
	}
	key, ms := keyOf(c.Tenant, c.RequestID), at.UnixMilli()
	b.known[key] = max(b.known[key], ms)
	b.oldest = append(b.oldest, cancellation{key, ms})
	b.forget(now)
	for w := b.watched[c.RequestID]; w != nil; w = w.next {
		if w.job.Request.Tenant == c.Tenant && before(w.job.Created, ms) {
			w.end()
		}
	}
}

// forget drops what is too old or too much.
func (b *CancelBook) forget(now time.Time) {
	n := 0
	for ; n < len(b.oldest); n++ {
		first := b.oldest[n]
		if len(b.oldest)-n <= b.most && now.Sub(time.UnixMilli(first.at)) <= b.keep {
			break
		}
		if b.known[first.key] == first.at { // else it was cancelled again
			delete(b.known, first.key)
		}
	}
	b.oldest = b.oldest[n:] // append leaves behind what was dropped
}

// Cancelled reports whether a request that was made at that time was cancelled.
func (b *CancelBook) Cancelled(tenant, id string, made time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cancelled(tenant, id, made)
}

func (b *CancelBook) cancelled(tenant, id string, made time.Time) bool {
	if len(b.known) == 0 {
		return false
	}
	at, ok := b.known[keyOf(tenant, id)]
	return ok && before(made, at)
}

func before(made time.Time, cancelled int64) bool {
	return !made.After(time.UnixMilli(cancelled).Add(slack))
}

// Watch implements [Cancels].
func (b *CancelBook) Watch(job *Job, stop func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := job.Request.ID
	w := &watched{job: job, stop: stop, next: b.watched[id]}
	b.watched[id] = w
	if b.cancelled(job.Request.Tenant, id, job.Created) {
		w.end()
	}
}

// Unwatch implements [Cancels].
func (b *CancelBook) Unwatch(job *Job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := job.Request.ID
	first := b.watched[id]
	if first != nil && first.job == job {
		if first.next == nil {
			delete(b.watched, id)
		} else {
			b.watched[id] = first.next
		}
		return
	}
	for w := first; w != nil && w.next != nil; w = w.next {
		if w.next.job == job {
			w.next = w.next.next
			return
		}
	}
}

func (w *watched) end() {
	w.job.Cancel()
	if w.stop != nil {
		w.stop()
		w.stop = nil
	}
}

// Len returns how many cancellations are kept.
func (b *CancelBook) Len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.known)
}

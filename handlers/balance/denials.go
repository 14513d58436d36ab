package balance

import (
	"sync"
	"sync/atomic"
)

// denials are models that rest, with one key or (nil) with all. They are rare,
// so looking for one costs a single load while there is none.
type denials struct {
	latest atomic.Int64 // when the last of them is over, unix nanoseconds

	mu sync.Mutex
	at map[denial]int64
}

type denial struct {
	key   *rest
	model string
}

func (d *denials) until(key *rest, model string, now int64) int64 {
	if d.latest.Load() <= now {
		return 0
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(d.at[denial{key, model}], d.at[denial{nil, model}])
}

func (d *denials) add(key *rest, model string, until, now int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for k, at := range d.at {
		if at <= now {
			delete(d.at, k)
		}
	}
	if d.at == nil {
		d.at = make(map[denial]int64)
	}
	k := denial{key, model}
	d.at[k] = max(d.at[k], until)
	d.latest.Store(max(d.latest.Load(), until))
}

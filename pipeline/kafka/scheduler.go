package kafka

import (
	"sync"
	"time"
)

// item is one record that waits for a worker.
type item struct {
	tracker *tracker
	session *session
	offset  int64
	lane    int // index of the lane whose share it uses; for a retried request not the lane it was read by
	tenant  string
	key     string // ordering key, "" where order is free
	bytes   int64
	claimed int64 // bytes of a claim-checked payload that are held
	tries   int   // how often it was released
	panics  int   // of these, because the gateway itself broke on it
	timer   *time.Timer
	rec     record
}

// scheduler decides which waiting item goes next. Lanes share by weighted deficit
// round robin, tenants within a lane by plain round robin, so that neither a
// busy lane nor a busy tenant starves another. A lane may always have its
// reserve in flight, whatever the others do.
//
// It is safe for concurrent use.
type scheduler struct {
	mu       sync.Mutex
	lanes    []*laneQueue
	turn     int
	running  int
	total    int           // most that limit may be
	limit    int           // bound of running
	reserved int           // places of all lanes' reserves
	wake     chan struct{} // has a token when something may have become ready
}

type laneQueue struct {
	weight  int
	reserve int  // places that no other lane may take
	held    bool // nothing is handed out
	perTen  int  // most items in flight of one tenant
	credit  int
	running int
	waiting int
	active  []*tenantQueue // tenants with waiting items, in turn
	tenants map[string]*tenantQueue
}

type tenantQueue struct {
	name    string
	items   []*item
	head    int
	running int
	listed  bool
}

// push appends an item. A queue that never runs empty would otherwise drag its
// past along and grow for ever.
func (t *tenantQueue) push(it *item) {
	if t.head > 0 && 2*t.head >= len(t.items) {
		n := copy(t.items, t.items[t.head:])
		clear(t.items[n:])
		t.items, t.head = t.items[:n], 0
	}
	t.items = append(t.items, it)
}

func newScheduler(total int, lanes []LaneConfig) *scheduler {
	s := &scheduler{total: total, limit: total, wake: make(chan struct{}, 1)}
	for _, l := range lanes {
		s.reserved += l.Reserve
	}
	for _, l := range lanes {
		per := l.TenantInFlight
		if per <= 0 {
			per = total
		}
		s.lanes = append(s.lanes, &laneQueue{weight: l.Weight, reserve: l.Reserve, perTen: per, tenants: map[string]*tenantQueue{}})
	}
	return s
}

// add queues an item.
func (s *scheduler) add(it *item) {
	s.mu.Lock()
	l := s.lanes[it.lane]
	t := l.tenants[it.tenant]
	if t == nil {
		t = &tenantQueue{name: it.tenant}
		l.tenants[it.tenant] = t
	}
	t.push(it)
	if !t.listed {
		t.listed = true
		l.active = append(l.active, t)
	}
	l.waiting++
	s.mu.Unlock()
	s.notify()
}

// next takes the item whose turn it is, or nil when none may run now.
func (s *scheduler) next() *item {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running >= s.limit {
		return nil
	}
	// Two rounds: the first may end with every ready lane out of credit.
	for range 2 * len(s.lanes) {
		l := s.lanes[s.turn]
		if l.credit > 0 && !l.held && l.running < s.limit-(s.reserved-l.reserve) {
			if it := l.pop(); it != nil {
				l.credit--
				l.running++
				s.running++
				return it
			}
		}
		l.credit = 0
		s.turn = (s.turn + 1) % len(s.lanes)
		s.lanes[s.turn].credit = s.lanes[s.turn].weight
	}
	return nil
}

// pop takes the next item of the lane's tenants in turn.
func (l *laneQueue) pop() *item {
	for range len(l.active) {
		t := l.active[0]
		l.active = l.active[1:]
		if t.running >= l.perTen {
			l.active = append(l.active, t)
			continue
		}
		it := t.items[t.head]
		t.items[t.head] = nil
		t.head++
		l.waiting--
		t.running++
		if t.head == len(t.items) {
			t.items, t.head, t.listed = t.items[:0], 0, false
		} else {
			l.active = append(l.active, t)
		}
		return it
	}
	return nil
}

// done gives back the place of an item that next handed out.
func (s *scheduler) done(it *item) {
	s.mu.Lock()
	l := s.lanes[it.lane]
	l.running--
	s.running--
	if t := l.tenants[it.tenant]; t != nil {
		t.running--
		if t.running == 0 && !t.listed {
			delete(l.tenants, it.tenant)
		}
	}
	s.mu.Unlock()
	s.notify()
}

// setLimit changes how many items may be in flight.
func (s *scheduler) setLimit(n int) {
	s.mu.Lock()
	more := n > s.limit
	s.limit = n
	s.mu.Unlock()
	if more {
		s.notify()
	}
}

// hold stops or resumes handing out a lane's items.
func (s *scheduler) hold(lane int, held bool) {
	s.mu.Lock()
	changed := s.lanes[lane].held != held
	s.lanes[lane].held = held
	s.mu.Unlock()
	if changed && !held {
		s.notify()
	}
}

func (s *scheduler) currentLimit() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limit
}

func (s *scheduler) inFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// drop removes the waiting items for which f is true, and returns them.
func (s *scheduler) drop(f func(*item) bool) []*item {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*item
	for _, l := range s.lanes {
		active := l.active[:0]
		for _, t := range l.active {
			keep := t.items[:0]
			for _, it := range t.items[t.head:] {
				if f(it) {
					out = append(out, it)
					l.waiting--
				} else {
					keep = append(keep, it)
				}
			}
			clear(t.items[len(keep):])
			t.items, t.head = keep, 0
			if t.listed = len(keep) > 0; t.listed {
				active = append(active, t)
			} else if t.running == 0 {
				delete(l.tenants, t.name)
			}
		}
		clear(l.active[len(active):])
		l.active = active
	}
	return out
}

// counts returns how many items of a lane wait, and how many run.
func (s *scheduler) counts(lane int) (waiting, running int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lanes[lane].waiting, s.lanes[lane].running
}

func (s *scheduler) notify() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

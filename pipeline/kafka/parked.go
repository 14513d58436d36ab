package kafka

import (
	"sync"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// parked are the requests of the retry topics that wait for their time, by tenant and
// id. Batches are not among them: what they are made of is not in their records.
type parked struct {
	mu    sync.Mutex
	items map[requestName][]*item
}

type requestName struct{ tenant, id string }

// park has an item wait for its time. A request that is cancelled is not waited with.
func (e *Engine) park(it *item, wait time.Duration) {
	name := requestName{it.rec.header(schemas.HeaderTenant), it.rec.header(schemas.HeaderID)}
	if name.id == "" || e.cfg.Cancelled == nil {
		it.timer = time.AfterFunc(wait, func() { e.enqueue(it) })
		return
	}
	e.parked.mu.Lock()
	e.parked.items[name] = append(e.parked.items[name], it)
	it.timer = time.AfterFunc(wait, func() {
		e.parked.leave(name, it)
		e.enqueue(it)
	})
	e.parked.mu.Unlock()
	// Only now: one that is cancelled in between is found by Hurry.
	if e.cfg.Cancelled(name.tenant, name.id, time.UnixMilli(it.rec.number(headerCreated))) {
		e.Hurry(name.tenant, name.id)
	}
}

// leave takes out an item.
func (p *parked) leave(name requestName, it *item) {
	p.mu.Lock()
	defer p.mu.Unlock()
	rest := p.items[name][:0]
	for _, other := range p.items[name] {
		if other != it {
			rest = append(rest, other)
		}
	}
	if len(rest) == 0 {
		delete(p.items, name)
		return
	}
	p.items[name] = rest
}

// Hurry has the requests of a name that wait for a later round taken up now: what is
// known of them has changed.
func (e *Engine) Hurry(tenant, id string) {
	name := requestName{tenant, id}
	e.parked.mu.Lock()
	var due []*item
	for _, it := range e.parked.items[name] {
		if it.timer.Stop() { // else it is on its way
			due = append(due, it)
		}
	}
	delete(e.parked.items, name)
	e.parked.mu.Unlock()
	for _, it := range due {
		e.enqueue(it)
	}
}

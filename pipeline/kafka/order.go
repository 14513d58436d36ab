package kafka

// chain returns which of the fresh items may run now. With keyed order an item
// waits behind the ones of its key that are not finished. The tracker's lock is
// held.
func (t *tracker) chain(fresh []*item) []*item {
	ready := fresh[:0]
	for _, it := range fresh {
		if it.key == "" {
			ready = append(ready, it)
			continue
		}
		waiting, busy := t.chains[it.key]
		if !busy {
			t.chains[it.key] = nil
			ready = append(ready, it)
			continue
		}
		t.chains[it.key] = append(waiting, it)
	}
	return ready
}

// unchain returns the item that may run after it, or nil. The tracker's lock is
// held.
func (t *tracker) unchain(it *item) *item {
	if it.key == "" {
		return nil
	}
	waiting := t.chains[it.key]
	if len(waiting) == 0 || t.closing {
		delete(t.chains, it.key)
		return nil
	}
	t.chains[it.key] = waiting[1:]
	return waiting[0]
}

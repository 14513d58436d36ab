package avro

import (
	"context"
	"sync"
)

// flights lets callers that want the same thing at once share one attempt. The
// first caller does the work in its own goroutine and under its own context,
// so nothing is left running when everyone has gone. If the first caller gives
// up, one of the others takes over.
type flights[K comparable, V any] struct {
	mu   sync.Mutex
	open map[K]*flight[V]
}

type flight[V any] struct {
	landed    chan struct{}
	value     V
	err       error
	abandoned bool // the caller that did the work ran out of its own time
}

func (f *flights[K, V]) do(ctx context.Context, key K, work func() (V, error)) (V, error) {
	for {
		mine, other := f.board(key)
		if other == nil {
			return f.fly(ctx, key, mine, work)
		}
		select {
		case <-ctx.Done():
			var none V
			return none, ctx.Err()
		case <-other.landed:
		}
		if !other.abandoned {
			return other.value, other.err
		}
	}
}

// board returns a new flight for the caller to do the work of, or another
// caller's to wait for.
func (f *flights[K, V]) board(key K) (mine, other *flight[V]) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other = f.open[key]; other != nil {
		return nil, other
	}
	if f.open == nil {
		f.open = make(map[K]*flight[V])
	}
	mine = &flight[V]{landed: make(chan struct{}), abandoned: true}
	f.open[key] = mine
	return mine, nil
}

func (f *flights[K, V]) fly(ctx context.Context, key K, mine *flight[V], work func() (V, error)) (V, error) {
	defer func() {
		f.mu.Lock()
		delete(f.open, key)
		f.mu.Unlock()
		close(mine.landed)
	}()
	mine.value, mine.err = work()
	mine.abandoned = mine.err != nil && ctx.Err() != nil
	return mine.value, mine.err
}

package budget

import (
	"math/bits"
	"sync"

	"github.com/shopspring/decimal"
)

// Key says which past calls a call is like.
type Key struct {
	Key      string // tenant and API key
	Model    string
	Route    string
	Currency string // of the amounts
}

// Estimator learns what calls cost, and says how much to reserve for the next: the
// 95th percentile of calls of the same key, model and route or, until there are
// enough, of the same model and route, or of the model. It forgets: the newest
// thousands of calls count most. The zero value has learned nothing. It is safe for
// concurrent use.
type Estimator struct {
	mu   sync.Mutex
	seen map[Key]*histogram
}

const (
	enough  = 20      // calls make a percentile
	memory  = 4096    // calls, then all counts are halved
	maxKeys = 100_000 // then keys that are new are only learned by model
	// percentile of past calls that a reservation covers, in percent.
	percentile = 95
	// unitPlaces is the resolution of a histogram: 10^-9 of a currency.
	unitPlaces = 9
	// subBuckets divide each power of two; an edge is at most 1/8 above.
	subBuckets = 8
)

// histogram counts calls in buckets of amounts, in integers.
type histogram struct {
	counts [64 * subBuckets]uint32
	total  uint32
}

// Learn takes in what a call cost.
func (e *Estimator) Learn(k Key, cost decimal.Decimal) {
	n := bucket(cost)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.seen == nil {
		e.seen = make(map[Key]*histogram)
	}
	for _, k := range wider(k) {
		h := e.seen[k]
		if h == nil {
			if len(e.seen) >= maxKeys && k.Key != "" {
				continue
			}
			h = new(histogram)
			e.seen[k] = h
		}
		h.add(n)
	}
}

// Estimate returns how much to reserve, which is first for calls that nothing is
// known about.
func (e *Estimator) Estimate(k Key, first decimal.Decimal) decimal.Decimal {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, k := range wider(k) {
		if h := e.seen[k]; h != nil && h.total >= enough {
			return h.percentile()
		}
	}
	return first
}

// wider returns a key and the ones that hold more calls, each once.
func wider(k Key) []Key {
	out := []Key{k}
	for _, w := range []Key{{Model: k.Model, Route: k.Route, Currency: k.Currency}, {Model: k.Model, Currency: k.Currency}} {
		if w != out[len(out)-1] {
			out = append(out, w)
		}
	}
	return out
}

// bucket returns the bucket of an amount: its highest bit and the three below it.
func bucket(cost decimal.Decimal) int {
	units := cost.Shift(unitPlaces).Ceil()
	if !units.IsPositive() {
		return 0
	}
	n := uint64(1)<<62 - 1
	if i := units.BigInt(); i.IsUint64() {
		n = min(n, i.Uint64())
	}
	exp := bits.Len64(n) - 1
	return exp*subBuckets + int(n<<3>>exp&(subBuckets-1))
}

// edge returns the largest amount of a bucket.
func edge(bucket int) decimal.Decimal {
	exp, part := bucket/subBuckets, uint64(bucket%subBuckets)
	upper := (subBuckets+part+1)<<exp/subBuckets - 1
	return decimal.New(int64(max(upper, 1)), -unitPlaces)
}

func (h *histogram) add(bucket int) {
	h.counts[bucket]++
	if h.total++; h.total < memory {
		return
	}
	h.total = 0
	for i := range h.counts {
		h.counts[i] /= 2
		h.total += h.counts[i]
	}
}

func (h *histogram) percentile() decimal.Decimal {
	var below uint32
	for i, n := range h.counts {
		if below += n; uint64(below)*100 >= uint64(h.total)*percentile {
			return edge(i)
		}
	}
	return edge(len(h.counts) - 1)
}

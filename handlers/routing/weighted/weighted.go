// Package weighted spreads requests over targets by weight.
package weighted

import (
	"math"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this strategy as kind "weighted".
var Entry routing.Entry = catalog.Define("weighted", Config{}, New)

// Config chooses among the possible distributions.
type Config struct {
	// Seed makes two routes, or two days, distribute the same requests differently.
	Seed uint64 `json:"seed,omitempty"`
}

// drawn is how many places of a ranking are drawn. A request is tried at fewer
// targets than that; those after keep the given order.
const drawn = 8

// New returns a strategy that draws an order for each request by weighted
// rendezvous hashing: target i scores w_i / -ln(u_i), where u_i in (0, 1) is a
// hash of the seed, the request's id and the target, and the highest score comes
// first. A target is first with probability w_i / Σw, and next among the rest
// likewise (Efraimidis and Spirakis 2006, algorithm A-Res). The same request is
// always given the same order, in every worker, and a new target moves only the
// requests that it takes over. Targets of weight 0 come last, in the given order,
// and so do those after the 8th place.
func New(c Config, _ catalog.Env) (routing.Strategy, error) { return &strategy{seed: c.Seed}, nil }

type strategy struct{ seed uint64 }

// Rank implements routing.Strategy.
func (s *strategy) Rank(q *routing.Query, c []routing.Candidate) []routing.Candidate {
	var room [drawn]int
	lead(c, s.Choose(q, c, room[:0]))
	return c
}

// Choose implements routing.Chooser. Of many candidates it first finds those that may
// be among the first.
func (s *strategy) Choose(q *routing.Query, c []routing.Candidate, first []int) []int {
	h := xxhash.Sum64String(q.Request.ID) ^ s.seed
	if len(c) > 2*drawn {
		if found, ok := chooseNear(h, c, first); ok {
			return found
		}
	}
	b := board{places: first, from: len(first)}
	for i := range c {
		b.offer(h, &c[i], i)
	}
	return b.places
}

// near is how many candidates are looked at closely, about: so many that hardly ever
// fewer than drawn are among them. room is for those that are more.
const (
	near = 14
	room = 64
)

// chooseNear is Choose by candidates that score Σw/near or more, which need no
// logarithm to be found: w / -ln(1-v) is at most w/v. It reports false where those
// may not be all that come first.
func chooseNear(h uint64, c []routing.Candidate, first []int) ([]int, bool) {
	sum := 0
	for i := range c {
		sum += max(c[i].Weight, 0)
	}
	if sum <= near {
		return nil, false
	}
	limit := 1 << 63 / uint64(sum) * near
	var may [room]int
	n := 0
	for i := range c {
		may[n%room] = i // kept if the next is written elsewhere
		if low, _ := bits.Mul64(^routing.Mix(h^c[i].Draw()), c[i].Lightness()); low < limit {
			n++
		}
	}
	if n >= room {
		return nil, false
	}
	b := board{places: first, from: len(first)}
	for _, i := range may[:n] {
		b.offer(h, &c[i], i)
	}
	// A hair's breadth for what the divisions lost.
	return b.places, len(b.places)-b.from == drawn && b.limit*near > float64(sum)*(1+1e-6)
}

// board is the highest scores so far.
type board struct {
	scores [drawn]float64
	places []int // of candidates, from the one at from
	from   int
	limit  float64 // lower scores have no place
}

// offer gives the i-th candidate the place that it deserves. Of equals the first is
// before the others.
func (b *board) offer(h uint64, c *routing.Candidate, i int) {
	score := score(routing.Mix(h^c.Draw()), c.Weight, b.limit)
	if score <= b.limit {
		return
	}
	n := len(b.places) - b.from
	if n < drawn {
		b.places = append(b.places, 0)
	} else {
		n--
	}
	places := b.places[b.from:]
	for ; n > 0 && score > b.scores[n-1]; n-- {
		b.scores[n], places[n] = b.scores[n-1], places[n-1]
	}
	b.scores[n], places[n] = score, i
	if len(places) == drawn {
		b.limit = b.scores[drawn-1]
	}
}

// lead puts those at the given places before the others, which keep their order.
func lead(c []routing.Candidate, places []int) {
	var ones [drawn]routing.Candidate
	last := -1
	for i, at := range places {
		ones[i] = c[at]
		last = max(last, at)
	}
	to := last
	for from := last; from >= 0; from-- {
		if !slices.Contains(places, from) {
			c[to] = c[from]
			to--
		}
	}
	copy(c, ones[:len(places)])
}

// score returns w / -ln(u), or 0 where that is not above limit: -ln(u) is at
// least 2(1-u)/(1+u), which saves most of the logarithms.
func score(h uint64, weight int, limit float64) float64 {
	if weight <= 0 {
		return 0
	}
	u, w := routing.Uniform(h), float64(weight)
	if w*(1+u) <= limit*2*(1-u) {
		return 0
	}
	return w / -math.Log(u)
}

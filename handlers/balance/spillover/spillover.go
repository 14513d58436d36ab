// Package spillover keeps calls at the nearest endpoints of the first priority
// and lets as many spill over to the next as those can't take.
package spillover

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this balancer as kind "spillover".
var Entry balance.Entry = catalog.Define("spillover", Config{Overprovision: 140, Seed: 1}, New)

// Config says when a level is full.
type Config struct {
	// Overprovision is how much, in percent of its usable weight, a level can
	// take: at 140 nothing spills over until less than 72 % of a level is usable.
	Overprovision int64 `json:"overprovision,omitempty"`
	// MaxInFlight is how many calls in flight an endpoint takes for each unit of
	// its weight before it counts as unusable, if another level can take them; 0:
	// any number.
	MaxInFlight int64 `json:"max_in_flight,omitempty"`
	// Seed of the draws.
	Seed uint64 `json:"seed,omitempty"`
}

// Validate reports what is wrong with c.
func (c *Config) Validate() error {
	if c.Overprovision < 100 || c.Overprovision > 1000 {
		return fmt.Errorf("overprovision is %d: write a percentage from 100 to 1000, such as 140", c.Overprovision)
	}
	if c.MaxInFlight < 0 {
		return fmt.Errorf("max_in_flight is %d: write how many calls fill an endpoint of weight 1, or 0 for no bound", c.MaxInFlight)
	}
	return nil
}

// New returns the balancer. Endpoints of one priority and distance are a level;
// lower priorities come first, and within one the near before the far. A level
// takes as many percent of the calls as Overprovision times the share of its
// weight that is usable and not full, at most what the levels before it left;
// where all together take less than 100, their parts grow in proportion (Envoy's
// priority levels). Within a level the endpoint with the fewest calls in flight
// for its weight is picked.
func New(c Config, _ catalog.Env) (balance.Balancer, error) {
	b := &balancer{config: c, draws: balance.NewDraws(c.Seed)}
	b.levels.Store(newLevels(nil))
	return b, nil
}

type balancer struct {
	config Config
	draws  *balance.Draws
	levels atomic.Pointer[levels]
}

// levels is the levels of a set of endpoints. It does not change.
type levels struct {
	of      []uint8 // level by endpoint index, below maxLevels
	region  []int32 // likewise; from 1
	regions []region
	n       int
}

// region is what there is of a region, usable or not. The first is all of them.
type region struct {
	endpoints int
	weight    [maxLevels]int64
}

// maxLevels is how many levels are told apart; those beyond are one.
const maxLevels = 16

func newLevels(endpoints []*balance.Endpoint) *levels {
	ranks := make([]rank, 0, len(endpoints))
	size := 0
	for _, e := range endpoints {
		ranks = append(ranks, rankOf(e))
		size = max(size, e.Index()+1)
	}
	slices.SortFunc(ranks, func(a, b rank) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.distance, b.distance))
	})
	ranks = slices.Compact(ranks)
	l := &levels{of: make([]uint8, size), region: make([]int32, size), regions: make([]region, 1), n: max(min(len(ranks), maxLevels), 1)}
	numbers := map[string]int32{}
	for _, e := range endpoints {
		at := numbers[e.Region]
		if at == 0 {
			at = int32(len(l.regions))
			numbers[e.Region] = at
			l.regions = append(l.regions, region{})
		}
		level := min(slices.Index(ranks, rankOf(e)), maxLevels-1)
		l.of[e.Index()], l.region[e.Index()] = uint8(level), at
		for _, r := range [...]int32{0, at} {
			l.regions[r].endpoints++
			l.regions[r].weight[level] += e.FullWeight()
		}
	}
	return l
}

type rank struct{ priority, distance int }

func rankOf(e *balance.Endpoint) rank { return rank{e.Priority, e.Distance()} }

// within returns the region that all endpoints are of, or that of all.
func (l *levels) within(endpoints []*balance.Endpoint) *region {
	if len(l.regions) <= 2 {
		return &l.regions[0]
	}
	in := l.regionOf(endpoints[0])
	if len(endpoints) > l.regions[in].endpoints {
		return &l.regions[0]
	}
	for _, e := range endpoints {
		if l.regionOf(e) != in {
			return &l.regions[0]
		}
	}
	return &l.regions[in]
}

// regionOf returns the number of e's region, 0 where it is not known yet.
func (l *levels) regionOf(e *balance.Endpoint) int32 {
	if i := e.Index(); i < len(l.region) {
		return l.region[i]
	}
	return 0
}

// Watch learns of all endpoints, to know what share of a level is usable.
func (b *balancer) Watch(endpoints []*balance.Endpoint) { b.levels.Store(newLevels(endpoints)) }

func (b *balancer) Pick(_ uint64, endpoints []*balance.Endpoint) *balance.Endpoint {
	if len(endpoints) == 1 {
		return endpoints[0]
	}
	l := b.levels.Load()
	draw := b.draws.Next()
	if l.n == 1 && b.config.MaxInFlight == 0 {
		return least(endpoints, draw)
	}
	for _, bound := range [...]int64{b.config.MaxInFlight, 0} {
		if e := b.draw(l, endpoints, bound, draw); e != nil {
			return e
		}
	}
	return endpoints[0]
}

// whole is all calls, in hundredths of a percent.
const whole = 10_000

// draw asks level after level until one has the call among those that it can take. It
// returns nil where none can take anything.
func (b *balancer) draw(l *levels, endpoints []*balance.Endpoint, bound int64, draw uint64) *balance.Endpoint {
	var (
		parts [maxLevels]int64
		best  [maxLevels]*balance.Endpoint
	)
	mark, taken := int64(draw%whole), int64(0)
	all := l.within(endpoints)
	for i := range l.n {
		e, free := l.survey(endpoints, uint8(i), bound, draw)
		if e == nil {
			continue
		}
		can := free * b.config.Overprovision * (whole / 100) / max(all.weight[i], free)
		parts[i], best[i] = min(max(can, 1), whole-taken), e
		if taken += parts[i]; mark < taken {
			return e
		}
	}
	if taken == 0 {
		return nil
	}
	// They take less than the whole, so that the calls beyond are drawn in proportion.
	at, i := int64(balance.Mix(draw)%uint64(taken)), 0
	for ; at >= parts[i]; i++ {
		at -= parts[i]
	}
	return best[i]
}

// survey returns the least loaded endpoint of a level among those that can take a call,
// or nil where none can, and their weight together. The draw says where it begins, so
// that equals take turns. An endpoint that is not known yet is of the first level.
func (l *levels) survey(endpoints []*balance.Endpoint, level uint8, bound int64, draw uint64) (best *balance.Endpoint, free int64) {
	var load, weight int64
	from := draw >> 32 % uint64(len(endpoints))
	for _, part := range [...][]*balance.Endpoint{endpoints[from:], endpoints[:from]} {
		for _, e := range part {
			of := uint8(0)
			if i := e.Index(); i < len(l.of) {
				of = l.of[i]
			}
			if of != level || bound > 0 && full(e, bound) {
				continue
			}
			f, w := e.InFlight(), e.LiveWeight()
			free += w
			if best == nil || f*weight < load*w {
				best, load, weight = e, f, w
			}
		}
	}
	return best, free
}

func full(e *balance.Endpoint, bound int64) bool { return e.InFlight() >= bound*int64(e.Weight()) }

// least returns the endpoint with the fewest calls in flight for its weight. The
// draw says where the search begins, so that equals take turns.
func least(endpoints []*balance.Endpoint, draw uint64) *balance.Endpoint {
	from := int(draw >> 32 % uint64(len(endpoints)))
	best := endpoints[from]
	load, weight := best.InFlight(), best.LiveWeight()
	for _, part := range [...][]*balance.Endpoint{endpoints[from+1:], endpoints[:from]} {
		for _, e := range part {
			if f, w := e.InFlight(), e.LiveWeight(); f*weight < load*w {
				best, load, weight = e, f, w
			}
		}
	}
	return best
}

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
	places  []place // by endpoint index
	regions []total // by region; 0 is all of them
	n       int
}

// place is where an endpoint belongs.
type place struct {
	level  uint32 // below maxLevels
	region int32
}

// total is the weight of each level, usable or not.
type total [maxLevels]int64

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
	l := &levels{places: make([]place, size), regions: make([]total, 1), n: len(ranks)}
	numbers := map[string]int32{}
	for _, e := range endpoints {
		at := place{level: uint32(min(slices.Index(ranks, rankOf(e)), maxLevels-1)), region: numbers[e.Region]}
		if at.region == 0 {
			at.region = int32(len(l.regions))
			numbers[e.Region] = at.region
			l.regions = append(l.regions, total{})
		}
		l.places[e.Index()] = at
		l.regions[0][at.level] += e.FullWeight()
		l.regions[at.region][at.level] += e.FullWeight()
	}
	return l
}

type rank struct{ priority, distance int }

func rankOf(e *balance.Endpoint) rank { return rank{e.Priority, e.Distance()} }

// place returns that of e; an endpoint that is not known yet is of the first
// level.
func (l *levels) place(e *balance.Endpoint) place {
	if i := e.Index(); i < len(l.places) {
		return l.places[i]
	}
	return place{}
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
		v := l.survey(endpoints, bound, draw)
		if level := b.choose(&v.free, v.all, draw); level >= 0 {
			return endpoints[v.best[level]]
		}
	}
	return endpoints[0]
}

func full(e *balance.Endpoint, bound int64) bool {
	return bound > 0 && e.InFlight() >= bound*int64(e.Weight())
}

// view is what the levels look like now.
type view struct {
	free total            // weight that can take a call
	all  *total           // the whole: that of the region, where all endpoints are of one
	best [maxLevels]int32 // of those that can take a call, the least loaded
}

// survey looks at all endpoints once. The draw says where it begins, so that
// equals take turns.
func (l *levels) survey(endpoints []*balance.Endpoint, bound int64, draw uint64) view {
	var (
		v            view
		load, weight [maxLevels]int64
	)
	region := l.place(endpoints[0]).region
	at := int(draw >> 32 % uint64(len(endpoints)))
	for range endpoints {
		if at++; at >= len(endpoints) {
			at = 0
		}
		e := endpoints[at]
		p := l.place(e)
		if p.region != region {
			region = 0
		}
		if full(e, bound) {
			continue
		}
		f, w, i := e.InFlight(), e.LiveWeight(), p.level%maxLevels
		v.free[i] += w
		if weight[i] == 0 || f*weight[i] < load[i]*w {
			v.best[i], load[i], weight[i] = int32(at), f, w
		}
	}
	v.all = &l.regions[region]
	return v
}

// choose draws a level by what each can take, or returns -1 where none can take
// anything.
func (b *balancer) choose(free, all *total, draw uint64) int {
	const whole = 10_000
	var parts total
	left := int64(whole)
	for i, f := range free {
		if f == 0 {
			continue
		}
		can := f * b.config.Overprovision * (whole / 100) / max(all[i], f)
		parts[i] = min(max(can, 1), left)
		left -= parts[i]
	}
	if left == whole {
		return -1
	}
	at := int64(draw % uint64(whole-left))
	for i, part := range parts {
		if at -= part; at < 0 {
			return i
		}
	}
	return -1
}

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

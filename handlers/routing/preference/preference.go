// Package preference ranks targets by what a tenant, a user or a request prefers,
// avoids and requires.
package preference

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// Entry offers this strategy as kind "preference".
var Entry routing.Entry = catalog.Define("preference", Config{Output: 512}, New)

// Config holds preferences from the general to the special. Of each kind of wish
// the most special that there is counts: the request's, else the user's, else the
// tenant's, else the general one.
type Config struct {
	Wishes
	Tenants map[string]Wishes `json:"tenants,omitempty"`
	Users   map[string]Wishes `json:"users,omitempty"` // by the label user
	// Labels lets requests wish by their labels prefer, avoid, require (selectors
	// with commas) and optimise.
	Labels bool `json:"labels,omitempty"`
	Output int  `json:"output,omitempty"` // tokens of the answer to reckon prices with; 512
}

// Wishes are selectors of targets (see [routing.Selector]) and a goal.
type Wishes struct {
	Require  []string `json:"require,omitempty"`  // only these
	Prefer   []string `json:"prefer,omitempty"`   // these first, in this order
	Avoid    []string `json:"avoid,omitempty"`    // these last
	Optimise string   `json:"optimise,omitempty"` // price, speed or both; among targets that are equally preferred
}

// Goals of Wishes.Optimise.
const (
	Price = "price"
	Speed = "speed"
	Both  = "both"
)

// Validate reports what is wrong with c.
func (c *Config) Validate() error {
	if c.Output < 0 {
		return fmt.Errorf("output: %d is negative; write the tokens of a usual answer, such as 512", c.Output)
	}
	if _, err := c.read(); err != nil {
		return err
	}
	for name, w := range c.Tenants {
		if _, err := w.read(); err != nil {
			return fmt.Errorf("tenants.%s: %w", name, err)
		}
	}
	for name, w := range c.Users {
		if _, err := w.read(); err != nil {
			return fmt.Errorf("users.%s: %w", name, err)
		}
	}
	return nil
}

// wishes are Wishes made ready. A nil list is no wish.
type wishes struct {
	require, prefer, avoid []routing.Selector
	optimise               string
}

func (w Wishes) read() (out wishes, err error) {
	if out.require, err = routing.ParseSelectors("require", w.Require); err != nil {
		return out, err
	}
	if out.prefer, err = routing.ParseSelectors("prefer", w.Prefer); err != nil {
		return out, err
	}
	if out.avoid, err = routing.ParseSelectors("avoid", w.Avoid); err != nil {
		return out, err
	}
	switch out.optimise = w.Optimise; out.optimise {
	case "", Price, Speed, Both:
		return out, nil
	}
	return out, fmt.Errorf("optimise: %q is not one of price, speed, both", w.Optimise)
}

// over returns w with the wishes of special in place of its own.
func (w wishes) over(special wishes) wishes {
	if special.require != nil {
		w.require = special.require
	}
	if special.prefer != nil {
		w.prefer = special.prefer
	}
	if special.avoid != nil {
		w.avoid = special.avoid
	}
	if special.optimise != "" {
		w.optimise = special.optimise
	}
	return w
}

// New returns the strategy.
func New(c Config, _ catalog.Env) (routing.Strategy, error) {
	s := &strategy{tenants: make(map[string]wishes), users: make(map[string]wishes), labels: c.Labels, output: c.Output}
	var err error
	if s.general, err = c.read(); err != nil {
		return nil, err
	}
	for name, w := range c.Tenants {
		if s.tenants[name], err = w.read(); err != nil {
			return nil, fmt.Errorf("tenants.%s: %w", name, err)
		}
	}
	for name, w := range c.Users {
		if s.users[name], err = w.read(); err != nil {
			return nil, fmt.Errorf("users.%s: %w", name, err)
		}
	}
	if s.computed() {
		return s, nil
	}
	return &plain{strategy: s}, nil
}

type strategy struct {
	general        wishes
	tenants, users map[string]wishes
	labels         bool
	output         int
}

// computed reports whether an order may depend on more than who asks.
func (s *strategy) computed() bool {
	computed := func(w wishes) bool { return w.require != nil || w.optimise != "" }
	all := slices.Concat([]wishes{s.general}, slices.Collect(maps.Values(s.tenants)), slices.Collect(maps.Values(s.users)))
	return s.labels || slices.ContainsFunc(all, computed)
}

// of returns what is wished for a request.
func (s *strategy) of(req *schemas.Request) wishes {
	w := s.general
	if own, ok := s.tenants[req.Tenant]; ok {
		w = w.over(own)
	}
	if own, ok := s.users[req.Labels["user"]]; ok {
		w = w.over(own)
	}
	if s.labels {
		w = w.over(asked(req.Labels))
	}
	return w
}

// Rank implements routing.Strategy.
func (s *strategy) Rank(q *routing.Query, c []routing.Candidate) []routing.Candidate {
	w := s.of(q.Request)
	if w.require != nil {
		c = routing.Keep(q, c, func(c *routing.Candidate) string {
			if routing.MatchAny(w.require, &c.Target) < 0 {
				return "another target is required"
			}
			return ""
		})
	}
	switch w.optimise {
	case Price:
		routing.ByPrice(q, c, q.Usage(s.output))
	case Speed:
		routing.BySpeed(q, c, false)
	case Both:
		routing.ByTradeOff(q, c, q.Usage(s.output), routing.TradeOff{Price: 1, Speed: 1, Failures: 1})
	}
	for i := range c {
		var note string
		if c[i].Score, note = w.score(&c[i]); note != "" {
			q.Note(&c[i], note)
		}
	}
	routing.ByScore(c)
	return c
}

// score returns how much a candidate is wished for, and what to note of it.
func (w *wishes) score(c *routing.Candidate) (score float64, note string) {
	if at := routing.MatchAny(w.prefer, &c.Target); at >= 0 {
		return float64(len(w.prefer) - at), "preferred"
	}
	if routing.MatchAny(w.avoid, &c.Target) >= 0 {
		return -1, "avoided"
	}
	return 0, ""
}

// plain is a strategy whose order depends on tenant and user alone.
type plain struct {
	*strategy

	prepared routing.Prepared[orders]
}

// orders are what becomes of a list, by whose wishes count.
type orders struct{ known sync.Map } // *order by wanted

// wanted stands for wishes, by the addresses of their lists, which never change.
type wanted struct{ prefer, avoid *routing.Selector }

func address(list []routing.Selector) *routing.Selector {
	if len(list) == 0 {
		return nil
	}
	return &list[0]
}

// order is the places of candidates, best first, and what to note of them.
type order struct {
	places []int
	notes  []string // by candidate
}

// Choose implements routing.Chooser.
func (s *plain) Choose(q *routing.Query, c []routing.Candidate, first []int) []int {
	w := s.of(q.Request)
	all := s.prepared.Of(c, func([]routing.Candidate) *orders { return new(orders) })
	key := wanted{address(w.prefer), address(w.avoid)}
	known, ok := all.known.Load(key)
	if !ok {
		known, _ = all.known.LoadOrStore(key, w.order(c))
	}
	o := known.(*order)
	for i, note := range o.notes {
		if note != "" {
			q.Note(&c[i], note)
		}
	}
	return append(first, o.places[:min(len(o.places), routing.HandedOn+1)]...)
}

func (w *wishes) order(c []routing.Candidate) *order {
	o := &order{notes: make([]string, len(c)), places: make([]int, len(c))}
	scores := make([]float64, len(c))
	for i := range c {
		scores[i], o.notes[i] = w.score(&c[i])
		o.places[i] = i
	}
	slices.SortStableFunc(o.places, func(a, b int) int { return cmp.Compare(scores[b], scores[a]) })
	return o
}

// asked reads the wishes of a request. What is not readable is no wish, but a
// requirement that is not readable can't be met.
func asked(labels map[string]string) wishes {
	var w wishes
	w.require, w.prefer, w.avoid = selectors(labels["require"]), selectors(labels["prefer"]), selectors(labels["avoid"])
	if labels["require"] != "" && w.require == nil {
		w.require = []routing.Selector{}
	}
	switch o := labels["optimise"]; o {
	case Price, Speed, Both:
		w.optimise = o
	}
	return w
}

func selectors(text string) []routing.Selector {
	var out []routing.Selector
	for part := range strings.SplitSeq(text, ",") {
		if s, err := routing.ParseSelector(strings.TrimSpace(part)); err == nil {
			out = append(out, s)
		}
	}
	return out
}

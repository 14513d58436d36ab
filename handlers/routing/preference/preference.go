// Package preference ranks targets by what a tenant, a user or a request prefers,
// avoids and requires.
package preference

import (
	"fmt"
	"strings"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/catalog"
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
	return s, nil
}

type strategy struct {
	general        wishes
	tenants, users map[string]wishes
	labels         bool
	output         int
}

// Rank implements routing.Strategy.
func (s *strategy) Rank(q *routing.Query, c []routing.Candidate) []routing.Candidate {
	w := s.general
	if own, ok := s.tenants[q.Request.Tenant]; ok {
		w = w.over(own)
	}
	if own, ok := s.users[q.Request.Labels["user"]]; ok {
		w = w.over(own)
	}
	if s.labels {
		w = w.over(asked(q.Request.Labels))
	}
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
		c[i].Score = 0
		if at := routing.MatchAny(w.prefer, &c[i].Target); at >= 0 {
			c[i].Score = float64(len(w.prefer) - at)
			q.Note(&c[i], "preferred")
		} else if routing.MatchAny(w.avoid, &c[i].Target) >= 0 {
			c[i].Score = -1
			q.Note(&c[i], "avoided")
		}
	}
	routing.ByScore(c)
	return c
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

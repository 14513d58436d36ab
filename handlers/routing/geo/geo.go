// Package geo ranks targets by where a request comes from, and leaves out those
// that its origin may not be sent to.
package geo

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this strategy as kind "geo".
var Entry routing.Entry = catalog.Define("geo", Config{Origin: "labels.region"}, New)

// Config says where requests come from and what is near. In both maps the keys
// are origins and the values regions; each may end in * for any rest, and of
// several keys that fit the longest counts.
type Config struct {
	Origin    string              `json:"origin,omitempty"`    // an expression of type string; labels.region
	Near      map[string][]string `json:"near,omitempty"`      // regions by origin, nearest first; empty: by the names, see New
	Residency map[string][]string `json:"residency,omitempty"` // the only regions that may see requests of an origin
	Measured  bool                `json:"measured,omitempty"`  // among targets that are equally near the fastest is first
}

// Validate reports what is wrong with c.
func (c *Config) Validate() error {
	if _, err := routing.CompileText(c.Origin); err != nil {
		return fmt.Errorf("origin: %w", err)
	}
	for name, rules := range map[string]map[string][]string{"near": c.Near, "residency": c.Residency} {
		for origin, regions := range rules {
			if origin == "" || len(regions) == 0 {
				return fmt.Errorf("%s: %q names no region: write an origin and a list of regions, such as eu: [eu-*]", name, origin)
			}
			if slices.Contains(regions, "") {
				return errors.New(name + ": a region is empty: write its name, or its beginning and *")
			}
		}
	}
	return nil
}

// New returns the strategy. A residency leaves out every target in another region
// and every target whose region is not known; as the strategy is asked about the
// targets of fallback models too, it holds for them as well. A request from an
// origin without a residency may go anywhere: an entry for "*" is for all others.
//
// Then the nearest is first: in the order of near or, where that has no entry for
// the origin, the same region before regions of the same first part (eu of
// eu-west-1) before the rest.
func New(c Config, _ catalog.Env) (routing.Strategy, error) {
	origin, err := routing.CompileText(c.Origin)
	if err != nil {
		return nil, fmt.Errorf("origin: %w", err)
	}
	s := &strategy{origin: origin, near: sorted(c.Near), residency: sorted(c.Residency), measured: c.Measured}
	if len(c.Residency) > 0 || c.Measured {
		return s, nil
	}
	return &open{strategy: s}, nil
}

type strategy struct {
	origin          *routing.Text
	near, residency []entry
	measured        bool
}

type entry struct {
	origin  string
	regions []string
}

// sorted returns entries so that the first that fits is the longest.
func sorted(rules map[string][]string) []entry {
	out := make([]entry, 0, len(rules))
	for origin, regions := range rules {
		out = append(out, entry{origin, regions})
	}
	slices.SortFunc(out, func(a, b entry) int {
		if d := len(b.origin) - len(a.origin); d != 0 {
			return d
		}
		return strings.Compare(a.origin, b.origin)
	})
	return out
}

// find returns the regions for an origin. An unknown origin fits "*" alone.
func find(list []entry, origin string) []string {
	for i := range list {
		if list[i].origin == "*" || routing.MatchRegion([]string{list[i].origin}, origin) {
			return list[i].regions
		}
	}
	return nil
}

// Rank implements routing.Strategy.
func (s *strategy) Rank(q *routing.Query, c []routing.Candidate) []routing.Candidate {
	origin := s.origin.Of(q)
	if allowed := find(s.residency, origin); allowed != nil {
		c = routing.Keep(q, c, func(c *routing.Candidate) string {
			switch {
			case c.Target.Region == "":
				return "residency: its region is not known; name one on the target"
			case !routing.MatchRegion(allowed, c.Target.Region):
				return "residency: requests from there may not go to its region"
			}
			return ""
		})
	}
	if s.measured {
		routing.BySpeed(q, c, true)
	}
	near := find(s.near, origin)
	for i := range c {
		c[i].Score = -float64(far(near, origin, c[i].Target.Region))
	}
	routing.ByScore(c)
	for i := range c {
		if near == nil && c[i].Score == 0 {
			q.Note(&c[i], here)
		} else if q.Explain {
			q.Note(&c[i], fmt.Sprintf("distance %d from %q", int(-c[i].Score), origin))
		}
	}
	return c
}

// here is noted of targets in the region of origin.
const here = "in the region of origin"

// open is a strategy that leaves nothing out and measures nothing.
type open struct {
	*strategy

	prepared routing.Prepared[places]
}

// places are where candidates are.
type places struct {
	regions []string
	of      []int // by candidate, of regions
}

func locate(c []routing.Candidate) *places {
	p := &places{of: make([]int, len(c))}
	for i := range c {
		at := slices.Index(p.regions, c[i].Target.Region)
		if at < 0 {
			at = len(p.regions)
			p.regions = append(p.regions, c[i].Target.Region)
		}
		p.of[i] = at
	}
	return p
}

// Choose implements routing.Chooser.
func (s *open) Choose(q *routing.Query, c []routing.Candidate, first []int) []int {
	origin := s.origin.Of(q)
	near := find(s.near, origin)
	p := s.prepared.Of(c, locate)
	var few [16]int
	distances := few[:0]
	for _, region := range p.regions {
		distances = append(distances, far(near, origin, region))
	}
	most := len(first) + min(len(c), routing.HandedOn+1)
	for d := 0; len(first) < most; d++ {
		if !slices.Contains(distances, d) {
			continue
		}
		for i, at := range p.of {
			if distances[at] != d {
				continue
			}
			if len(first) == most {
				break
			}
			first = append(first, i)
			if near == nil && d == 0 {
				q.Note(&c[i], here)
			}
		}
	}
	return first
}

// far returns how far a region is, from 0; a region that is not known is the
// farthest.
func far(near []string, origin, region string) int {
	if near != nil {
		for i, pattern := range near {
			if routing.MatchRegion([]string{pattern}, region) {
				return i
			}
		}
		return len(near)
	}
	here, _, _ := strings.Cut(origin, "-")
	there, _, _ := strings.Cut(region, "-")
	switch {
	case origin == "" || region == "":
		return 3
	case origin == region:
		return 0
	case here == there:
		return 1
	}
	return 2
}

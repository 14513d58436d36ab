package routing

import (
	"fmt"
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// Selector names targets in settings: provider, provider/model or
// provider/model@region, where each part may end in * for any rest, and a
// missing part means any.
type Selector struct{ provider, model, region part }

// part is a name, or how it begins.
type part struct {
	text  string
	begin bool
}

func newPart(text string) part {
	if head, any := strings.CutSuffix(text, "*"); any || text == "" {
		return part{head, true}
	}
	return part{text, false}
}

func (p *part) match(name string) bool {
	if p.begin {
		return strings.HasPrefix(name, p.text)
	}
	return p.text == name
}

// ParseSelector reads a selector.
func ParseSelector(text string) (Selector, error) {
	rest, region, hasRegion := strings.Cut(text, "@")
	provider, model, hasModel := strings.Cut(rest, "/")
	if provider == "" || (hasModel && model == "") || (hasRegion && region == "") || text != strings.TrimSpace(text) {
		return Selector{}, fmt.Errorf("%q names no target: write provider, provider/model or provider/model@region, with * for any rest", text)
	}
	return Selector{newPart(provider), newPart(model), newPart(region)}, nil
}

// ParseSelectors reads a list of selectors; at names it in errors.
func ParseSelectors(at string, texts []string) ([]Selector, error) {
	var out []Selector
	for i, text := range texts {
		s, err := ParseSelector(text)
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", at, i, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// Match reports whether the selector names t.
func (s *Selector) Match(t *schemas.Target) bool {
	return s.provider.match(t.Provider) && s.model.match(t.Model) && s.region.match(t.Region)
}

// MatchAny returns the place of the first selector that names t, or -1.
func MatchAny(list []Selector, t *schemas.Target) int {
	for i := range list {
		if list[i].Match(t) {
			return i
		}
	}
	return -1
}

// MatchRegion reports whether a region is one of those that patterns name; a
// pattern may end in * for any rest. No pattern names a region that is not known.
func MatchRegion(patterns []string, region string) bool {
	if region == "" {
		return false
	}
	for _, p := range patterns {
		if match(p, region) {
			return true
		}
	}
	return false
}

// match compares a name with one that may end in *.
func match(pattern, name string) bool {
	if head, any := strings.CutSuffix(pattern, "*"); any {
		return strings.HasPrefix(name, head)
	}
	return pattern == name
}

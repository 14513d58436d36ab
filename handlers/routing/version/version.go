// Package version ranks targets by the version of their model: pinned, within a
// range, by an alias, and not past its date.
package version

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this strategy as kind "version".
var Entry routing.Entry = catalog.Define("version", Config{Label: "model_version"}, New)

// Config says which versions are wanted. A version is the date or the dotted
// number in a vendor's name of a model, or what Versions says.
type Config struct {
	Want     string            `json:"want,omitempty"`     // a version, a range or an alias; empty: any
	Label    string            `json:"label,omitempty"`    // by which a request wants another; model_version
	Aliases  map[string]string `json:"aliases,omitempty"`  // such as stable: 2024-08-06, latest: ">=2024-11-20"
	Versions map[string]string `json:"versions,omitempty"` // by the vendor's name of the model, where that does not tell
	Dates    map[string]Dates  `json:"dates,omitempty"`    // by the vendor's name of the model
	Newest   bool              `json:"newest,omitempty"`   // newer versions first
}

// Dates are the end of a model's life.
type Dates struct {
	Deprecated Date   `json:"deprecated,omitzero"` // from then on it comes last
	Retired    Date   `json:"retired,omitzero"`    // from then on it is left out
	Successor  string `json:"successor,omitempty"` // for the notice
}

// Date is a day in UTC, written 2026-11-23.
type Date struct{ time.Time }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Date) UnmarshalText(b []byte) error {
	t, err := time.Parse(time.DateOnly, string(b))
	if err != nil {
		return fmt.Errorf("%q is no date: write it as 2026-11-23", b)
	}
	d.Time = t
	return nil
}

// UnmarshalJSON implements json.Unmarshaler in place of time.Time's, which wants
// an hour too.
func (d *Date) UnmarshalJSON(b []byte) error {
	if len(b) < 2 || b[0] != '"' {
		return fmt.Errorf("%s is no date: write it as 2026-11-23", b)
	}
	return d.UnmarshalText(b[1 : len(b)-1])
}

// Validate reports what is wrong with c.
func (c *Config) Validate() error {
	for name, want := range c.Aliases {
		if _, err := parseRange(want); err != nil {
			return fmt.Errorf("aliases.%s: %w", name, err)
		}
	}
	if _, err := c.wanted(c.Want); err != nil {
		return fmt.Errorf("want: %w", err)
	}
	for model, text := range c.Versions {
		if v, rest := parseVersion(text); v == nil || rest != "" {
			return fmt.Errorf("versions.%s: %q is no version: write a date or a dotted number", model, text)
		}
	}
	for model, d := range c.Dates {
		if d.Deprecated.IsZero() && d.Retired.IsZero() {
			return fmt.Errorf("dates.%s: has neither deprecated nor retired", model)
		}
		if !d.Retired.IsZero() && d.Retired.Before(d.Deprecated.Time) {
			return fmt.Errorf("dates.%s: is retired before it is deprecated", model)
		}
	}
	return nil
}

// wanted reads a version, a range or an alias; nil: any.
func (c *Config) wanted(text string) ([]bound, error) {
	if text == "" {
		return nil, nil
	}
	if alias, ok := c.Aliases[text]; ok {
		text = alias
	}
	return parseRange(text)
}

// New returns the strategy. Targets outside the wanted range are left out, and so
// are those that are retired on the day of the request; deprecated ones come last.
// A request that wants what can't be read gets nothing rather than something else.
func New(c Config, _ catalog.Env) (routing.Strategy, error) {
	want, err := c.wanted(c.Want)
	if err != nil {
		return nil, fmt.Errorf("want: %w", err)
	}
	s := &strategy{config: c, want: want}
	s.known.Store(&map[string]number{})
	return s, nil
}

type strategy struct {
	config Config
	want   []bound
	known  atomic.Pointer[map[string]number] // by the vendor's name of the model; is replaced, never changed
}

// Rank implements routing.Strategy.
func (s *strategy) Rank(q *routing.Query, c []routing.Candidate) []routing.Candidate {
	want, readable := s.want, true
	if text := q.Request.Labels[s.config.Label]; text != "" {
		var err error
		want, err = s.config.wanted(text)
		readable = err == nil
	}
	c = routing.Keep(q, c, func(c *routing.Candidate) string {
		d, dated := s.config.Dates[c.Target.Model]
		switch {
		case !readable:
			return "the request wants a version that can't be read"
		case dated && reached(d.Retired, q.Now):
			return "retired since " + d.Retired.Format(time.DateOnly)
		case !within(want, s.of(c.Target.Model)):
			return "its version is not wanted"
		}
		return ""
	})
	if s.config.Newest {
		s.newest(c)
	}
	old := 0
	for i := range c {
		c[i].Score = 0
		if d, dated := s.config.Dates[c[i].Target.Model]; dated && reached(d.Deprecated, q.Now) {
			c[i].Score = -1
			q.Note(&c[i], d.notice())
			old++
		}
	}
	if old > 0 {
		routing.ByScore(c)
	}
	return c
}

func reached(d Date, now time.Time) bool { return !d.IsZero() && !now.Before(d.Time) }

// notice tells whoever reads the decision to move on.
func (d *Dates) notice() string {
	out := "deprecated since " + d.Deprecated.Format(time.DateOnly)
	if !d.Retired.IsZero() {
		out += ", retires " + d.Retired.Format(time.DateOnly)
	}
	if d.Successor != "" {
		out += ", use " + d.Successor
	}
	return out
}

// newest puts newer versions first.
func (s *strategy) newest(c []routing.Candidate) {
	type dated struct {
		routing.Candidate
		version number
	}
	var few [32]dated
	all := few[:0]
	if len(c) > len(few) {
		all = make([]dated, 0, len(c))
	}
	for i := range c {
		all = append(all, dated{c[i], s.of(c[i].Target.Model)})
	}
	slices.SortStableFunc(all, func(a, b dated) int { return newer(a.version, b.version) })
	for i := range all {
		c[i] = all[i].Candidate
	}
}

// of returns the version of a model. Names are those of the configuration, so that
// they are few and each is read once.
func (s *strategy) of(model string) number {
	known := *s.known.Load()
	v, ok := known[model]
	if ok {
		return v
	}
	if text, named := s.config.Versions[model]; named {
		v, _ = parseVersion(text)
	} else {
		v = versionOf(model)
	}
	next := maps.Clone(known)
	next[model] = v
	s.known.Store(&next)
	return v
}

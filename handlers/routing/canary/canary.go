// Package canary gives a new target a growing share of requests and takes it away
// when the target does worse than the others.
package canary

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Entry offers this strategy as kind "canary".
var Entry routing.Entry = catalog.Define("canary", Config{
	Unit: "request.id", Guards: Guards{Failures: 0.01, Slower: 1.25, Alpha: 0.001},
}, New)

// Config describes a canary.
type Config struct {
	Name    string   `json:"name"`           // under which workers share its progress
	Targets []string `json:"targets"`        // selectors of the new ones; all others of the route are the baseline
	Unit    string   `json:"unit,omitempty"` // an expression of type string: what stays with the canary while the share grows; request.id
	Stages  []Stage  `json:"stages"`
	Guards  Guards   `json:"guards,omitzero"`
}

// Stage is a share of the units, for a time.
type Stage struct {
	Share float64  `json:"share"`           // of units, above 0 to 1, growing from stage to stage
	For   Duration `json:"for"`             // at least, such as 10m
	Calls int64    `json:"calls,omitempty"` // of the canary, at least; 100
}

// Guards say how much worse than the baseline the canary may be, and how sure it
// must be before it is rolled back.
type Guards struct {
	Failures float64 `json:"failures,omitempty"` // most that its share of failed calls may be higher; 0.01
	Slower   float64 `json:"slower,omitempty"`   // most that its latency may be the baseline's times; 1.25. 0: not guarded
	Alpha    float64 `json:"alpha,omitempty"`    // chance that a canary within the guards is rolled back; 0.001
}

// Duration is a time.Duration written such as 10m.
type Duration time.Duration

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("%q is no duration; write one with its unit, such as 500ms, 30s or 2h", b)
	}
	*d = Duration(v)
	return nil
}

// Validate reports what is wrong with c.
func (c *Config) Validate() error {
	if c.Name == "" {
		return errors.New("name: is missing; workers share the canary's progress under it")
	}
	if len(c.Targets) == 0 {
		return errors.New("targets: is empty: name the new targets, such as openai/gpt-5")
	}
	if _, err := routing.ParseSelectors("targets", c.Targets); err != nil {
		return err
	}
	if _, err := routing.CompileText(c.Unit); err != nil {
		return fmt.Errorf("unit: %w", err)
	}
	if len(c.Stages) == 0 {
		return errors.New("stages: is empty: write at least one, such as {share: 0.05, for: 30m}")
	}
	for i, s := range c.Stages {
		switch {
		case !(s.Share > 0 && s.Share <= 1) || i > 0 && s.Share <= c.Stages[i-1].Share:
			return fmt.Errorf("stages[%d].share: %v is not above 0, at most 1 and above that of the stage before", i, s.Share)
		case s.For < 0 || s.Calls < 0:
			return fmt.Errorf("stages[%d]: for and calls can't be negative", i)
		}
	}
	g := c.Guards
	if !(g.Failures >= 0 && g.Failures < 1) || !(g.Slower == 0 || g.Slower >= 1) || !(g.Alpha > 0 && g.Alpha <= 0.1) {
		return errors.New("guards: write failures from 0 to 1, slower from 1 (0: not guarded), alpha above 0 to 0.1")
	}
	return nil
}

// defaultCalls is what a stage waits for at least.
const defaultCalls = 100

// New returns the strategy. A unit belongs to the canary when its hash is below
// the stage's share, so units that have it keep it in later stages; for them the
// canary's targets come first and the others are the fallback. For all other
// units, and once it is rolled back, the canary's targets are left out, unless
// there is nothing else.
//
// It learns from settled jobs. The canary is rolled back as soon as one of the
// guards is known to be broken; see failing and slower for the tests, which may
// be looked at after every call. It is promoted to the next stage when the
// stage's time and calls have passed and its failures are within the guard.
// With [routing.Canaries] all workers judge what all have seen: any of them rolls
// back, and their owner promotes. Without, nothing is kept over a restart.
func New(c Config, _ catalog.Env) (routing.Strategy, error) {
	unit, err := routing.CompileText(c.Unit)
	if err != nil {
		return nil, fmt.Errorf("unit: %w", err)
	}
	targets, err := routing.ParseSelectors("targets", c.Targets)
	if err != nil {
		return nil, err
	}
	name := "canary " + c.Name
	return &strategy{
		config: c, unit: unit, targets: targets, seed: xxhash.Sum64String(c.Name),
		chosen: name, passed: name + ": not of its share", promoted: name + " is promoted", back: name + " is rolled back",
	}, nil
}

type strategy struct {
	config  Config
	unit    *routing.Text
	targets []routing.Selector
	seed    uint64

	chosen, passed, promoted, back string // what is noted

	mu     sync.Mutex
	mine   routing.Progress // of this worker
	all    routing.Progress // of all that share it, as last heard
	owner  bool             // this worker promotes
	looked time.Time
}

// listen is how often the others' progress is looked at.
const listen = time.Second

// Rank implements routing.Strategy.
func (s *strategy) Rank(q *routing.Query, c []routing.Candidate) []routing.Candidate {
	share, in, out := s.share(q)
	u := routing.Uniform(routing.Mix(xxhash.Sum64String(s.unit.Of(q)) ^ s.seed))
	n := routing.First(c, func(c *routing.Candidate) bool { return routing.MatchAny(s.targets, &c.Target) >= 0 })
	if n == 0 {
		return c
	}
	why := out
	switch {
	case u < share:
		why = in
	case n == len(c):
		why = "nothing but the canary is left"
	}
	for i := range n {
		q.Note(&c[i], why)
	}
	if u < share || n == len(c) {
		return c
	}
	copy(c, c[n:])
	return c[:len(c)-n]
}

// share returns the share of units that the canary has, and what to note of those
// that are of it and that are not.
func (s *strategy) share(q *routing.Query) (share float64, in, out string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mine.Since.IsZero() {
		s.mine.Since = q.Now
	}
	if q.Now.Sub(s.looked) >= listen {
		s.exchange(q)
	}
	switch p := &s.all; {
	case p.RolledBack:
		return 0, "", s.back
	case p.Stage >= len(s.config.Stages):
		return 1, s.promoted, s.promoted
	default:
		return s.config.Stages[p.Stage].Share, s.chosen, s.passed
	}
}

// exchange tells the others and hears them. Where they are further, this worker
// goes along.
func (s *strategy) exchange(q *routing.Query) {
	s.looked = q.Now
	s.all, s.owner = s.mine, true
	if q.Sources.Canaries != nil {
		s.all, s.owner = q.Sources.Canaries.Exchange(s.config.Name, s.mine)
	}
	if s.all.Stage != s.mine.Stage || s.all.RolledBack != s.mine.RolledBack {
		s.mine = routing.Progress{Stage: s.all.Stage, Since: s.all.Since, RolledBack: s.all.RolledBack, Why: s.all.Why}
	}
}

// Observe implements routing.Observer.
func (s *strategy) Observe(q *routing.Query) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mine.Since.IsZero() {
		s.mine.Since = q.Now
	}
	if s.mine.RolledBack || s.mine.Stage >= len(s.config.Stages) {
		return
	}
	counted := false
	for a, failed := range q.Calls {
		side := &s.mine.Baseline
		if routing.MatchAny(s.targets, &a.Target) >= 0 {
			side = &s.mine.Canary
		}
		counted = true
		side.Calls++
		if failed {
			side.Failures++
			continue
		}
		l := math.Log(float64(max(a.LatencyMS, 1)))
		side.Timed++
		side.Log += l
		side.LogSq += l * l
	}
	if !counted {
		return
	}
	s.exchange(q)
	if next, ok := s.config.judge(&s.all, q.Now); ok && (s.owner || next.RolledBack) {
		s.mine = next
		s.exchange(q)
	}
}

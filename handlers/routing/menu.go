package routing

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// menu is the lists that a rule has for a request, with their outcome where that
// is the same for all requests.
type menu struct {
	lists    []list
	constant bool // the two below are the outcome, unless a residency holds
	targets  []schemas.Target
	decision []pipeline.Candidate
}

// list is candidates that are ranked together.
type list struct {
	origin     string
	candidates []Candidate
	kept       []string // reason of each candidate, where it is kept
	more       []string // reason of what follows the targets that are handed on, by how many there are
	said       *sayings
}

// sayings are reasons of candidates that were put together, since most are the same
// for many requests. Those that name numbers are not: the first sayingsKept are
// kept, whatever they are.
type sayings struct {
	known atomic.Pointer[map[saying]string] // is replaced, never changed
}

type saying struct {
	at  int // place of the candidate
	why string
}

const sayingsKept = 64

// of returns the reason of a candidate that is kept, with what was noted of it.
func (s *sayings) of(at int, kept, why string) string {
	known := *s.known.Load()
	if text, ok := known[saying{at, why}]; ok {
		return text
	}
	text := kept + "; " + why
	if len(known) < sayingsKept {
		next := maps.Clone(known)
		next[saying{at, strings.Clone(why)}] = text
		s.known.Store(&next)
	}
	return text
}

// newMenu asks a constant strategy once and for all.
func newMenu(all []list, s Strategy) *menu {
	m := &menu{lists: all}
	if _, m.constant = s.(Constant); m.constant {
		job := &pipeline.Job{Request: new(schemas.Request)}
		rank(NewQuery(job, Sources{}), s, all, nil)
		m.targets, m.decision = slices.Clip(job.Targets), slices.Clip(job.Decision)
	}
	return m
}

// lists makes the lists of a rule for requests for model ("" where the rule has
// targets of its own). A target that stands in an earlier list is not repeated.
func lists(origin, model string, specs []TargetSpec, fallback []string, models map[string][]TargetSpec) []list {
	seen := make(map[schemas.Target]bool)
	out := []list{newList(origin, specs, seen)}
	for _, name := range fallback {
		if name == model {
			continue
		}
		if l := newList("fallback to model "+name, models[name], seen); len(l.candidates) > 0 {
			out = append(out, l)
		}
	}
	return out
}

func newList(origin string, specs []TargetSpec, seen map[schemas.Target]bool) list {
	l := list{origin: origin, said: new(sayings)}
	l.said.known.Store(&map[saying]string{})
	var fresh []TargetSpec
	for _, s := range specs {
		if seen[s.Target] {
			continue
		}
		seen[s.Target] = true
		fresh = append(fresh, s)
		l.kept = append(l.kept, fmt.Sprintf("%s: priority %d, weight %d", origin, s.Priority, s.Weight))
	}
	l.candidates = Candidates(fresh...)
	for n := range max(len(fresh)-HandedOn+1, 0) {
		l.more = append(l.more, fmt.Sprintf("%s: after the first %d, %d in all", origin, HandedOn, n))
	}
	return l
}

// choose writes what a chooser says comes first on the job, and the others after it.
func (l *list) choose(q *Query, s Chooser) {
	q.places = s.Choose(q, l.candidates, q.places[:0])
	next, handed := 0, 0 // next: the first that is not handed on
	for handed < min(len(q.places), HandedOn) {
		l.handOn(q, &l.candidates[q.places[handed]])
		handed++
	}
	if handed < len(q.places) {
		next = q.places[handed]
	} else {
		for ; next < len(l.candidates); next++ {
			if slices.Contains(q.places, next) {
				continue
			}
			if handed == HandedOn {
				break
			}
			l.handOn(q, &l.candidates[next])
			handed++
		}
	}
	if more := len(l.candidates) - HandedOn; more > 0 {
		q.Job.Decision = append(q.Job.Decision, pipeline.Candidate{Target: &l.candidates[min(next, len(l.candidates)-1)].Target, Reason: l.more[more]})
	}
}

// handOn writes a target and why it is there on the job.
func (l *list) handOn(q *Query, c *Candidate) {
	q.Job.Targets = append(q.Job.Targets, c.Target)
	q.Job.Decision = append(q.Job.Decision, pipeline.Candidate{Target: &c.Target, Reason: l.reason(q, c), Kept: true})
}

func (l *list) reason(q *Query, c *Candidate) string {
	if why := q.Notes(c); why != "" {
		return l.said.of(c.at, l.kept[c.at], why)
	}
	return l.kept[c.at]
}

// leftOut writes the candidates that were not ranked on the job.
func (l *list) leftOut(q *Query, ranked []Candidate) {
	q.kept = append(q.kept[:0], make([]bool, len(l.candidates))...)
	for i := range ranked {
		q.kept[ranked[i].at] = true
	}
	named := 0
	for i := range l.candidates {
		c := &l.candidates[i]
		if q.kept[i] {
			continue
		}
		out := pipeline.Candidate{Target: &c.Target, Reason: l.dropped(q, c)}
		if named++; named > HandedOn {
			out.Reason = fmt.Sprintf("%s: one of %d that were left out", l.origin, len(l.candidates)-len(ranked))
			q.Job.Decision = append(q.Job.Decision, out)
			return
		}
		q.Job.Decision = append(q.Job.Decision, out)
	}
}

func (l *list) dropped(q *Query, c *Candidate) string {
	if why := q.Notes(c); why != "" {
		return why
	}
	return l.origin + ": left out by the strategy"
}

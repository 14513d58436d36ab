package routing

import (
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// Trace is how a decision came about, for people.
type Trace struct {
	Guards   []TracedGuard    `json:"guards,omitempty"` // that hold for the request
	Routes   []TracedRoute    `json:"routes"`           // that were tried, in order; the index passes over those that can't match
	Route    string           `json:"route,omitempty"`  // that decided
	Features Features         `json:"features"`
	Lists    []TracedList     `json:"lists,omitempty"`
	Targets  []schemas.Target `json:"targets,omitempty"` // what invoke asks, in order
	Failure  *schemas.Failure `json:"failure,omitempty"`
}

// TracedGuard is a guard that holds.
type TracedGuard struct {
	Name      string   `json:"name"`
	Residency []string `json:"residency"`
	Broken    bool     `json:"broken,omitempty"` // its expression can't be evaluated; it holds nevertheless
}

// TracedRoute is a route that was tried.
type TracedRoute struct {
	Name    string `json:"name"`
	Matched bool   `json:"matched"`
	Why     string `json:"why,omitempty"` // it did not match
}

// TracedList is what became of one list of candidates.
type TracedList struct {
	Origin     string            `json:"origin"`
	Candidates []TracedCandidate `json:"candidates"` // the kept in their order, then the others
}

// TracedCandidate is what became of a candidate.
type TracedCandidate struct {
	Target   schemas.Target `json:"target"`
	Rank     int            `json:"rank,omitempty"` // from 1, within the list; 0: left out
	Before   int            `json:"before"`         // place in the configuration, from 1
	Weight   int            `json:"weight"`
	Priority int            `json:"priority"`
	Why      string         `json:"why,omitempty"`
}

// Explain routes a job as Handle does and tells how it came about. It is slower
// and notes more.
func (r *Router) Explain(job *pipeline.Job) *Trace {
	q := NewQuery(job, r.sources)
	q.Explain = true
	t := new(Trace)
	t.Failure = r.decide(q, t)
	t.Route, t.Targets, t.Features = job.Route, job.Targets, *q.Features()
	return t
}

// The methods below do nothing for a nil Trace.

func (t *Trace) guard(g *rule, err error) {
	if t != nil {
		t.Guards = append(t.Guards, TracedGuard{g.Name, g.Residency, err != nil})
	}
}

func (t *Trace) route(in *rule, why string) {
	if t != nil {
		t.Routes = append(t.Routes, TracedRoute{in.Name, why == "", why})
	}
}

func (t *Trace) list(q *Query, l *list, ranked []Candidate) {
	if t == nil {
		return
	}
	out := TracedList{Origin: l.origin}
	kept := make(map[int]bool)
	for i := range ranked {
		kept[ranked[i].at] = true
		one := traced(&ranked[i], q.Notes(&ranked[i]))
		one.Rank = i + 1
		out.Candidates = append(out.Candidates, one)
	}
	for i := range l.candidates {
		if c := &l.candidates[i]; !kept[i] {
			out.Candidates = append(out.Candidates, traced(c, l.dropped(q, c)))
		}
	}
	t.Lists = append(t.Lists, out)
}

func traced(c *Candidate, why string) TracedCandidate {
	return TracedCandidate{Target: c.Target, Before: c.at + 1, Weight: c.Weight, Priority: c.Priority, Why: why}
}

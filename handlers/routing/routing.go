// Package routing decides which targets a request may go to, best first.
//
// Rules stand in order and the first that matches a request decides. A rule
// names candidates (the targets of the requested model, or its own) and a
// Strategy that ranks them; the targets of its fallback models follow. What was
// decided, and why, is written on the job.
package routing

import (
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// Strategy ranks candidates for a request, best first. It may leave some out but
// invents none; an empty ranking means that nothing suits.
//
// Rank runs on the hot path: it does no I/O, keeps no reference to its
// arguments, may reorder the slice it is given and return it, and is safe for
// concurrent use.
type Strategy interface {
	Rank(req *schemas.Request, candidates []Candidate) []Candidate
}

// Entry is a kind of strategy for the catalog.
type Entry = catalog.Entry[Strategy]

// Candidate is a target as a Strategy sees it.
type Candidate struct {
	Target   schemas.Target
	Weight   int // share of requests relative to the others; 0: only when the others fail
	Priority int // lower comes first

	at int // place among the candidates that the Router gave
}

// Model is a name that requests may ask for, with where it is served.
type Model struct {
	Name    string
	Targets []TargetSpec
}

// TargetSpec is a target with how much it is wanted.
type TargetSpec struct {
	Target   schemas.Target
	Weight   int
	Priority int
}

// Rule sends the requests that it matches to candidates in a strategy's order.
type Rule struct {
	Name     string
	Models   []string                 // names of models whose requests it is for; empty: any
	Match    func(*pipeline.Job) bool // nil: always; called only for Models
	Strategy Strategy
	Targets  []TargetSpec // in place of the requested model's; empty: the requested model's
	Fallback []string     // names of models whose targets follow, ranked likewise
}

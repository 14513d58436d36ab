// Package routing decides which targets a request may go to, best first.
//
// Rules stand in order and the first that matches a request decides. A rule
// names candidates (the targets of the requested model, or its own) and a
// Strategy that ranks them; the targets of its fallback models follow. Guards
// stand before the rules: they decide nothing but add a residency that holds for
// whatever is decided after them, fallbacks included. What was decided, and why,
// is written on the job.
package routing

import (
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// Strategy orders candidates for a request, best first. It may leave some out but
// invents none; an empty ranking means that nothing suits. It is asked once for
// the first list of candidates and once for each fallback model's.
//
// In a route of several steps each gets what the one before returned, so a
// Strategy keeps the given order among those that it does not tell apart.
//
// Rank runs on the hot path: it does no I/O, keeps no reference to its
// arguments, may reorder the slice it is given and return it, and is safe for
// concurrent use.
type Strategy interface {
	Rank(q *Query, candidates []Candidate) []Candidate
}

// Constant is a Strategy without settings whose order depends on the candidates
// alone. It is asked when the Router is made, and for a request only where a
// residency leaves candidates out.
type Constant interface {
	Constant()
}

// Chooser is a Strategy that can say which candidates come first, best first, without
// moving any; the others follow in their order. It is asked instead of Rank where
// none is left out. Choose appends their places to dst, which it may keep no longer
// than Rank its arguments; after [HandedOn] and one it may stop. The candidates are one
// of the rule's few lists, which never change; see [Prepared].
type Chooser interface {
	Choose(q *Query, candidates []Candidate, dst []int) []int
}

// Observer is a Strategy that learns from how requests went. Observe is called
// once for each settled job of its route, with the job in q, under the rules of
// Rank.
type Observer interface {
	Observe(q *Query)
}

// Entry is a kind of strategy for the catalog.
type Entry = catalog.Entry[Strategy]

// Candidate is a target as a Strategy sees it.
type Candidate struct {
	*TargetSpec         // shared: not to be changed
	Score       float64 // room for the Strategy that ranks; see ByScore

	at int // place among the candidates that the Router gave
}

// Capabilities are what a target is known to do. A zero number and a nil list or
// flag mean that it is not known, and so no reason to leave the target out.
type Capabilities struct {
	Context   int      `json:"context,omitempty"`   // tokens of input and output together
	Output    int      `json:"output,omitempty"`    // most tokens of one answer
	Input     []string `json:"input,omitempty"`     // of text, image, audio, video, file
	Tools     *bool    `json:"tools,omitempty"`     // takes tools
	JSON      *bool    `json:"json,omitempty"`      // answers in a JSON schema
	Languages []string `json:"languages,omitempty"` // ISO 639-1, such as en
}

// Model is a name that requests may ask for, with where it is served.
type Model struct {
	Name    string
	Targets []TargetSpec
}

// TargetSpec is a target with how much it is wanted.
type TargetSpec struct {
	Target   schemas.Target
	Can      *Capabilities // nil: nothing is known of what it can do
	Weight   int           // share of requests relative to the others; 0: only when the others fail
	Priority int           // lower comes first

	draw      uint64 // hash of Target
	lightness uint64
}

// Draw returns a hash of the target, for weighted draws.
func (s *TargetSpec) Draw() uint64 { return s.draw }

// Lightness returns 2^63 over Weight, rounded down, for those who would divide by it,
// and the highest number where Weight is 0.
func (s *TargetSpec) Lightness() uint64 { return s.lightness }

// Rule sends the requests that it matches to candidates in a strategy's order.
type Rule struct {
	Name      string
	Models    []string   // names of models whose requests it is for; empty: any
	When      *Condition // nil: always
	Guard     bool       // decides nothing: its Residency holds for the rules after it
	Residency []string   // patterns of regions, see MatchRegion; empty: any region
	Strategy  Strategy
	Targets   []TargetSpec // in place of the requested model's; empty: the requested model's
	Fallback  []string     // names of models whose targets follow, ranked likewise
}

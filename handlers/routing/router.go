package routing

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// Router is the stage that gives a job its targets. Everything that can be
// worked out before a request comes is: lists of candidates with their reasons
// are made once and copied.
type Router struct {
	rules   []rule
	models  map[string]bool
	names   []string  // that a request may ask for, sorted
	scratch sync.Pool // of *[]Candidate
}

var _ pipeline.Stage = (*Router)(nil)

// rule is a Rule made ready.
type rule struct {
	Rule
	models map[string]bool // nil: any
	// own, or byModel by the requested model, are lists to rank one after another.
	own     []list
	byModel map[string][]list
}

// list is candidates that are ranked together.
type list struct {
	candidates []Candidate
	kept       []string // reason of each candidate, where it is kept
	dropped    string   // reason of those that the strategy leaves out
}

// NewRouter returns the stage for models and rules. It trusts its arguments:
// [Config.Faults] finds what is wrong with a configuration.
func NewRouter(models []Model, rules []Rule) *Router {
	r := &Router{models: make(map[string]bool, len(models))}
	targets := make(map[string][]TargetSpec, len(models))
	for _, m := range models {
		targets[m.Name] = m.Targets
		r.models[m.Name] = true
		r.names = append(r.names, m.Name)
	}
	longest := 0
	for _, in := range rules {
		ready := rule{Rule: in}
		if len(in.Models) > 0 {
			ready.models = make(map[string]bool, len(in.Models))
			for _, name := range in.Models {
				ready.models[name] = true
			}
		}
		if len(in.Targets) > 0 {
			ready.own = lists(in, "", in.Targets, targets)
			r.names = append(r.names, in.Models...)
		} else {
			ready.byModel = make(map[string][]list, len(targets))
			for name, specs := range targets {
				if ready.models == nil || ready.models[name] {
					ready.byModel[name] = lists(in, name, specs, targets)
				}
			}
		}
		for _, specs := range targets {
			longest = max(longest, len(specs), len(in.Targets))
		}
		r.rules = append(r.rules, ready)
	}
	slices.Sort(r.names)
	r.names = slices.Compact(r.names)
	r.scratch.New = func() any {
		s := make([]Candidate, 0, longest)
		return &s
	}
	return r
}

// lists makes the lists of a rule for requests for model ("" where the rule has
// targets of its own). A target that stands in an earlier list is not repeated.
func lists(in Rule, model string, specs []TargetSpec, models map[string][]TargetSpec) []list {
	seen := make(map[schemas.Target]bool)
	origin := "route " + in.Name
	if model != "" {
		origin = "model " + model
	}
	out := []list{newList(origin, specs, seen)}
	for _, name := range in.Fallback {
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
	l := list{dropped: origin + ": left out by the strategy"}
	for _, s := range specs {
		if seen[s.Target] {
			continue
		}
		seen[s.Target] = true
		l.candidates = append(l.candidates, Candidate{
			Target: s.Target, Weight: s.Weight, Priority: s.Priority, at: len(l.candidates),
		})
		l.kept = append(l.kept, fmt.Sprintf("%s: priority %d, weight %d", origin, s.Priority, s.Weight))
	}
	return l
}

// Handle writes Route, Targets and Decision on the job. It returns a
// *schemas.Failure with code unroutable when no rule matches, the model is
// unknown, or the strategy leaves no target.
func (r *Router) Handle(_ context.Context, job *pipeline.Job) error {
	for i := range r.rules {
		in := &r.rules[i]
		if in.models != nil && !in.models[job.Request.Model] {
			continue
		}
		if in.Match != nil && !in.Match(job) {
			continue
		}
		todo := in.own
		if todo == nil {
			todo = in.byModel[job.Request.Model]
		}
		if todo == nil {
			return r.unknown(job.Request.Model)
		}
		job.Route = in.Name
		r.rank(job, in.Strategy, todo)
		if len(job.Targets) == 0 {
			return schemas.Fail(schemas.Unroutable, "route "+in.Name+" has no target that suits this request", nil)
		}
		return nil
	}
	if !slices.Contains(r.names, job.Request.Model) {
		return r.unknown(job.Request.Model)
	}
	return schemas.Fail(schemas.Unroutable, "no route matches this request", nil)
}

func (r *Router) rank(job *pipeline.Job, s Strategy, todo []list) {
	total := 0
	for i := range todo {
		total += len(todo[i].candidates)
	}
	job.Targets = make([]schemas.Target, 0, total)
	job.Decision = make([]pipeline.Candidate, 0, total)
	scratch, _ := r.scratch.Get().(*[]Candidate)
	defer r.scratch.Put(scratch)
	for i := range todo {
		l := &todo[i]
		*scratch = append((*scratch)[:0], l.candidates...)
		ranked := s.Rank(job.Request, *scratch)
		for j := range ranked {
			job.Targets = append(job.Targets, ranked[j].Target)
			job.Decision = append(job.Decision, pipeline.Candidate{
				Target: ranked[j].Target, Reason: l.kept[ranked[j].at], Kept: true,
			})
		}
		if len(ranked) < len(l.candidates) {
			job.Decision = append(job.Decision, l.leftOut(ranked)...)
		}
	}
}

// leftOut returns the candidates that a strategy did not rank.
func (l *list) leftOut(ranked []Candidate) []pipeline.Candidate {
	var out []pipeline.Candidate
	for i := range l.candidates {
		kept := slices.ContainsFunc(ranked, func(c Candidate) bool { return c.at == i })
		if !kept {
			out = append(out, pipeline.Candidate{Target: l.candidates[i].Target, Reason: l.dropped})
		}
	}
	return out
}

// unknown returns the failure of a request for a model that there is not. It
// does not repeat the name: people paste all sorts of things into fields.
func (r *Router) unknown(asked string) error {
	f := schemas.Fail(schemas.Unroutable, "there is no model of this name", nil)
	f.Param = "model"
	if near := nearest(asked, r.names); len(near) > 0 {
		for i := range near {
			near[i] = strconv.Quote(near[i])
		}
		f.Message += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return f
}

// nearest returns up to three names that are a few typing errors away from
// asked, nearest first.
func nearest(asked string, names []string) []string {
	type near struct {
		name string
		far  int
	}
	var found []near
	for _, name := range names {
		if d := distance(strings.ToLower(asked), strings.ToLower(name)); d <= max(2, len(name)/3) {
			found = append(found, near{name, d})
		}
	}
	slices.SortStableFunc(found, func(a, b near) int { return a.far - b.far })
	var out []string
	for _, n := range found[:min(len(found), 3)] {
		out = append(out, n.name)
	}
	return out
}

// distance is the edit distance of Levenshtein between two short strings, in
// bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}

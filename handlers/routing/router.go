package routing

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// Router is the stage that gives a job its targets. Everything that can be
// worked out before a request comes is: rules are indexed, and lists of
// candidates with their reasons are made once and copied.
type Router struct {
	rules   []rule
	byName  map[string]*rule
	guards  []rule
	index   *index // of rules
	guarded *index // of guards
	models  map[string][]TargetSpec
	names   []string // that a request may ask for, sorted
	sources Sources
	queries sync.Pool // of *Query
}

var _ pipeline.Stage = (*Router)(nil)

// rule is a Rule made ready.
type rule struct {
	Rule
	models map[string]bool // nil: any
	// own, or byModel by the requested model, are lists to rank one after another.
	own     *menu
	byModel map[string]*menu // shared by rules of the same fallback
}

// NewRouter returns the stage for models and rules. It trusts its arguments:
// [Config.Faults] finds what is wrong with a configuration.
func NewRouter(models []Model, rules []Rule, sources Sources) *Router {
	r := &Router{models: make(map[string][]TargetSpec, len(models)), byName: make(map[string]*rule), sources: sources}
	for _, m := range models {
		r.models[m.Name] = m.Targets
		r.names = append(r.names, m.Name)
	}
	shared := make(map[string]map[string]*menu)
	for _, in := range rules {
		ready := rule{Rule: in}
		if len(in.Models) > 0 {
			ready.models = make(map[string]bool, len(in.Models))
			for _, name := range in.Models {
				ready.models[name] = true
			}
		}
		switch {
		case in.Guard:
			r.guards = append(r.guards, ready)
			continue
		case len(in.Targets) > 0:
			ready.own = newMenu(lists("route "+in.Name, "", in.Targets, in.Fallback, r.models), in.Strategy)
			r.names = append(r.names, in.Models...)
		default:
			key := strings.Join(in.Fallback, "\x00")
			if _, same := in.Strategy.(Constant); same {
				key += fmt.Sprintf("\x00\x00%T", in.Strategy)
			}
			if shared[key] == nil {
				shared[key] = r.everyModel(in.Fallback, in.Strategy)
			}
			ready.byModel = shared[key]
		}
		r.rules = append(r.rules, ready)
	}
	for i := range r.rules {
		r.byName[r.rules[i].Name] = &r.rules[i]
	}
	r.index, r.guarded = newIndex(needs(r.rules)), newIndex(needs(r.guards))
	slices.Sort(r.names)
	r.names = slices.Compact(r.names)
	r.queries.New = func() any { return new(Query) }
	return r
}

func needs(rules []rule) []need {
	out := make([]need, len(rules))
	for i := range rules {
		if len(rules[i].Models) > 0 {
			out[i].options = append(out[i].options, equality{of: field{kind: fieldModel}, values: rules[i].Models})
		}
		if w := rules[i].When; w != nil {
			out[i].options = append(out[i].options, w.equal...)
		}
	}
	return out
}

func (r *Router) everyModel(fallback []string, s Strategy) map[string]*menu {
	all := make(map[string]*menu, len(r.models))
	for name, specs := range r.models {
		all[name] = newMenu(lists("model "+name, name, specs, fallback, r.models), s)
	}
	return all
}

// Handle writes Route, Targets and Decision on the job; the slices may be shared
// by jobs and are not to be changed. It returns a
// *schemas.Failure with code unroutable when no rule matches, the model is
// unknown, or the residency or the strategy leaves no target.
func (r *Router) Handle(_ context.Context, job *pipeline.Job) error {
	q, _ := r.queries.Get().(*Query)
	q.reset(job, r.sources)
	failure := r.decide(q, nil)
	q.release()
	r.queries.Put(q)
	if failure != nil {
		return failure
	}
	return nil
}

// decide routes q's job and, where it is not nil, tells trace why.
func (r *Router) decide(q *Query, trace *Trace) *schemas.Failure {
	job := q.Job
	q.specs = r.models[q.Request.Model]
	if len(r.guards) > 0 {
		r.guard(q, trace)
	}
	var in *rule
	r.index.walk(q, func(i int32) bool {
		if r.rules[i].matches(q, trace) {
			in = &r.rules[i]
		}
		return in == nil
	})
	if in == nil {
		if _, known := slices.BinarySearch(r.names, q.Request.Model); !known {
			return r.unknown(q.Request.Model)
		}
		return schemas.Fail(schemas.Unroutable, "no route matches this request", nil)
	}
	offered := in.own
	if offered == nil {
		offered = in.byModel[q.Request.Model]
	}
	if offered == nil {
		return r.unknown(q.Request.Model)
	}
	if len(in.Residency) > 0 {
		q.residency = append(q.residency, in.Residency)
	}
	job.Route = in.Name
	if offered.constant && len(q.residency) == 0 && trace == nil {
		job.Targets, job.Decision = offered.targets, offered.decision
	} else {
		rank(q, in.Strategy, offered.lists, trace)
	}
	if len(job.Targets) == 0 {
		return schemas.Fail(schemas.Unroutable, "route "+in.Name+" has no target that suits this request", nil)
	}
	return nil
}

// guard collects the residencies that hold for q. A guard whose expression can't
// be evaluated holds: data must not leave a region by a mistake.
func (r *Router) guard(q *Query, trace *Trace) {
	r.guarded.walk(q, func(i int32) bool {
		g := &r.guards[i]
		if g.models != nil && !g.models[q.Request.Model] {
			return true
		}
		holds, err := true, error(nil)
		if g.When != nil {
			holds, err = g.When.holds(q)
		}
		if holds || err != nil {
			q.residency = append(q.residency, g.Residency)
			trace.guard(g, err)
		}
		return true
	})
}

func (in *rule) matches(q *Query, trace *Trace) bool {
	if in.models != nil && !in.models[q.Request.Model] {
		trace.route(in, "is for other models")
		return false
	}
	if in.When == nil {
		trace.route(in, "")
		return true
	}
	switch holds, err := in.When.holds(q); {
	case err != nil:
		trace.route(in, "its expression can't be evaluated for this request")
		return false
	case !holds:
		trace.route(in, "its expression is false")
		return false
	}
	trace.route(in, "")
	return true
}

// HandedOn is how many targets of one list a job is given, and how many of those
// left out its decision names. A job is tried at fewer targets than that, and an
// audit event holds no more.
const HandedOn = 16

// rank writes the targets of all lists on the job, and why.
func rank(q *Query, s Strategy, lists []list, trace *Trace) {
	job, total, more := q.Job, 0, 0
	for i := range lists {
		total += min(len(lists[i].candidates), HandedOn)
		more += min(len(lists[i].more), 1)
	}
	job.Targets = make([]schemas.Target, 0, total)
	job.Decision = make([]pipeline.Candidate, 0, total+more)
	chooser, _ := s.(Chooser)
	if trace != nil || len(q.residency) > 0 {
		chooser = nil
	}
	for i := range lists {
		l := &lists[i]
		q.why = q.why[:0]
		if chooser != nil {
			l.choose(q, chooser)
			continue
		}
		q.scratch = append(q.scratch[:0], l.candidates...)
		ranked := reside(q, q.scratch)
		if len(ranked) > 0 {
			ranked = s.Rank(q, ranked)
		}
		trace.list(q, l, ranked)
		for j := range ranked[:min(len(ranked), HandedOn)] {
			l.handOn(q, &ranked[j])
		}
		if more := len(ranked) - HandedOn; more > 0 {
			job.Decision = append(job.Decision, pipeline.Candidate{Target: &ranked[HandedOn].Target, Reason: l.more[more]})
		}
		if len(ranked) < len(l.candidates) {
			l.leftOut(q, ranked)
		}
	}
}

// reside leaves out what a residency forbids. It stands before every strategy
// and before every list, so that no fallback gets round it.
func reside(q *Query, c []Candidate) []Candidate {
	for _, allowed := range q.residency {
		c = Keep(q, c, func(c *Candidate) string {
			switch {
			case c.Target.Region == "":
				return "residency: its region is not known; name one on the target"
			case !MatchRegion(allowed, c.Target.Region):
				return "residency: its region is not allowed"
			}
			return ""
		})
	}
	return c
}

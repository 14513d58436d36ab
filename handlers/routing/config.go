package routing

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// Config is the models and routes of the configuration document.
type Config struct {
	Models  []ModelConfig `json:"models,omitempty"`
	Routes  []RouteConfig `json:"routes,omitempty"` // the first that matches decides; none: every model by priority
	Sources Sources       `json:"-"`                // what the gateway knows of prices, health and canaries
}

// ModelConfig is a name that requests may ask for.
type ModelConfig struct {
	Name         string         `json:"name"`
	Targets      []TargetConfig `json:"targets"`
	Capabilities *Capabilities  `json:"capabilities,omitempty"` // of targets that have none of their own
}

// TargetConfig is a model at a provider.
type TargetConfig struct {
	Provider string `json:"provider"` // a name under providers
	Model    string `json:"model"`    // the vendor's name
	Region   string `json:"region,omitempty"`
	Weight   *int   `json:"weight,omitempty"`   // share of requests relative to the others; unset: 1; 0: only when the others fail
	Priority int    `json:"priority,omitempty"` // lower comes first

	Capabilities *Capabilities `json:"capabilities,omitempty"`
}

// RouteConfig is a rule. It has a strategy, or steps of several that each get
// what the one before returned: filters first, then what ranks, then what splits.
type RouteConfig struct {
	Name      string           `json:"name"`
	When      string           `json:"when,omitempty"`      // an expression of type bool; empty: always
	Models    []string         `json:"models,omitempty"`    // only for requests for these; empty: any
	Guard     bool             `json:"guard,omitempty"`     // decides nothing: its residency holds for all routes below
	Residency []string         `json:"residency,omitempty"` // regions that may see the request, eu-* for all that begin so; empty: any
	Strategy  string           `json:"strategy,omitempty"`  // a kind; empty: priority
	Settings  catalog.Settings `json:"settings,omitempty"`  // of the strategy
	Steps     []StepConfig     `json:"steps,omitempty"`     // in place of strategy and settings
	Targets   []TargetConfig   `json:"targets,omitempty"`   // in place of the requested model's
	Fallback  []string         `json:"fallback,omitempty"`  // models whose targets follow
}

// StepConfig is one strategy of several.
type StepConfig struct {
	Strategy string           `json:"strategy"` // a kind
	Settings catalog.Settings `json:"settings,omitempty"`
}

// DefaultStrategy is the kind that a route without one has, and so the only kind
// that the catalog must hold.
const DefaultStrategy = "priority"

// DefaultRoute is the name of the route of a configuration without routes.
const DefaultRoute = "default"

// Fault is something wrong with a configuration.
type Fault struct {
	Path    string // within Config: routes[2].strategy
	Message string // what is wrong and what to write instead
}

// Error joins path and message.
func (f *Fault) Error() string { return f.Path + ": " + f.Message }

// Faults returns everything that is wrong with c, in the order of the document.
// strategies are the known kinds. Whether a target's provider exists is for the
// caller to say.
func (c *Config) Faults(strategies *catalog.Catalog[Strategy]) []*Fault {
	return c.check(strategies).faults
}

func (c *Config) check(strategies *catalog.Catalog[Strategy]) *validation {
	v := &validation{conditions: make(map[string]*Condition), strategies: strategies, models: make(map[string]bool), routes: make(map[string]bool), providers: c.providers()}
	for i, m := range c.Models {
		v.model("models["+strconv.Itoa(i)+"]", m)
	}
	decides := "" // the first route that does
	for i, r := range c.Routes {
		at := "routes[" + strconv.Itoa(i) + "]"
		v.route(at, r)
		switch {
		case !r.Guard && decides == "":
			decides = cmp.Or(r.Name, at)
		case r.Guard && decides != "":
			v.fault(at+".guard", "stands below route "+decides+", which it would not guard: move it above all routes that decide")
		}
	}
	return v
}

type validation struct {
	strategies     *catalog.Catalog[Strategy]
	models, routes map[string]bool
	providers      map[string]bool // that targets name
	conditions     map[string]*Condition
	faults         []*Fault
}

func (v *validation) fault(path, message string) {
	v.faults = append(v.faults, &Fault{Path: path, Message: message})
}

// name checks a name that must be there once.
func (v *validation) name(path, name string, taken map[string]bool) {
	switch {
	case name == "":
		v.fault(path, "is missing: write a name")
	case len(name) > schemas.MaxIDLength:
		v.fault(path, fmt.Sprintf("is longer than %d bytes", schemas.MaxIDLength))
	case taken[name]:
		v.fault(path, fmt.Sprintf("%q is taken: names are unique", name))
	}
	taken[name] = true
}

func (v *validation) model(path string, m ModelConfig) {
	v.name(path+".name", m.Name, v.models)
	if len(m.Targets) == 0 {
		v.fault(path+".targets", "is empty: name at least one provider and model")
	}
	v.targets(path+".targets", m.Targets)
	v.capabilities(path+".capabilities", m.Capabilities)
}

func (v *validation) capabilities(path string, c *Capabilities) {
	if c == nil {
		return
	}
	if c.Context < 0 {
		v.fault(path+".context", "can't be negative: leave it out where it is not known")
	}
	if c.Output < 0 {
		v.fault(path+".output", "can't be negative: leave it out where it is not known")
	}
	for i, in := range c.Input {
		switch in {
		case "text", "image", "audio", "video", "file":
		default:
			v.fault(path+".input["+strconv.Itoa(i)+"]", fmt.Sprintf("%q is not one of text, image, audio, video, file", in))
		}
	}
}

func (v *validation) targets(path string, targets []TargetConfig) {
	seen := make(map[schemas.Target]bool)
	for i, t := range targets {
		at := path + "[" + strconv.Itoa(i) + "]"
		if t.Provider == "" {
			v.fault(at+".provider", "is missing: write a name under providers")
		}
		if t.Model == "" {
			v.fault(at+".model", "is missing: write the vendor's name of the model")
		}
		if t.Weight != nil && (*t.Weight < 0 || *t.Weight > maxWeight) {
			v.fault(at+".weight", fmt.Sprintf("is %d: write 0 to %d", *t.Weight, maxWeight))
		}
		if seen[t.target()] {
			v.fault(at, "stands in this list before: name a target once and give it more weight")
		}
		seen[t.target()] = true
		v.capabilities(at+".capabilities", t.Capabilities)
	}
}

func (v *validation) route(path string, r RouteConfig) {
	v.name(path+".name", r.Name, v.routes)
	v.when(path+".when", r.When)
	for i, name := range r.Models {
		if len(r.Targets) == 0 {
			v.known(path+".models["+strconv.Itoa(i)+"]", name)
		}
	}
	for i, region := range r.Residency {
		if region == "" || strings.Contains(strings.TrimSuffix(region, "*"), "*") {
			v.fault(path+".residency["+strconv.Itoa(i)+"]", fmt.Sprintf("%q names no region: write one, or its beginning and *, such as eu-*", region))
		}
	}
	if r.Guard {
		v.guard(path, r)
		return
	}
	switch {
	case len(r.Steps) == 0:
		v.strategy(path, cmp.Or(r.Strategy, DefaultStrategy), r.Settings)
	case r.Strategy != "" || len(r.Settings) > 0:
		v.fault(path+".steps", "stands beside strategy or settings: make that strategy one of the steps")
	}
	for i, s := range r.Steps {
		v.strategy(path+".steps["+strconv.Itoa(i)+"]", s.Strategy, s.Settings)
	}
	v.targets(path+".targets", r.Targets)
	for i, name := range r.Fallback {
		v.known(path+".fallback["+strconv.Itoa(i)+"]", name)
	}
}

// guard checks that a route that decides nothing has nothing to decide with.
func (v *validation) guard(path string, r RouteConfig) {
	if len(r.Residency) == 0 {
		v.fault(path+".residency", "is empty: name the regions that the guard allows")
	}
	if r.Strategy != "" || len(r.Settings) > 0 || len(r.Steps) > 0 || len(r.Targets) > 0 || len(r.Fallback) > 0 {
		v.fault(path+".guard", "has strategy, steps, targets or fallback: a guard decides nothing; make it a route of its own")
	}
}

func (v *validation) when(path, when string) {
	if when == "" {
		return
	}
	c, err := Compile(when, nil)
	if err != nil {
		v.fault(path, err.Error())
		return
	}
	v.conditions[when] = c
	for _, p := range c.places {
		if !v.providers[p.provider] {
			message := fmt.Sprintf("no target names a provider %q (column %d)", p.provider, p.column)
			if near := nearest(p.provider, slices.Sorted(maps.Keys(v.providers))); len(near) > 0 {
				message += "; did you mean " + strings.Join(near, " or ") + "?"
			}
			v.fault(path, message)
		}
	}
}

func (v *validation) strategy(path, kind string, settings catalog.Settings) {
	switch err := v.strategies.Check(kind, settings); {
	case errors.Is(err, catalog.ErrUnknownKind):
		v.fault(path+".strategy", err.Error())
	case err != nil:
		v.fault(path+".settings", err.Error())
	}
}

// known checks a reference to a model.
func (v *validation) known(path, name string) {
	if v.models[name] {
		return
	}
	names := make([]string, 0, len(v.models))
	for n := range v.models {
		names = append(names, n)
	}
	message := fmt.Sprintf("there is no model %q under models", name)
	if near := nearest(name, names); len(near) > 0 {
		message += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	v.fault(path, message)
}

// maxWeight keeps sums of weights far from overflow.
const maxWeight = 1_000_000

func (t TargetConfig) target() schemas.Target {
	return schemas.Target{Provider: t.Provider, Model: t.Model, Region: t.Region}
}

// providers returns the names that targets use.
func (c *Config) providers() map[string]bool {
	names := make(map[string]bool)
	for _, m := range c.Models {
		for _, t := range m.Targets {
			names[t.Provider] = true
		}
	}
	for _, r := range c.Routes {
		for _, t := range r.Targets {
			names[t.Provider] = true
		}
	}
	return names
}

func specs(targets []TargetConfig, can *Capabilities) []TargetSpec {
	var out []TargetSpec
	for _, t := range targets {
		w := 1
		if t.Weight != nil {
			w = *t.Weight
		}
		out = append(out, TargetSpec{Target: t.target(), Can: cmp.Or(t.Capabilities, can), Weight: w, Priority: t.Priority})
	}
	return out
}

// New returns the stage that c describes. Its error joins all of c's faults,
// each a *Fault.
func New(c Config, strategies *catalog.Catalog[Strategy], env catalog.Env) (*Router, error) {
	v := c.check(strategies)
	var faults []error
	for _, f := range v.faults {
		faults = append(faults, f)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	routes := c.Routes
	if !slices.ContainsFunc(routes, func(r RouteConfig) bool { return !r.Guard }) {
		routes = append(slices.Clone(routes), RouteConfig{Name: DefaultRoute})
	}
	var models []Model
	for _, m := range c.Models {
		models = append(models, Model{Name: m.Name, Targets: specs(m.Targets, m.Capabilities)})
	}
	var rules []Rule
	for i, rc := range routes {
		in, err := rc.rule(strategies, env)
		if err != nil {
			return nil, fmt.Errorf("routes[%d]: %w", i, err)
		}
		if rc.When != "" {
			when := *v.conditions[rc.When]
			when.failed = complain(env.Log, rc.Name)
			in.When = &when
		}
		rules = append(rules, in)
	}
	return NewRouter(models, rules, c.Sources), nil
}

func (rc *RouteConfig) rule(strategies *catalog.Catalog[Strategy], env catalog.Env) (Rule, error) {
	in := Rule{
		Name: rc.Name, Models: rc.Models, Guard: rc.Guard, Residency: rc.Residency, Targets: specs(rc.Targets, nil), Fallback: rc.Fallback,
	}
	steps := rc.Steps
	if len(steps) == 0 && !rc.Guard {
		steps = []StepConfig{{cmp.Or(rc.Strategy, DefaultStrategy), rc.Settings}}
	}
	var built chain
	for _, step := range steps {
		s, err := strategies.Build(step.Strategy, step.Settings, env)
		if err != nil {
			return in, err
		}
		built = append(built, s)
	}
	switch len(built) {
	case 0:
	case 1:
		in.Strategy = built[0]
	default:
		in.Strategy = built
	}
	return in, nil
}

// complain returns a function that warns once about a route whose expression
// can't be evaluated. The error itself may quote the request.
func complain(log *zap.Logger, route string) func(error) {
	var once sync.Once
	return func(error) {
		once.Do(func() {
			if log != nil {
				log.Warn("expression of a route failed; the route does not match such requests", zap.String("route", route))
			}
		})
	}
}

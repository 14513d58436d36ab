package routing

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// Config is the models and routes of the configuration document.
type Config struct {
	Models []ModelConfig `json:"models,omitempty"`
	Routes []RouteConfig `json:"routes,omitempty"` // the first that matches decides; none: every model by priority
}

// ModelConfig is a name that requests may ask for.
type ModelConfig struct {
	Name    string         `json:"name"`
	Targets []TargetConfig `json:"targets"`
}

// TargetConfig is a model at a provider.
type TargetConfig struct {
	Provider string `json:"provider"` // a name under providers
	Model    string `json:"model"`    // the vendor's name
	Region   string `json:"region,omitempty"`
	Weight   *int   `json:"weight,omitempty"`   // share of requests relative to the others; unset: 1; 0: only when the others fail
	Priority int    `json:"priority,omitempty"` // lower comes first
}

// RouteConfig is a rule.
type RouteConfig struct {
	Name     string           `json:"name"`
	When     string           `json:"when,omitempty"`     // an expression of type bool; empty: always
	Models   []string         `json:"models,omitempty"`   // only for requests for these; empty: any
	Strategy string           `json:"strategy,omitempty"` // a kind; empty: priority
	Settings catalog.Settings `json:"settings,omitempty"` // of the strategy
	Targets  []TargetConfig   `json:"targets,omitempty"`  // in place of the requested model's
	Fallback []string         `json:"fallback,omitempty"` // models whose targets follow
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
	v := &validation{strategies: strategies, models: make(map[string]bool), routes: make(map[string]bool)}
	for i, m := range c.Models {
		v.model("models["+strconv.Itoa(i)+"]", m)
	}
	for i, r := range c.Routes {
		v.route("routes["+strconv.Itoa(i)+"]", r)
	}
	return v.faults
}

type validation struct {
	strategies     *catalog.Catalog[Strategy]
	models, routes map[string]bool
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
	}
}

func (v *validation) route(path string, r RouteConfig) {
	v.name(path+".name", r.Name, v.routes)
	if r.When != "" {
		if _, err := compile(r.When, nil); err != nil {
			v.fault(path+".when", err.Error())
		}
	}
	for i, name := range r.Models {
		if len(r.Targets) == 0 {
			v.known(path+".models["+strconv.Itoa(i)+"]", name)
		}
	}
	kind := cmp.Or(r.Strategy, DefaultStrategy)
	switch err := v.strategies.Check(kind, r.Settings); {
	case errors.Is(err, catalog.ErrUnknownKind):
		v.fault(path+".strategy", err.Error())
	case err != nil:
		v.fault(path+".settings", err.Error())
	}
	v.targets(path+".targets", r.Targets)
	for i, name := range r.Fallback {
		v.known(path+".fallback["+strconv.Itoa(i)+"]", name)
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

func specs(targets []TargetConfig) []TargetSpec {
	var out []TargetSpec
	for _, t := range targets {
		w := 1
		if t.Weight != nil {
			w = *t.Weight
		}
		out = append(out, TargetSpec{Target: t.target(), Weight: w, Priority: t.Priority})
	}
	return out
}

// New returns the stage that c describes. Its error joins all of c's faults,
// each a *Fault.
func New(c Config, strategies *catalog.Catalog[Strategy], env catalog.Env) (*Router, error) {
	var faults []error
	for _, f := range c.Faults(strategies) {
		faults = append(faults, f)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	routes := c.Routes
	if len(routes) == 0 {
		routes = []RouteConfig{{Name: DefaultRoute}}
	}
	var models []Model
	for _, m := range c.Models {
		models = append(models, Model{Name: m.Name, Targets: specs(m.Targets)})
	}
	var rules []Rule
	for i, rc := range routes {
		s, err := strategies.Build(cmp.Or(rc.Strategy, DefaultStrategy), rc.Settings, env)
		if err != nil {
			return nil, fmt.Errorf("routes[%d]: %w", i, err)
		}
		in := Rule{Name: rc.Name, Models: rc.Models, Strategy: s, Targets: specs(rc.Targets), Fallback: rc.Fallback}
		if rc.When != "" {
			when, err := compile(rc.When, complain(env.Log, rc.Name))
			if err != nil {
				return nil, fmt.Errorf("routes[%d].when: %w", i, err)
			}
			in.Match = when.match
		}
		rules = append(rules, in)
	}
	return NewRouter(models, rules), nil
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

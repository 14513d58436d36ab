package alert

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// Fault is something wrong with the rules, and where.
type Fault struct {
	Path    string // within alerts, such as burn[0].objective
	Message string // what is wrong and what to write instead
}

// Known are the names that rules may use.
type Known struct{ Receivers, Models, Budgets []string }

// labelName is what Prometheus takes for the name of a label.
var labelName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Faults returns everything that is wrong with a complete configuration.
func (c *Config) Faults(known Known) []Fault {
	f := &faults{known: known, names: map[string]bool{}}
	if c.Every < time.Second || c.Every > time.Hour {
		f.add("every", "%s is not between 1s and 1h: write 30s", c.Every)
	}
	for i := range c.Burn {
		f.burn(fmt.Sprintf("burn[%d]", i), &c.Burn[i])
	}
	for i := range c.Anomaly {
		f.anomaly(fmt.Sprintf("anomaly[%d]", i), &c.Anomaly[i])
	}
	for i := range c.Budget {
		r, at := &c.Budget[i], fmt.Sprintf("budget[%d]", i)
		f.rule(at, &r.Rule)
		f.dangling(at+".budgets", "budget", r.Budgets, known.Budgets)
		for j, t := range r.At {
			f.severity(fmt.Sprintf("%s.at[%d].severity", at, j), t.Severity, true)
			if t.Percent < 1 || t.Percent > 1000 {
				f.add(fmt.Sprintf("%s.at[%d].percent", at, j), "%d is not between 1 and 1000: write a percentage of the limit, such as 80", t.Percent)
			}
		}
	}
	for i := range c.Forecast {
		r, at := &c.Forecast[i], fmt.Sprintf("forecast[%d]", i)
		f.rule(at, &r.Rule)
		f.dangling(at+".budgets", "budget", r.Budgets, known.Budgets)
		f.oneOf(at+".when", r.When, []string{"expected", "earliest"})
		if r.Ahead < time.Hour || r.Ahead > 31*24*time.Hour {
			f.add(at+".ahead", "%s is not between 1h and 744h: write 72h", r.Ahead)
		}
		if r.Season < 2 || r.Season > 24*7 {
			f.add(at+".season", "%d is not between 2 and 168: write 24 for days or 168 for weeks", r.Season)
		}
	}
	return f.all
}

// faults collects what is wrong.
type faults struct {
	all   []Fault
	known Known
	names map[string]bool
}

func (f *faults) add(path, format string, args ...any) {
	f.all = append(f.all, Fault{path, fmt.Sprintf(format, args...)})
}

func (f *faults) rule(at string, r *Rule) {
	switch {
	case r.Name == "":
		f.add(at+".name", "the rule has no name: write one, such as %s", r.Kind)
	case f.names[r.Name] || r.Name == selfRule:
		f.add(at+".name", "there is another rule %q: each needs its own name", r.Name)
	}
	f.names[r.Name] = true
	f.severity(at+".severity", r.Severity, false)
	f.dangling(at+".to", "receiver", r.To, f.known.Receivers)
	if r.For < 0 || r.For > 24*time.Hour {
		f.add(at+".for", "%s is not between 0 and 24h: write a duration such as 5m", r.For)
	}
	if r.Keep < 0 || r.Keep > 24*time.Hour {
		f.add(at+".keep", "%s is not between 0 and 24h: write a duration such as 5m", r.Keep)
	}
	for name := range r.Labels {
		if !labelName.MatchString(name) || name == "rule" || name == "kind" || name == "severity" {
			f.add(at+".labels", "%q is no name for a label here: write letters, digits and _, and not rule, kind or severity", name)
		}
	}
}

func (f *faults) severity(at, s string, optional bool) {
	if optional && s == "" {
		return
	}
	f.oneOf(at, s, []string{Page, Ticket})
}

func (f *faults) oneOf(at, v string, all []string) {
	if !slices.Contains(all, v) {
		f.add(at, "%q is unknown: write %s", v, strings.Join(all, ", "))
	}
}

// dangling finds names of what does not exist.
func (f *faults) dangling(at, what string, names, known []string) {
	for i, n := range names {
		if !slices.Contains(known, n) {
			remedy := "there are none yet"
			if len(known) > 0 {
				remedy = "there are " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
			}
			f.add(fmt.Sprintf("%s[%d]", at, i), "no %s is named %q; %s", what, n, remedy)
		}
	}
}

func (f *faults) by(at string, by, all []string) {
	for i, n := range by {
		if !slices.Contains(all, n) {
			f.add(fmt.Sprintf("%s[%d]", at, i), "%q is unknown here: write %s", n, strings.Join(all, ", "))
		}
	}
}

func (f *faults) outcomes(at string, codes []string) {
	for i, c := range codes {
		if !schemas.Code(c).Known() {
			f.add(fmt.Sprintf("%s[%d]", at, i), "%q is no outcome of a request: write codes of docs/contracts.md, such as %s", c, schemas.InvalidRequest)
		}
	}
}

func rolledUp(by []string) bool {
	return !slices.ContainsFunc(by, func(n string) bool { return n != "model" && n != "tenant" })
}

func (f *faults) burn(at string, r *BurnRule) {
	f.rule(at, &r.Rule)
	f.dangling(at+".models", "model", r.Models, f.known.Models)
	f.by(at+".by", r.By, []string{"model", "tenant", "provider", "endpoint"})
	f.outcomes(at+".ignore", r.Ignore)
	if !(r.Objective > 0 && r.Objective < 100) {
		f.add(at+".objective", "%g is not between 0 and 100: write the percentage of requests that are to be good, such as 99.5", r.Objective)
	}
	if r.Within < 0 {
		f.add(at+".within", "%s is below zero: leave it out where time does not matter", r.Within)
	}
	if r.Failures < 1 {
		f.add(at+".min_failures", "%d is below one: write 1 or more", r.Failures)
	}
	if r.Period < time.Hour {
		f.add(at+".period", "%s is too short: write the period of the objective, such as 720h", r.Period)
	}
	for i, w := range r.Windows {
		path := fmt.Sprintf("%s.windows[%d]", at, i)
		f.severity(path+".severity", w.Severity, true)
		switch {
		case w.Short < time.Minute || w.Long <= w.Short || w.Long > 31*24*time.Hour:
			f.add(path, "%s and %s are no pair: write a short window of 1m or more and a longer one up to 744h, such as {long: 1h, short: 5m, rate: 14.4}", w.Long, w.Short)
		case w.Long > RawLimit && !rolledUp(r.By):
			f.add(path+".long", "windows above %s are counted by model and tenant only: write a shorter one, or another by", RawLimit)
		case w.Long > RawLimit && (w.Long%time.Hour != 0 || w.Short > RawLimit && w.Short%time.Hour != 0):
			f.add(path, "windows above %s are counted in whole hours: write such ones", RawLimit)
		}
		if !(w.Rate > 0) || w.Rate*(100-r.Objective) > 100 {
			f.add(path+".rate", "%g can't be exceeded with an objective of %g %%: write more than 0 and less than %.4g", w.Rate, r.Objective, 100/(100-r.Objective))
		}
	}
}

func (f *faults) anomaly(at string, r *AnomalyRule) {
	f.rule(at, &r.Rule)
	f.oneOf(at+".measure", r.Measure, Measures())
	f.dangling(at+".models", "model", r.Models, f.known.Models)
	f.outcomes(at+".ignore", r.Ignore)
	switch r.Measure {
	case Probability:
		f.by(at+".by", r.By, []string{"endpoint"})
	case Spend:
		f.by(at+".by", r.By, []string{"model", "tenant", "provider"})
	default:
		f.by(at+".by", r.By, []string{"model", "tenant", "provider", "endpoint"})
	}
	if r.Measure == Probability && len(r.Models)+len(r.Tenants) > 0 {
		f.add(at+".models", "endpoints serve all models and tenants: leave models and tenants out")
	}
	if r.Step < time.Minute || r.Step > 24*time.Hour {
		f.add(at+".step", "%s is not between 1m and 24h: write 5m", r.Step)
	}
	if r.Above == nil {
		if !(r.Score > 0 && r.Score <= 1) {
			f.add(at+".score", "%g is not between 0 and 1: write 0.5", r.Score)
		}
		if r.For != 0 {
			f.add(at+".for", "an anomaly is a single step: leave it out, and see keep")
		}
		if r.Step > 0 && (r.History < 150*r.Step || r.History > 4000*r.Step) {
			f.add(at+".history", "%s is not between 150 and 4000 steps: write %s or more", r.History, 150*r.Step)
		}
	}
}

// Faults returns what is wrong with a complete receiver; paths are within it.
func (r *Receiver) Faults() []Fault {
	f := &faults{}
	if r.Name == "" {
		f.add("name", "the receiver has no name: write one, such as on-call")
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"wait", r.Wait}, {"interval", r.Interval}, {"repeat", r.Repeat}} {
		if d.value < 0 || d.name == "repeat" && d.value < time.Minute {
			f.add(d.name, "%s is too short: leave it out for the default", d.value)
		}
	}
	return f.all
}

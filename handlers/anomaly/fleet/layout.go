package fleet

import "slices"

// Layout says which providers are judged together: those that answer for the same
// models, directly or through others. Each such fleet has the name of its first
// provider, so that all processes of a configuration agree on it.
type Layout struct {
	fleets map[string]string     // by provider
	models map[string][][]string // by fleet: the providers of each model
}

// NewLayout returns the layout of a configuration: the providers of each model,
// and of each route that names its own.
func NewLayout(models [][]string) *Layout {
	l := &Layout{fleets: map[string]string{}, models: map[string][][]string{}}
	for _, providers := range models {
		for _, p := range providers {
			l.join(p, providers[0])
		}
	}
	for _, providers := range models {
		if len(providers) == 0 {
			continue
		}
		of := slices.Compact(slices.Sorted(slices.Values(providers)))
		f := l.fleets[of[0]]
		if !slices.ContainsFunc(l.models[f], func(other []string) bool { return slices.Equal(other, of) }) {
			l.models[f] = append(l.models[f], of)
		}
	}
	return l
}

// join makes two providers, and all that are joined to them, of one fleet.
func (l *Layout) join(a, b string) {
	for _, p := range []string{a, b} {
		if l.fleets[p] == "" {
			l.fleets[p] = p
		}
	}
	from, to := l.fleets[a], l.fleets[b]
	if from < to {
		from, to = to, from
	}
	for p, f := range l.fleets {
		if f == from {
			l.fleets[p] = to
		}
	}
}

// Fleet returns the name of a provider's fleet; one that no model names is its own.
func (l *Layout) Fleet(provider string) string {
	if f := l.fleets[provider]; f != "" {
		return f
	}
	return provider
}

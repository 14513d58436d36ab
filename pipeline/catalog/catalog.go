// Package catalog maps a kind in the configuration to the component of that
// kind: providers, routing strategies, balancers.
//
// A component's folder exports Entry = catalog.Define(kind, defaults, New); one
// list in cmd/app names the entries. Nothing happens at import.
package catalog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"go.uber.org/zap"
)

// Env is what the gateway lends to every component that it builds.
type Env struct {
	Log  *zap.Logger
	HTTP *http.Client // with the gateway's transport; components may wrap it
}

// Settings are a component's own settings as JSON, whatever the configuration
// was written in. Empty settings mean the defaults.
type Settings = json.RawMessage

// Entry is a kind of component with how it is configured and built.
type Entry[T any] struct {
	Kind  string
	build func(Settings, Env) (T, error)
	check func(Settings) error
}

// Define returns the entry for a component configured by C. Settings are read
// over defaults; a key that C does not have is an error, and so is a value that
// C's Validate method, if there is one, rejects. build is given a C that it can
// trust; it opens no connections. Defaults are copied by value: a map or slice
// default must be made in build.
func Define[T, C any](kind string, defaults C, build func(C, Env) (T, error)) Entry[T] {
	read := func(s Settings) (C, error) {
		c := defaults
		if len(bytes.TrimSpace(s)) > 0 {
			d := json.NewDecoder(bytes.NewReader(s))
			d.DisallowUnknownFields()
			if err := d.Decode(&c); err != nil {
				return c, fmt.Errorf("reading settings: %w", err)
			}
		}
		if v, ok := any(&c).(interface{ Validate() error }); ok {
			if err := v.Validate(); err != nil {
				return c, err
			}
		}
		return c, nil
	}
	return Entry[T]{
		Kind:  kind,
		check: func(s Settings) error { _, err := read(s); return err },
		build: func(s Settings, env Env) (T, error) {
			c, err := read(s)
			if err != nil {
				var zero T
				return zero, err
			}
			return build(c, env)
		},
	}
}

// Catalog is a set of entries, one for each kind.
type Catalog[T any] struct {
	what    string
	entries map[string]Entry[T]
}

// New returns a catalog of the given entries; what names them in errors
// ("provider", "strategy"). Two entries of one kind are a mistake in the
// program, so New panics.
func New[T any](what string, entries ...Entry[T]) *Catalog[T] {
	c := &Catalog[T]{what: what, entries: make(map[string]Entry[T], len(entries))}
	for _, e := range entries {
		if _, twice := c.entries[e.Kind]; twice {
			panic("catalog: two entries of " + what + " kind " + e.Kind)
		}
		c.entries[e.Kind] = e
	}
	return c
}

// ErrUnknownKind is in the chain of errors about a kind that no entry has.
var ErrUnknownKind = errors.New("unknown kind")

// Build makes the component of the given kind from its settings.
func (c *Catalog[T]) Build(kind string, s Settings, env Env) (T, error) {
	e, err := c.entry(kind)
	if err != nil {
		var zero T
		return zero, err
	}
	v, err := e.build(s, env)
	if err != nil {
		return v, fmt.Errorf("%s: %w", kind, err)
	}
	return v, nil
}

// Check reports what is wrong with the settings of the given kind, without
// building anything.
func (c *Catalog[T]) Check(kind string, s Settings) error {
	e, err := c.entry(kind)
	if err != nil {
		return err
	}
	if err := e.check(s); err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	return nil
}

// Kinds returns the known kinds, sorted.
func (c *Catalog[T]) Kinds() []string {
	kinds := make([]string, 0, len(c.entries))
	for k := range c.entries {
		kinds = append(kinds, k)
	}
	slices.Sort(kinds)
	return kinds
}

func (c *Catalog[T]) entry(kind string) (Entry[T], error) {
	e, ok := c.entries[kind]
	if !ok {
		return e, fmt.Errorf("%w: no %s of kind %q; there are %s", ErrUnknownKind, c.what, kind, strings.Join(c.Kinds(), ", "))
	}
	return e, nil
}

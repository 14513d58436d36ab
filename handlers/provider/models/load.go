package models

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/sira-ai/sira/schemas"
)

// document is the catalogue as it is written.
type document struct {
	Checked   string            `json:"checked"`
	Sources   map[string]string `json:"sources"`
	Providers []Vendor          `json:"providers"`
	Models    []Model           `json:"models"`
}

// Load reads a catalogue: YAML with the day on which it was checked, its sources
// by key, what holds for all models of a provider, and the models. Keys are those
// of [Vendor] and [Model]; others are refused. The error tells everything that is
// wrong, or, where the text can't be decoded, the first place.
func Load(text []byte) (*Catalogue, error) {
	var d document
	dec := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict())
	if err := dec.Decode(&d); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("decoding model catalogue: %w", err)
	}
	c := &Catalogue{Checked: d.Checked, Sources: d.Sources, models: d.Models, byName: make(map[name]*Model, 2*len(d.Models))}
	v := validation{doc: &d, c: c}
	v.run()
	if len(v.faults) > 0 {
		return nil, fmt.Errorf("reading model catalogue: %w", errors.Join(v.faults...))
	}
	return c, nil
}

// validation collects what is wrong with a catalogue.
type validation struct {
	doc    *document
	c      *Catalogue
	at     string // where it is
	faults []error
}

func (v *validation) fault(format string, args ...any) {
	v.faults = append(v.faults, errors.New(v.at+": "+fmt.Sprintf(format, args...)))
}

func (v *validation) run() {
	v.at = "catalogue"
	if v.doc.Checked == "" {
		v.fault("checked is missing: write the day on which the facts were compared, such as 2026-11-23")
	}
	v.day("checked", v.doc.Checked)
	if len(v.doc.Models) == 0 {
		v.fault("models is empty: write a row for each model")
	}
	vendors := make(map[string]*Vendor, len(v.doc.Providers))
	for i := range v.doc.Providers {
		p := &v.doc.Providers[i]
		v.at = fmt.Sprintf("providers[%d] (%s)", i, p.Provider)
		if p.Provider == "" || vendors[p.Provider] != nil {
			v.fault("provider is empty or there twice: write one row for each kind")
		}
		v.capabilities(p.Can, p.Cannot)
		v.sources(p.Source)
		vendors[p.Provider] = p
	}
	for i := range v.c.models {
		m := &v.c.models[i]
		v.at = fmt.Sprintf("models[%d] (%s/%s)", i, m.Provider, m.Model)
		v.model(m)
		if p := vendors[m.Provider]; p != nil {
			inherit(m, p)
		} else {
			v.fault("provider has no row under providers: write one")
		}
	}
	for i := range v.c.models { // when all names are known
		m := &v.c.models[i]
		if m.ReplacedBy != "" && v.c.Find(m.Provider, m.ReplacedBy) == nil {
			v.at = fmt.Sprintf("models[%d] (%s/%s)", i, m.Provider, m.Model)
			v.fault("replaced_by names %q, which is no model of this provider here", m.ReplacedBy)
		}
	}
}

// inherit adds what holds for all models of a provider, unless the model's own row
// says otherwise.
func inherit(m *Model, p *Vendor) {
	for _, c := range p.Can {
		if !m.Does(c) && !m.Lacks(c) {
			m.Can = append(m.Can, c)
		}
	}
	for _, c := range p.Cannot {
		if !m.Does(c) && !m.Lacks(c) {
			m.Cannot = append(m.Cannot, c)
		}
	}
}

func (v *validation) model(m *Model) {
	if m.Model == "" {
		v.fault("model is empty: write the vendor's name of it")
	}
	for _, n := range append([]string{m.Model}, m.Also...) {
		k := name{m.Provider, n}
		if v.c.byName[k] != nil {
			v.fault("the name %q is there twice at this provider", n)
		}
		v.c.byName[k] = m
	}
	if len(m.Operations) == 0 {
		v.fault("operations is empty: write what it is asked for, such as [chat]")
	}
	for _, op := range m.Operations {
		if !slices.Contains(schemas.Operations(), op) {
			v.fault("operations has %q, which is not one of %s", op, join(schemas.Operations()))
		}
	}
	v.words("input", m.Input, inputs)
	v.words("output", m.Output, outputs)
	if m.Context < 0 || m.MaxOutput < 0 || m.Context > 0 && m.MaxOutput > m.Context {
		v.fault("context and max_output are %d and %d: write tokens, the second at most the first, or leave them out", m.Context, m.MaxOutput)
	}
	v.capabilities(m.Can, m.Cannot)
	v.day("deprecated", m.Deprecated)
	v.day("retires", m.Retires)
	if m.Deprecated != "" && m.Retires != "" && m.Deprecated > m.Retires {
		v.fault("deprecated is after retires")
	}
	v.sources(m.Source)
}

func (v *validation) words(key string, got, known []string) {
	if len(got) == 0 {
		v.fault("%s is empty: write all of %s that apply", key, strings.Join(known, ", "))
	}
	for _, w := range got {
		if !slices.Contains(known, w) {
			v.fault("%s has %q, which is not one of %s", key, w, strings.Join(known, ", "))
		}
	}
}

func (v *validation) capabilities(can, cannot []Capability) {
	for _, c := range slices.Concat(can, cannot) {
		if !slices.Contains(Capabilities(), c) {
			v.fault("%q is no capability: write one of %s", c, join(Capabilities()))
		}
	}
	for _, c := range can {
		if slices.Contains(cannot, c) {
			v.fault("%s is under can and under cannot: keep one", c)
		}
	}
}

func (v *validation) sources(keys []string) {
	if len(keys) == 0 {
		v.fault("source is missing: name a key under sources")
	}
	for _, k := range keys {
		if v.doc.Sources[k] == "" {
			v.fault("source %q is not under sources", k)
		}
	}
}

func (v *validation) day(key, text string) {
	if text == "" {
		return
	}
	if _, err := time.Parse(time.DateOnly, text); err != nil {
		v.fault("%s is %q: write a day, such as 2026-11-23", key, text)
	}
}

func join[S ~string](all []S) string {
	words := make([]string, len(all))
	for i, s := range all {
		words[i] = string(s)
	}
	return strings.Join(words, ", ")
}

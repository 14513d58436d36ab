package cost

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/shopspring/decimal"
)

// fields reads the values of one row and adds a fault for each that is not what
// it should be.
type fields struct {
	*loader

	node   ast.Node
	path   string
	values map[string]ast.Node
}

func (m *fields) hasAny(names []string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return m.values[name] != nil })
}

// text returns a value as it is written, or "" where it is absent or no text.
func (m *fields) text(name string, required bool) string {
	n, ok := m.values[name]
	if !ok {
		if required {
			m.fault(m.node, join(m.path, name), "the key is missing")
		}
		return ""
	}
	var s string
	switch n := n.(type) {
	case *ast.StringNode:
		s = n.Value
	case *ast.IntegerNode, *ast.FloatNode:
		s = n.GetToken().Value // the node's value may be a float
	default:
		m.fault(n, join(m.path, name), "write a single value, in quotes if it looks like something else")
		return ""
	}
	if s == "" {
		m.fault(n, join(m.path, name), "the value is empty; leave the key out or write a value")
	}
	return s
}

func (m *fields) date(name string) time.Time {
	s := m.text(name, true)
	if s == "" {
		return time.Time{}
	}
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		m.fault(m.values[name], join(m.path, name), "write a day such as 2026-01-31")
	}
	return t
}

var currencyCode = regexp.MustCompile(`^[A-Z]{3}$`)

func (m *fields) currency(name string) string {
	s := m.text(name, true)
	if s != "" && !currencyCode.MatchString(s) {
		m.fault(m.values[name], join(m.path, name), "write three capital letters (ISO 4217) such as USD")
	}
	return s
}

func (m *fields) integer(name string, absent, most int64) int64 {
	s := m.text(name, false)
	if s == "" {
		return absent
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 || n > most {
		m.fault(m.values[name], join(m.path, name), fmt.Sprintf("write a whole number from 1 to %d", most))
		return absent
	}
	return n
}

// number is a price as people write it, short enough to be one.
var number = regexp.MustCompile(`^[0-9]{0,20}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?$`)

// prices reads all that a row says about money, into p and, for the columns, into
// what it returns.
func (m *fields) prices(p *PriceRow) (columnsOf [columns]*decimal.Decimal) {
	for i, name := range columnNames {
		if columnsOf[i] = m.price(name); columnsOf[i] != nil {
			p.set(&p.Prices, name, *columnsOf[i])
		}
	}
	m.nested("parts", slices.Sorted(maps.Keys(partSides)), func(in *fields, name string) {
		if in.values[name].GetToken().Value == flat {
			p.Flat = append(p.Flat, name)
		} else if d := in.price(name); d != nil {
			p.set(&p.Parts, name, *d)
		}
	})
	m.nested("units", nil, func(in *fields, name string) {
		if d := in.price(name); d != nil {
			p.set(&p.Units, name, *d)
		}
	})
	m.nested("tiers", nil, func(in *fields, name string) {
		if d := in.factor(name); d != nil {
			p.set(&p.Tiers, name, *d)
		}
	})
	slices.Sort(p.Flat)
	if len(p.Tiers) > 0 && p.Tier != "" {
		m.fault(m.values["tiers"], join(m.path, "tiers"), "only rows of the usual tier can name shares; leave tier or tiers out")
	}
	return columnsOf
}

// nested calls read for every key of a mapping inside the row. Without names, any
// name that could be one is taken.
func (m *fields) nested(name string, names []string, read func(in *fields, name string)) {
	n, ok := m.values[name]
	if !ok {
		return
	}
	path := join(m.path, name)
	free := names == nil
	if free {
		names = keysOf(n)
		for _, name := range names {
			if !unitName.MatchString(name) {
				m.fault(n, join(path, name), "write a name of small letters, digits and _")
				return
			}
		}
	}
	in := &fields{loader: m.loader, node: n, path: path, values: m.mapping(n, path, names)}
	for _, name := range slices.Sorted(maps.Keys(in.values)) {
		read(in, name)
	}
}

var unitName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// keysOf returns the keys of a mapping; of anything else, none.
func keysOf(n ast.Node) []string {
	var keys []string
	switch m := n.(type) {
	case *ast.MappingNode:
		for _, p := range m.Values {
			keys = append(keys, p.Key.GetToken().Value)
		}
	case *ast.MappingValueNode:
		keys = append(keys, m.Key.GetToken().Value)
	}
	return keys
}

// factor reads a share of a price.
func (m *fields) factor(name string) *decimal.Decimal {
	d := m.price(name)
	if d == nil {
		return nil
	}
	if d.Exponent() < -maxFactorPlaces || d.GreaterThan(decimal.NewFromInt(maxFactor)) {
		m.fault(m.values[name], join(m.path, name), fmt.Sprintf("write a share of the price such as 0.5: at most %d, with at most %d decimal places", maxFactor, maxFactorPlaces))
		return nil
	}
	return d
}

func (m *fields) price(name string) *decimal.Decimal {
	s := m.text(name, false)
	if s == "" {
		return nil
	}
	d, err := decimal.NewFromString(s)
	if err != nil || !number.MatchString(s) || d.Exponent() < -maxPlaces || !d.LessThan(decimal.NewFromInt(maxPrice)) {
		m.fault(m.values[name], join(m.path, name), fmt.Sprintf("write a price such as 2.50: from 0 to below %d, with at most %d decimal places", maxPrice, maxPlaces))
		return nil
	}
	return &d
}

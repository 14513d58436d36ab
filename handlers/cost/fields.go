package cost

import (
	"fmt"
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

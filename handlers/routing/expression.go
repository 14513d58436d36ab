package routing

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// maxNodes and maxExpression bound an expression, and with it its evaluation:
// there are no loops, see functions.
const (
	maxNodes      = 256
	maxExpression = 4096
)

// functions are the only ones that an expression may call. None takes a
// predicate, so the work is linear in the expression and the request.
func functions() []string {
	return []string{"len", "lower", "upper", "trim", "trimPrefix", "trimSuffix", "abs", "min", "max", "int", "float", "string"}
}

// expression is a compiled expression.
type expression struct {
	program   *vm.Program
	parts     parts    // of the facts that it asks for
	providers []string // that it asks the health of
	places    []place  // where it asks it
}

// place is where a provider is named in an expression.
type place struct {
	provider string
	column   int
}

// build checks and compiles an expression of the type that as asks for.
func build(source string, as expr.Option, candidate bool) (*expression, error) {
	if len(source) > maxExpression {
		return nil, fmt.Errorf("the expression is longer than %d bytes: split it", maxExpression)
	}
	seen := &names{source: source}
	options := []expr.Option{
		expr.Env(&facts{}), as, expr.MaxNodes(maxNodes), expr.DisableAllBuiltins(), expr.Patch(seen),
	}
	for _, name := range functions() {
		options = append(options, expr.EnableBuiltin(name))
	}
	program, err := expr.Compile(source, options...)
	switch {
	case err != nil:
		return nil, explain(err)
	case seen.ranges:
		return nil, errors.New(`ranges such as 1..9 are not offered: write hour >= 1 and hour <= 9`)
	case seen.parts&partCandidate != 0 && !candidate:
		return nil, errors.New("candidate is not known here: only the strategy custom looks at one target at a time")
	case seen.anyHealth:
		return nil, errors.New("health wants the name of a provider, such as health.openai.failures or health[\"my-pool\"].failures")
	}
	e := &expression{program: program, parts: seen.parts, places: seen.places}
	for _, p := range seen.places {
		if !slices.Contains(e.providers, p.provider) {
			e.providers = append(e.providers, p.provider)
		}
	}
	return e, nil
}

// explain turns the compiler's message of several lines into one.
func explain(err error) error {
	if at, ok := errors.AsType[*file.Error](err); ok {
		place := fmt.Sprintf("column %d", at.Column+1)
		if at.Line > 1 {
			place = fmt.Sprintf("line %d, %s", at.Line, place)
		}
		return fmt.Errorf("%s (%s); known are %s", at.Message, place, known)
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return errors.New(first)
}

func (e *expression) run(q *Query) (any, error) {
	q.need(e.parts, e.providers)
	return q.vm.Run(e.program, &q.facts)
}

// Condition is a compiled expression of type bool. It is safe for concurrent use.
type Condition struct {
	expression
	equal  []equality // necessary for the whole to be true
	exact  bool       // and sufficient
	failed func(error)
}

// Compile checks and compiles an expression of type bool. failed, which may be
// nil, is told when evaluating it goes wrong, which for a checked expression
// takes something like a division by zero.
func Compile(when string, failed func(error)) (*Condition, error) {
	e, err := build(when, expr.AsBool(), false)
	if err != nil {
		return nil, err
	}
	c := &Condition{expression: *e, failed: failed}
	// What is compiled was optimised; what is parsed once more is as written.
	if tree, err := parser.Parse(when); err == nil {
		c.equal, c.exact = equalities(tree.Node)
	}
	return c, nil
}

// holds reports whether the expression is true of the request. The error says
// why it can't be told.
func (c *Condition) holds(q *Query) (bool, error) {
	for i := range c.equal {
		if !slices.Contains(c.equal[i].values, c.equal[i].of.get(q)) {
			return false, nil
		}
	}
	if c.exact {
		return true, nil
	}
	out, err := c.run(q)
	if err != nil {
		if c.failed != nil {
			c.failed(err)
		}
		return false, err
	}
	yes, _ := out.(bool)
	return yes, nil
}

// Text is a compiled expression of type string, such as the unit of an
// experiment. It is safe for concurrent use.
type Text struct {
	expression
	plain field // where the expression is just this
	isOne bool
}

// CompileText checks and compiles an expression of type string.
func CompileText(source string) (*Text, error) {
	e, err := build(source, expr.AsKind(reflect.String), false)
	if err != nil {
		return nil, err
	}
	t := &Text{expression: *e}
	if tree, err := parser.Parse(source); err == nil {
		t.plain, t.isOne = fieldOf(tree.Node)
	}
	return t, nil
}

// Of returns the text for a request; "" where it can't be told.
func (t *Text) Of(q *Query) string {
	if t.isOne {
		return t.plain.get(q)
	}
	out, err := t.run(q)
	if err != nil {
		return ""
	}
	s, _ := out.(string)
	return s
}

// Number is a compiled expression of a number about one candidate. It is safe for
// concurrent use.
type Number struct{ expression }

// CompileNumber checks and compiles an expression that is a number.
func CompileNumber(source string) (*Number, error) {
	e, err := build(source, expr.AsFloat64(), true)
	if err != nil {
		return nil, err
	}
	return &Number{*e}, nil
}

// Of returns the number for a candidate. ok is false where it can't be told.
func (n *Number) Of(q *Query, c *Candidate) (value float64, ok bool) {
	q.about(c)
	out, err := n.run(q)
	if err != nil {
		return 0, false
	}
	value, ok = out.(float64)
	return value, ok && value == value // NaN can't be ranked
}

// names collects what an expression asks for.
type names struct {
	source    string
	parts     parts
	ranges    bool
	places    []place
	asked     int // providers named after health
	healths   int // times that health is mentioned
	anyHealth bool
}

// Visit implements ast.Visitor. Children come before their parents.
func (s *names) Visit(n *ast.Node) {
	switch n := (*n).(type) {
	case *ast.IdentifierNode:
		s.parts |= partOf(n.Value)
		if n.Value == "health" {
			s.healths++
		}
	case *ast.MemberNode:
		of, ok := n.Node.(*ast.IdentifierNode)
		if !ok || of.Value != "health" {
			break
		}
		if name, ok := n.Property.(*ast.StringNode); ok {
			s.asked++
			column := len([]rune(s.source[:min(n.Property.Location().From, len(s.source))])) + 1
			s.places = append(s.places, place{name.Value, column})
		}
	case *ast.BinaryNode:
		if n.Operator == ".." {
			s.ranges = true
		}
	}
	s.anyHealth = s.healths > s.asked
}

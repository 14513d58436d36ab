package routing

import (
	"strings"

	"github.com/expr-lang/expr/ast"
)

// field is a text of the request that rules are found by: model, tenant, op, lane
// or, with its name, a label.
type field struct {
	kind  fieldKind
	label string
}

type fieldKind uint8

const (
	fieldModel fieldKind = iota
	fieldTenant
	fieldOp
	fieldLane
	fieldLabel
	fieldConversation
	fieldEndUser
	fieldID
)

func (f field) get(q *Query) string {
	switch f.kind {
	case fieldModel:
		return q.Request.Model
	case fieldTenant:
		return q.Request.Tenant
	case fieldOp:
		return string(q.Request.Operation())
	case fieldLane:
		return q.Job.Origin.Lane
	case fieldLabel:
		return q.Request.Labels[f.label]
	case fieldConversation:
		return q.Request.ConversationID
	case fieldEndUser:
		return q.Request.EndUser
	default:
		return q.Request.ID
	}
}

// equality says that a field has one of some values.
type equality struct {
	of     field
	values []string
}

// equalities returns what must hold of single fields for an expression to be
// true. exact is set when that is all there is to the expression. An expression
// whose evaluation fails does not match, so that leaving the rest out early
// changes nothing.
func equalities(n ast.Node) (all []equality, exact bool) {
	b, ok := n.(*ast.BinaryNode)
	if !ok {
		return nil, false
	}
	switch b.Operator {
	case "and", "&&":
		left, leftExact := equalities(b.Left)
		right, rightExact := equalities(b.Right)
		return append(left, right...), leftExact && rightExact
	case "or", "||":
		return either(b)
	case "==":
		if f, ok := fieldOf(b.Left); ok {
			return equalTo(f, b.Right)
		}
		if f, ok := fieldOf(b.Right); ok {
			return equalTo(f, b.Left)
		}
	case "in":
		f, isField := fieldOf(b.Left)
		list, isList := b.Right.(*ast.ArrayNode)
		if !isField || !isList {
			return nil, false
		}
		e := equality{of: f}
		for _, item := range list.Nodes {
			s, ok := item.(*ast.StringNode)
			if !ok {
				return nil, false
			}
			e.values = append(e.values, s.Value)
		}
		return []equality{e}, true
	}
	return nil, false
}

func equalTo(f field, n ast.Node) ([]equality, bool) {
	s, ok := n.(*ast.StringNode)
	if !ok {
		return nil, false
	}
	return []equality{{of: f, values: []string{s.Value}}}, true
}

// either returns what holds on both sides of an or: for a field that both
// restrict, the values of either. It is exact where each side is one exact
// equality of the same field.
func either(b *ast.BinaryNode) ([]equality, bool) {
	left, leftExact := equalities(b.Left)
	right, rightExact := equalities(b.Right)
	var all []equality
	for _, l := range left {
		for _, r := range right {
			if l.of == r.of {
				all = append(all, equality{of: l.of, values: append(append([]string(nil), l.values...), r.values...)})
			}
		}
	}
	return all, leftExact && rightExact && len(left) == 1 && len(right) == 1 && len(all) == 1
}

// fieldOf returns the field that a node names.
func fieldOf(n ast.Node) (field, bool) {
	switch n := n.(type) {
	case *ast.IdentifierNode:
		switch n.Value {
		case "model":
			return field{kind: fieldModel}, true
		case "tenant":
			return field{kind: fieldTenant}, true
		case "op", "operation":
			return field{kind: fieldOp}, true
		case "lane":
			return field{kind: fieldLane}, true
		}
	case *ast.MemberNode:
		of, isName := n.Node.(*ast.IdentifierNode)
		property, isText := n.Property.(*ast.StringNode)
		if !isName || !isText {
			break
		}
		switch of.Value + "." + property.Value {
		case "request.conversation_id":
			return field{kind: fieldConversation}, true
		case "request.end_user":
			return field{kind: fieldEndUser}, true
		case "request.id":
			return field{kind: fieldID}, true
		}
		if of.Value == "labels" || of.Value == "tags" {
			return field{kind: fieldLabel, label: strings.Clone(property.Value)}, true
		}
	}
	return field{}, false
}

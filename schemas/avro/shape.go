package avro

import (
	"errors"
	"strings"

	"github.com/twmb/avro"
)

// shape is how another's schema lays out its values. It goes over a body before the
// library makes anything of it: the library makes room for all the items that a list
// could have by its length, and where lists nest, as in tool results, those promises
// add up to a thousand times the record. More items than bytes are left are refused,
// so also those of no bytes, such as nulls.
type shape struct {
	kind  string
	size  int64    // of a fixed
	parts []*shape // fields of a record, branches of a union
	item  *shape   // of an array or map
}

// maxShapeDepth is how deep values may be in each other: the library's limit.
const maxShapeDepth = 1000

var errShapeDepth = errors.New("values are in each other too deep")

// shapeOf returns nil for what it can't follow.
func shapeOf(s *avro.Schema) *shape {
	w := shapes{named: make(map[string]*shape)}
	root := w.add(s.Root())
	if w.lost {
		return nil
	}
	return root
}

type shapes struct {
	named map[string]*shape // without namespaces
	lost  bool
}

func (w *shapes) add(node *avro.SchemaNode) *shape {
	s := &shape{kind: node.Type, size: int64(node.Size)}
	switch node.Type {
	case "null", "boolean", "int", "long", "float", "double", "string", "bytes":
	case "fixed", "enum":
		w.name(node, s)
	case "record", "error":
		w.name(node, s)
		for i := range node.Fields {
			s.parts = append(s.parts, w.add(&node.Fields[i].Type))
		}
	case "union":
		for i := range node.Branches {
			s.parts = append(s.parts, w.add(&node.Branches[i]))
		}
	case "array":
		s.item = w.add(node.Items)
	case "map":
		s.item = w.add(node.Values)
	default:
		s = w.named[lastName(node.Type)]
		w.lost = w.lost || s == nil
	}
	return s
}

// name keeps s for later mention. Two of one name in different namespaces are too
// rare to be told apart.
func (w *shapes) name(node *avro.SchemaNode, s *shape) {
	name := lastName(node.Name)
	w.lost = w.lost || w.named[name] != nil
	w.named[name] = s
}

func lastName(full string) string { return full[strings.LastIndexByte(full, '.')+1:] }

// check returns an error if a payload does not hold what it promises.
func (s *shape) check(payload []byte) error {
	b := body{buf: payload, reading: true}
	if s.pass(&b, 0); b.err != nil {
		return b.mistake()
	}
	return nil
}

func (s *shape) pass(b *body, depth int) {
	if depth > maxShapeDepth {
		b.fail(errShapeDepth)
		return
	}
	switch s.kind {
	case "boolean":
		b.take(1)
	case "float":
		b.take(4)
	case "double":
		b.take(8)
	case "int", "long", "enum":
		b.getLong()
	case "string", "bytes":
		b.take(b.getLong())
	case "fixed":
		b.take(s.size)
	case "union":
		if n := b.getLong(); n < 0 || n >= int64(len(s.parts)) {
			b.fail(errBody)
		} else {
			s.parts[n].pass(b, depth+1)
		}
	case "array", "map":
		s.passItems(b, depth)
	default: // null has no parts
		for _, part := range s.parts {
			part.pass(b, depth+1)
		}
	}
}

func (s *shape) passItems(b *body, depth int) {
	for n := b.getCount(); n > 0; n = b.getCount() {
		for range n {
			if s.kind == "map" {
				b.take(b.getLong())
			}
			if s.item.pass(b, depth+1); b.err != nil {
				return
			}
		}
	}
}

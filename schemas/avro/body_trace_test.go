package avro

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/twmb/avro"
)

// differingField names the field of a schema in which want, a body of that schema,
// begins to differ from got.
func differingField(t *testing.T, schema string, want, got []byte) string {
	t.Helper()
	parsed, err := avro.Parse(schema)
	if err != nil {
		t.Fatal(err)
	}
	common := 0
	for common < min(len(want), len(got)) && want[common] == got[common] {
		common++
	}
	tr := trace{named: make(map[string]*avro.SchemaNode), b: want, goal: common}
	records(parsed.Root(), tr.named)
	tr.walk(parsed.Root(), "")
	if tr.found == "" {
		return "after the last one"
	}
	return tr.found
}

// trace goes over a body with its schema.
type trace struct {
	named map[string]*avro.SchemaNode
	b     []byte
	at    int
	goal  int
	found string // the field whose bytes hold the goal
}

func (tr *trace) long() int {
	n, size := binary.Varint(tr.b[tr.at:])
	tr.at += size
	return int(n)
}

func (tr *trace) walk(node *avro.SchemaNode, path string) {
	switch node.Type {
	case "null":
	case "boolean":
		tr.at++
	case "float":
		tr.at += 4
	case "double":
		tr.at += 8
	case "long", "int":
		tr.long()
	case "string", "bytes":
		size := tr.long()
		tr.at += size
	case "union":
		tr.walk(&node.Branches[tr.long()], path)
	case "array":
		for n := tr.long(); n > 0; n = tr.long() {
			for i := range n {
				tr.walk(node.Items, fmt.Sprintf("%s[%d]", path, i))
			}
		}
	case "map":
		for n := tr.long(); n > 0; n = tr.long() {
			for range n {
				size := tr.long()
				tr.at += size
				tr.walk(node.Values, path)
			}
		}
	case "record":
		for i := range node.Fields {
			f := &node.Fields[i]
			tr.walk(&f.Type, path+"."+f.Name)
		}
		return
	default: // a record that was written out before
		name := node.Type
		if i := bytes.LastIndexByte([]byte(name), '.'); i >= 0 {
			name = name[i+1:]
		}
		tr.walk(tr.named[name], path)
		return
	}
	if tr.found == "" && tr.at > tr.goal {
		tr.found = path[1:]
	}
}

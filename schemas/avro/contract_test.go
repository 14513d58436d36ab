package avro

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/linkedin/goavro/v2"
	"github.com/twmb/avro"

	"github.com/sira-ai/sira/schemas/schematest"
)

// identity lists the fields without which a record means nothing. All others
// have a default, so that they can be added to and taken from old readers.
func identity() map[string][]string {
	return map[string][]string{
		"Request": {"id", "tenant", "model"}, "Result": {"request_id", "tenant", "status"},
		"Chunk": {"request_id", "attempt", "seq", "type"}, "CostEvent": {"id", "request_id", "tenant", "time"},
		"AttemptEvent": {"id", "request_id", "tenant", "attempt"}, "AuditEvent": {"id", "time", "tenant"},
		"MetricEvent": {"time", "name", "worker", "value"}, "Message": {"role"}, "Part": {"kind"}, "Tool": {"name"},
		"ToolResult": {"call_id"}, "Choice": {"message"}, "Failure": {"code"}, "Attempt": {"number"},
		"HealthEvent":   {"id", "time", "kind", "provider", "endpoint"},
		"EndpointStats": {"time", "fleet", "worker"}, "EndpointSums": {"provider", "endpoint"}, "EndpointState": {"provider", "endpoint", "time"},
		"Money": {"amount", "currency"}, "CostLine": {"attempt"}, "ModelInfo": {"id"}, "File": {"id"}, "Job": {"id"},
		"BudgetEvent": {"id", "time", "budget", "seq"}, "Cancel": {"request_id", "tenant"},
	}
}

// records collects the record types of a schema by name.
func records(node *avro.SchemaNode, found map[string]*avro.SchemaNode) {
	if node == nil {
		return
	}
	if node.Type == "record" {
		found[node.Name] = node
	}
	for i := range node.Fields {
		records(&node.Fields[i].Type, found)
	}
	for i := range node.Branches {
		records(&node.Branches[i], found)
	}
	records(node.Items, found)
	records(node.Values, found)
}

func recordsOf(t *testing.T, text string) map[string]*avro.SchemaNode {
	t.Helper()
	schema, err := avro.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]*avro.SchemaNode)
	records(schema.Root(), found)
	return found
}

func TestStructsAndSchemasHaveTheSameFields(t *testing.T) {
	t.Parallel()
	c, _ := registered(t)
	eachKind(t, c, func(t *testing.T, k kind) {
		found := recordsOf(t, k.schema)
		structs := make(map[string]reflect.Type)
		structsBelow(k.typ, structs)
		for name, typ := range structs {
			var want, got []string
			for field := range typ.Fields() {
				if field.IsExported() {
					want = append(want, avroName(field))
				}
			}
			if node := found[name]; node != nil {
				for _, f := range node.Fields {
					got = append(got, f.Name)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-struct +schema):\n%s", name, diff)
			}
		}
		for name := range found {
			if structs[name] == nil {
				t.Errorf("no struct is called %s", name)
			}
		}
	})
}

// structsBelow collects the structs of package schemas by name.
func structsBelow(t reflect.Type, found map[string]reflect.Type) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		structsBelow(t.Elem(), found)
	case reflect.Struct:
		if found[t.Name()] != nil || !strings.HasSuffix(t.PkgPath(), "/schemas") {
			return
		}
		found[t.Name()] = t
		for field := range t.Fields() {
			if field.IsExported() {
				structsBelow(field.Type, found)
			}
		}
	}
}

func TestEveryFieldIsExplainedAndHasADefault(t *testing.T) {
	t.Parallel()
	c, _ := registered(t)
	eachKind(t, c, func(t *testing.T, k kind) {
		for name, node := range recordsOf(t, k.schema) {
			if node.Doc == "" || node.Namespace != "ai.sira.v1" {
				t.Errorf("%s has the doc %q and the namespace %q", name, node.Doc, node.Namespace)
			}
			var without []string
			for _, f := range node.Fields {
				if f.Doc == "" {
					t.Errorf("%s.%s has no doc", name, f.Name)
				}
				if !f.HasDefault {
					without = append(without, f.Name)
				}
			}
			if diff := cmp.Diff(identity()[name], without); diff != "" {
				t.Errorf("%s has no defaults for (-want +got):\n%s", name, diff)
			}
		}
	})
}

// A consumer that generates code from several schemas would get two types of
// one name.
func TestRecordSharedByTopicsIsTheSameEverywhere(t *testing.T) {
	t.Parallel()
	c, _ := registered(t)
	seen := make(map[string]string)
	for _, k := range kinds(c) {
		for name, node := range recordsOf(t, k.schema) {
			shape := describe(node)
			if before, ok := seen[name]; ok && before != shape {
				t.Errorf("%s of %s differs:\n%s\n%s", name, k.name, before, shape)
			}
			seen[name] = shape
		}
	}
}

// describe writes a record out with its own fields, and others by name.
func describe(node *avro.SchemaNode) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q", node.Name, node.Doc)
	for _, f := range node.Fields {
		fmt.Fprintf(&b, "\n  %s %q %v %v %s", f.Name, f.Doc, f.HasDefault, f.Default, typeName(&f.Type))
	}
	return b.String()
}

func typeName(node *avro.SchemaNode) string {
	switch {
	case node == nil:
		return ""
	case node.Type == "record":
		return "ai.sira.v1." + strings.TrimPrefix(node.Name, "ai.sira.v1.")
	case node.Type == "union":
		var names []string
		for i := range node.Branches {
			names = append(names, typeName(&node.Branches[i]))
		}
		return strings.Join(names, "|")
	}
	kind := node.Type
	if kind[0] >= 'A' && kind[0] <= 'Z' { // a record that was written out before
		return "ai.sira.v1." + kind
	}
	return fmt.Sprintf("%s %s %d %d %s%s", kind, node.LogicalType, node.Precision, node.Scale, typeName(node.Items), typeName(node.Values))
}

// golden is what the first version wrote: the schema, a record and, as JSON,
// the struct that was written. The files never change. To pin a later version
// add a folder beside v1.
type golden struct {
	schema, record, value []byte
}

func readGolden(t *testing.T, name string) golden {
	t.Helper()
	var parts [3][]byte
	for i, ext := range []string{".avsc", ".bin", ".json"} {
		b, err := os.ReadFile(filepath.Join("testdata", "v1", name+ext))
		if err != nil {
			t.Fatal(err)
		}
		parts[i] = b
	}
	return golden{parts[0], parts[1], parts[2]}
}

// writeGolden makes the files of a kind of record that has none yet.
func writeGolden(t *testing.T, k kind) {
	t.Helper()
	base := filepath.Join("testdata", "v1", k.name)
	if _, err := os.Stat(base + ".bin"); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	v := k.filled(0)
	record, err := k.encode(v)
	if err != nil {
		t.Fatal(err)
	}
	value, err := json.Marshal(v) // compact, for raw JSON to stay as it is
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(base), 0o755); err != nil {
		t.Fatal(err)
	}
	for ext, b := range map[string][]byte{".avsc": []byte(k.schema), ".bin": record[HeaderSize:], ".json": append(value, '\n')} {
		if err := os.WriteFile(base+ext, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestWriteGolden runs before the parallel tests that read the files.
func TestWriteGolden(t *testing.T) {
	if os.Getenv("SIRA_WRITE_GOLDEN") == "" {
		t.Skip("set SIRA_WRITE_GOLDEN=1 to write the files of a new kind of record")
	}
	c, _ := registered(t)
	eachKind(t, c, writeGolden)
}

func TestFirstVersionsRecordsAreRead(t *testing.T) {
	t.Parallel()
	c, m := registered(t)
	eachKind(t, c, func(t *testing.T, k kind) {
		g := readGolden(t, k.name)
		// The schema of v1 gets an id of its own, as it has once ours moved on.
		m.texts = append(m.texts, string(g.schema)+" ")
		got, err := k.decode(t.Context(), append(AppendHeader(nil, len(m.texts)), g.record...))
		if err != nil {
			t.Fatal(err)
		}
		want := k.empty()
		if err := json.Unmarshal(g.value, want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, schematest.Same()); diff != "" {
			t.Errorf("(-written by v1 +read):\n%s", diff)
		}
	})
}

func TestFirstVersionReadsTodaysRecords(t *testing.T) {
	t.Parallel()
	c, _ := registered(t)
	eachKind(t, c, func(t *testing.T, k kind) {
		v1, err := avro.Parse(string(readGolden(t, k.name).schema), decimalType())
		if err != nil {
			t.Fatal(err)
		}
		today, err := avro.Parse(k.schema)
		if err != nil {
			t.Fatal(err)
		}
		reader, err := avro.Resolve(today, v1)
		if err != nil {
			t.Fatal(err)
		}
		want := k.filled(0)
		b, err := k.encode(want)
		if err != nil {
			t.Fatal(err)
		}
		got := k.empty()
		rest, err := reader.Decode(b[HeaderSize:], got)
		if err != nil || len(rest) > 0 {
			t.Fatalf("%d bytes left, %v", len(rest), err)
		}
	})
}

func TestSchemasStayCompatibleWithTheFirstVersion(t *testing.T) {
	t.Parallel()
	c, _ := registered(t)
	eachKind(t, c, func(t *testing.T, k kind) {
		v1, err := avro.Parse(string(readGolden(t, k.name).schema))
		if err != nil {
			t.Fatal(err)
		}
		today, err := avro.Parse(k.schema)
		if err != nil {
			t.Fatal(err)
		}
		if err := avro.CheckCompatibility(v1, today); err != nil {
			t.Errorf("backward: today's reader can't read v1's records: %v", err)
		}
		if err := avro.CheckCompatibility(today, v1); err != nil {
			t.Errorf("forward: v1's reader can't read today's records: %v", err)
		}
		if _, err := goavro.NewCodec(k.schema); err != nil {
			t.Errorf("another library refuses the schema: %v", err)
		}
	})
}

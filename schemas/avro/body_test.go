package avro

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/schematest"
)

// eachBody runs a test for every kind of record that is written and read without
// the library.
func eachBody(t *testing.T, test func(t *testing.T, k bodyKind)) {
	t.Helper()
	c, _ := registered(t)
	for _, k := range []bodyKind{
		bodyOf("request", c.Request, benchRequest()), bodyOf("result", c.Result, benchResult()), bodyOf("chunk", c.Chunk, benchChunk()),
		bodyOf("cost", c.Cost, benchCost()), bodyOf("attempt", c.Attempt, benchAttempt()), bodyOf("audit", c.Audit, benchAudit()),
	} {
		t.Run(k.name, func(t *testing.T) { test(t, k) })
	}
}

// bodyKind is a kind of record with both ways of writing and reading it.
type bodyKind struct {
	kind
	usual    any
	write    func(v any) ([]byte, bool)
	read     func(payload []byte) (any, error)
	libWrite func(v any) ([]byte, error)
}

func bodyOf[T any](name string, c *Codec[T], usual *T) bodyKind {
	return bodyKind{
		kind:  kindOf(name, c),
		usual: usual,
		write: func(v any) ([]byte, bool) {
			b, ok := c.write(nil, 1, v.(*T))
			return b[min(HeaderSize, len(b)):], ok
		},
		read: func(payload []byte) (any, error) {
			v := new(T)
			err := c.read(payload, v)
			return v, err
		},
		libWrite: func(v any) ([]byte, error) { return c.schema.AppendEncode(nil, v) },
	}
}

// values are some of each sort: all fields set, none, random ones, and what is usual.
func (k bodyKind) values() []any {
	all := []any{k.filled(0), k.empty(), k.usual}
	for seed := range uint64(60) {
		all = append(all, k.filled(seed))
	}
	return all
}

// sameBody is schematest.Same, for any bytes that were read.
func sameBody() cmp.Option { return cmp.Options{schematest.Same(), cmpopts.EquateNaNs()} }

// The library writes what the schema says, field by field; a field that the schema
// has and the body lacks, or has in another place, is named.
func TestBodyIsWhatTheSchemaSays(t *testing.T) {
	t.Parallel()
	eachBody(t, func(t *testing.T, k bodyKind) {
		for i, v := range k.values() {
			oneEntry(reflect.ValueOf(v)) // the library writes maps in any order
			want, err := k.libWrite(v)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := k.write(v)
			if !ok {
				t.Fatalf("value %d was left to the library", i)
			}
			if !bytes.Equal(want, got) {
				t.Fatalf("value %d differs from the schema in the field %s", i, differingField(t, k.schema, want, got))
			}
		}
	})
}

func TestBodyReadsWhatTheLibraryReads(t *testing.T) {
	t.Parallel()
	eachBody(t, func(t *testing.T, k bodyKind) {
		for i, v := range k.values() {
			payload, err := k.libWrite(v)
			if err != nil {
				t.Fatal(err)
			}
			got, err := k.read(payload)
			if err != nil {
				t.Fatalf("value %d: %v", i, err)
			}
			clear(payload) // nothing that was read may be part of it
			if diff := cmp.Diff(v, got, sameBody()); diff != "" {
				t.Fatalf("value %d (-written +read):\n%s", i, diff)
			}
		}
	})
}

// oneEntry leaves one entry in each map below v.
func oneEntry(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			oneEntry(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				oneEntry(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			oneEntry(v.Index(i))
		}
	case reflect.Map:
		for _, key := range v.MapKeys()[min(1, v.Len()):] {
			v.SetMapIndex(key, reflect.Value{})
		}
	}
}

func TestEqualRecordsAreEqualBytes(t *testing.T) {
	t.Parallel()
	c, _ := registered(t)
	labels := make(map[string]string)
	for i := range 20 {
		labels[string(rune('a'+i))] = "x"
	}
	event := &schemas.CostEvent{ID: "i", Labels: labels}
	first, err := c.Cost.Append(nil, event)
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if again, err := c.Cost.Append(nil, event); err != nil || !bytes.Equal(first, again) {
			t.Fatalf("%x, then %x: %v", first, again, err)
		}
	}
}

// What does not fit is left to the library, for the name of the field.
func TestWhatCanNotBeWrittenIsNamed(t *testing.T) {
	t.Parallel()
	c, _ := registered(t)
	dst := []byte("before")
	for field, r := range map[string]*schemas.Result{
		"cost.money.amount": {Cost: schemas.Cost{Money: &schemas.Money{Amount: decimal.New(1, -13)}}},
		"created_at":        {CreatedAt: time.Unix(1<<60, 0)},
	} {
		out, err := c.Result.Append(dst, r)
		if err == nil || !strings.Contains(err.Error(), field) || string(out) != "before" {
			t.Errorf("%s: %q, %v", field, out, err)
		}
	}
}

// nest puts a text into so many tool results in each other.
func nest(depth int) *schemas.Request {
	part := schemas.Part{Kind: schemas.PartText, Text: "at the bottom"}
	for range depth {
		part = schemas.Part{Kind: schemas.PartToolResult, ToolResult: &schemas.ToolResult{CallID: "c", Parts: []schemas.Part{part}}}
	}
	return &schemas.Request{ID: "r", Messages: []schemas.Message{{Role: schemas.RoleTool, Parts: []schemas.Part{part}}}}
}

func TestToolResultsMayBeNestedOnlySoDeep(t *testing.T) {
	t.Parallel()
	c, _ := registered(t)
	for depth, want := range map[int]error{0: nil, 2: nil, maxNested: nil, maxNested + 1: ErrMalformed} {
		written := nest(depth)
		record, err := c.Request.Append(nil, written)
		if err != nil {
			t.Fatal(err)
		}
		var read schemas.Request
		if err := c.Request.Decode(t.Context(), record, &read); !errors.Is(err, want) {
			t.Errorf("%d deep: %v, want %v", depth, err, want)
		}
		again, err := c.Request.Append(nil, &read)
		if want == nil && (err != nil || !bytes.Equal(record, again)) {
			t.Errorf("%d deep: %x was read as %x: %v", depth, record, again, err)
		}
	}
}

// A writer may cut lists and maps into blocks, name their size, and write small
// numbers in many bytes.
func TestForeignFormsOfABodyAreRead(t *testing.T) {
	t.Parallel()
	c, _ := registered(t)
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	number := func(n int64) []byte { return binary.AppendVarint(nil, n) }
	pair := func(s string) []byte { return []byte{2, s[0], 2, s[1]} }
	head := []byte{2, 'i', 2, 't', 0}
	tail := make([]byte, 26)
	plain := join(head, number(2), pair("ab"), pair("cd"), []byte{0, 0, 2, 'm'}, tail)
	want := &schemas.Request{ID: "i", Tenant: "t", Model: "m", Labels: map[string]string{"a": "b", "c": "d"}}
	for name, payload := range map[string][]byte{
		"plain":           plain,
		"two blocks":      join(head, number(1), pair("ab"), number(1), pair("cd"), []byte{0, 0, 2, 'm'}, tail),
		"blocks of sizes": join(head, number(-1), number(4), pair("ab"), number(-1), number(4), pair("cd"), []byte{0, 0, 2, 'm'}, tail),
		"a key twice":     join(head, number(3), pair("ax"), pair("cd"), pair("ab"), []byte{0, 0, 2, 'm'}, tail),
		"a long branch":   join(plain[:len(plain)-1], []byte{0x80, 0}),
		"a long number":   join([]byte{0x82, 0, 'i'}, plain[2:]),
	} {
		var got schemas.Request
		if err := c.Request.Decode(t.Context(), append(AppendHeader(nil, 1), payload...), &got); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(want, &got, sameBody()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A registry may write a schema in its own way, and another program explain the
// fields differently: the bytes are still ours.
func TestOwnSchemaIsKnownInAnySpelling(t *testing.T) {
	t.Parallel()
	c, m := registered(t)
	var tree map[string]any
	if err := json.Unmarshal([]byte(c.Cost.Schema()), &tree); err != nil {
		t.Fatal(err)
	}
	tree["doc"] = "In other words."
	respelled, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	m.texts = append(m.texts, string(respelled))
	if own, err := c.Cost.reader(t.Context(), len(m.texts)); err != nil || own.schema != c.Cost.schema {
		t.Errorf("it is taken for another's: %v", err)
	}
}

// Records are written and read at once, the same one by many, with memory that is
// used again; nobody sees anything of another's.
func TestRecordsDoNotShareMemory(t *testing.T) {
	t.Parallel()
	c, _ := registered(t)
	var all sync.WaitGroup
	shared := schematest.Filled[schemas.Result](0)
	for worker := range uint64(4) {
		all.Go(func() {
			var records [][]byte
			var read []*schemas.Result
			for seed := range uint64(50) {
				b, err := c.Result.Append(nil, schematest.Filled[schemas.Result](worker<<8+seed))
				if err == nil {
					_, err = c.Result.Append(nil, shared)
				}
				got := new(schemas.Result)
				if err != nil || c.Result.Decode(t.Context(), b, got) != nil {
					t.Errorf("seed %d: %v", seed, err)
				}
				records, read = append(records, b), append(read, got)
			}
			for seed := range uint64(50) {
				want := schematest.Filled[schemas.Result](worker<<8 + seed)
				var late schemas.Result
				if err := c.Result.Decode(t.Context(), records[seed], &late); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(want, read[seed], sameBody()) + cmp.Diff(want, &late, sameBody()); diff != "" {
					t.Errorf("seed %d (-written +read):\n%s", seed, diff)
				}
			}
		})
	}
	all.Wait()
}

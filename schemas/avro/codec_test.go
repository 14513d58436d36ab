package avro

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/linkedin/goavro/v2"
	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/schematest"
)

// memory is a registry for tests of the codecs. It answers with err if set.
type memory struct {
	texts []string
	err   error
	asked int
}

func (m *memory) Register(_ context.Context, _, schema string) (int, error) {
	for i, text := range m.texts {
		if text == schema {
			return i + 1, nil
		}
	}
	m.texts = append(m.texts, schema)
	return len(m.texts), nil
}

func (m *memory) SchemaByID(_ context.Context, id int) (string, error) {
	m.asked++
	if m.err != nil {
		return "", m.err
	}
	if id > len(m.texts) {
		return "", ErrUnknownSchema
	}
	return m.texts[id-1], nil
}

func allTopics() Topics {
	return Topics{
		Requests: []string{"requests.standard", "requests.bulk"}, Results: []string{"results"}, Chunks: []string{"chunks"},
		Costs: []string{"costs"}, Attempts: []string{"attempts"}, Audit: []string{"audit"}, Metrics: []string{"metrics"}, Budgets: []string{"budgets"}, Health: []string{"health"},
		EndpointStats: []string{"endpoints"}, EndpointStates: []string{"states"}, Cancels: []string{"cancels"},
	}
}

func registered(tb testing.TB) (*Codecs, *memory) {
	tb.Helper()
	m := new(memory)
	c := NewCodecs(m)
	if err := c.Register(tb.Context(), m, allTopics()); err != nil {
		tb.Fatal(err)
	}
	return c, m
}

// eachKind runs a generic test for every codec.
func eachKind(t *testing.T, c *Codecs, test func(t *testing.T, k kind)) {
	t.Helper()
	for _, k := range kinds(c) {
		t.Run(k.name, func(t *testing.T) { test(t, k) })
	}
}

// kind is a codec whose type is hidden.
type kind struct {
	name, schema string
	typ          reflect.Type
	filled       func(seed uint64) any
	empty        func() any
	encode       func(v any) ([]byte, error)
	decode       func(ctx context.Context, b []byte) (any, error)
}

func kindOf[T any](name string, c *Codec[T]) kind {
	return kind{
		name: name, schema: c.Schema(), typ: reflect.TypeFor[T](),
		filled: func(seed uint64) any { return schematest.Filled[T](seed) },
		empty:  func() any { return new(T) },
		encode: func(v any) ([]byte, error) { return c.Append(nil, v.(*T)) },
		decode: func(ctx context.Context, b []byte) (any, error) {
			v := schematest.Filled[T](0) // what was there before must not shine through
			err := c.Decode(ctx, b, v)
			return v, err
		},
	}
}

func kinds(c *Codecs) []kind {
	return []kind{
		kindOf("request", c.Request), kindOf("result", c.Result), kindOf("chunk", c.Chunk), kindOf("cost", c.Cost),
		kindOf("attempt", c.Attempt), kindOf("audit", c.Audit), kindOf("metric", c.Metric), kindOf("budget", c.Budget), kindOf("health", c.Health),
		kindOf("endpoint_stats", c.EndpointStats), kindOf("endpoint_state", c.EndpointState),
		kindOf("cancel", c.Cancel),
	}
}

func TestEveryRecordReadsBackEqual(t *testing.T) {
	t.Parallel()
	c, m := registered(t)
	eachKind(t, c, func(t *testing.T, k kind) {
		for seed := range uint64(30) {
			checkRoundTrip(t, k, k.filled(seed))
		}
		checkRoundTrip(t, k, k.empty())
	})
	if m.asked != 0 {
		t.Errorf("the registry was asked %d times for schemas of our own", m.asked)
	}
}

func checkRoundTrip(t *testing.T, k kind, want any) {
	t.Helper()
	b, err := k.encode(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := k.decode(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, schematest.Same()); diff != "" {
		t.Fatalf("(-written +read):\n%s", diff)
	}
}

// goavro is a reader that shares no code with ours.
func TestIndependentReaderSeesTheSameValues(t *testing.T) {
	t.Parallel()
	c, _ := registered(t)
	eachKind(t, c, func(t *testing.T, k kind) {
		foreign, err := goavro.NewCodec(k.schema)
		if err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(20) {
			want := k.filled(seed)
			b, err := k.encode(want)
			if err != nil {
				t.Fatal(err)
			}
			got, rest, err := foreign.NativeFromBinary(b[HeaderSize:])
			if err != nil || len(rest) > 0 {
				t.Fatalf("%d bytes left, %v", len(rest), err)
			}
			if err := sameAsNative(reflect.ValueOf(want).Elem(), got); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// sameAsNative compares a value of ours with goavro's generic form of it.
func sameAsNative(v reflect.Value, native any) error {
	if branch, ok := native.(map[string]any); ok && len(branch) == 1 && (v.Kind() == reflect.Pointer || v.Type() == reflect.TypeFor[time.Time]()) {
		for _, value := range branch {
			native = value
		}
	}
	var want any
	switch x := v.Interface().(type) {
	case time.Time:
		got, ok := native.(time.Time)
		if ok && got.Equal(x) || native == nil && x.IsZero() {
			return nil
		}
		return fmt.Errorf("want %v, got %v", x, native)
	case decimal.Decimal:
		if got, ok := native.(*big.Rat); ok && got.Cmp(x.Rat()) == 0 {
			return nil
		}
		return fmt.Errorf("want %v, got %v", x, native)
	}
	switch v.Kind() {
	case reflect.Struct:
		return sameFields(v, native)
	case reflect.Pointer:
		if v.IsNil() {
			break
		}
		return sameAsNative(v.Elem(), native)
	case reflect.Slice:
		if list, ok := native.([]any); ok && len(list) == v.Len() {
			for i, got := range list {
				if err := sameAsNative(v.Index(i), got); err != nil {
					return fmt.Errorf("[%d]: %w", i, err)
				}
			}
			return nil
		}
		want = v.Bytes()
		if _, ok := native.(string); ok {
			want = string(v.Bytes())
		}
	case reflect.Map:
		got, ok := native.(map[string]any)
		if !ok || len(got) != v.Len() {
			return fmt.Errorf("want %v, got %v", v, native)
		}
		for key, value := range got {
			if err := sameAsNative(v.MapIndex(reflect.ValueOf(key)), value); err != nil {
				return fmt.Errorf("[%s]: %w", key, err)
			}
		}
		return nil
	case reflect.String:
		want = v.String()
	case reflect.Int, reflect.Int64:
		want = v.Int()
	default:
		want = v.Interface()
	}
	if b, ok := want.([]byte); ok && len(b) == 0 {
		want = []byte{}
	}
	if !reflect.DeepEqual(want, native) {
		return fmt.Errorf("want %T %v, got %T %v", want, want, native, native)
	}
	return nil
}

func sameFields(v reflect.Value, native any) error {
	got, ok := native.(map[string]any)
	if !ok {
		return fmt.Errorf("want a record, got %T", native)
	}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		name := avroName(field)
		if err := sameAsNative(v.Field(i), got[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func avroName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("avro"), ",")
	return name
}

func TestWriterOfAnotherVersionIsUnderstood(t *testing.T) {
	t.Parallel()
	c, m := registered(t)
	m.texts = append(m.texts, `{"type":"record","name":"MetricEvent","namespace":"ai.sira.v1","fields":[
		{"name":"name","type":"string"}, {"name":"new","type":{"type":"array","items":"string"}}, {"name":"value","type":"float"},
		{"name":"worker","type":"string"}, {"name":"time","type":{"type":"long","logicalType":"timestamp-micros"}}]}`)
	id := len(m.texts)
	other, err := goavro.NewCodec(m.texts[id-1])
	if err != nil {
		t.Fatal(err)
	}
	at := time.UnixMicro(1_700_000_000_000_001).UTC()
	b, err := other.BinaryFromNative(AppendHeader(nil, id), map[string]any{
		"name": "lag", "new": []any{"x", "y"}, "value": float32(0.5), "worker": "w", "time": at,
	})
	if err != nil {
		t.Fatal(err)
	}
	got := schemas.MetricEvent{Endpoint: "from before"}
	for range 3 {
		if err := c.Metric.Decode(t.Context(), b, &got); err != nil {
			t.Fatal(err)
		}
	}
	want := schemas.MetricEvent{Time: at, Name: "lag", Worker: "w", Value: 0.5}
	if diff := cmp.Diff(want, got, schematest.Same()); diff != "" || m.asked != 1 {
		t.Errorf("the registry was asked %d times, (-want +got):\n%s", m.asked, diff)
	}
}

func TestRecordThatCanNotBeReadSaysWhetherItEverWill(t *testing.T) {
	t.Parallel()
	c, m := registered(t)
	good, err := c.Metric.Append(nil, schematest.Filled[schemas.MetricEvent](0))
	if err != nil {
		t.Fatal(err)
	}
	m.texts = append(m.texts, `"string"`, `{"type":"nothing"}`)
	down := &memory{err: fmt.Errorf("%w: no route", ErrRegistryUnavailable)}
	tests := []struct {
		name   string
		codec  *Codec[schemas.MetricEvent]
		record []byte
		want   error
	}{
		{"JSON", c.Metric, []byte(`{}`), ErrNotWireFormat},
		{"no header", c.Metric, nil, ErrShortHeader},
		{"cut short", c.Metric, good[:len(good)-1], ErrMalformed},
		{"too long", c.Metric, append(good, 0), ErrMalformed},
		{"an id of nothing", c.Metric, AppendHeader(nil, 99), ErrUnknownSchema},
		{"another kind of record", c.Metric, AppendHeader(nil, 1), ErrIncompatibleSchema},
		{"no record", c.Metric, AppendHeader(nil, len(m.texts)-1), ErrIncompatibleSchema},
		{"a schema that is none", c.Metric, AppendHeader(nil, len(m.texts)), ErrInvalidSchema},
		{"no registry", NewCodecs(down).Metric, good, ErrRegistryUnavailable},
	}
	for _, test := range tests {
		var v schemas.MetricEvent
		err := test.codec.Decode(t.Context(), test.record, &v)
		if !errors.Is(err, test.want) || errors.Is(err, ErrRegistryUnavailable) != errors.Is(test.want, ErrRegistryUnavailable) {
			t.Errorf("%s: got %v, want %v", test.name, err, test.want)
		}
	}
}

func TestNothingIsWrittenWithoutAnID(t *testing.T) {
	t.Parallel()
	before := []byte("before")
	got, err := NewCodecs(new(memory)).Metric.Append(before, new(schemas.MetricEvent))
	if !errors.Is(err, ErrNotRegistered) || string(got) != "before" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestCodecsWorkWithARealRegistry(t *testing.T) {
	t.Parallel()
	e, client := embeddedClient(t)
	c := NewCodecs(e)
	for range 2 {
		if err := c.Register(t.Context(), e, allTopics()); err != nil {
			t.Fatal(err)
		}
	}
	subjects, err := client.Subjects(t.Context())
	if err != nil || len(subjects) != 13 || subjects[0] != "attempts-value" {
		t.Errorf("subjects: %v, %v", subjects, err)
	}
	want := schematest.Filled[schemas.Request](0)
	b, err := c.Request.Append(nil, want)
	if err != nil {
		t.Fatal(err)
	}
	var got schemas.Request
	if err := NewCodecs(e).Request.Decode(t.Context(), b, &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, &got, schematest.Same()); diff != "" {
		t.Errorf("(-written +read):\n%s", diff)
	}
}

func TestAnyRecordIsRenderedAsJSON(t *testing.T) {
	t.Parallel()
	c, _ := registered(t)
	b, err := c.Request.Append(nil, &schemas.Request{
		ID: "r1", Tenant: "acme", Model: "fast", Deadline: time.UnixMicro(1_700_000_000_000_001),
		Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, `say "é"`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.RenderJSON(t.Context(), b)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"id":"r1"`, `"deadline":1700000000000001`, `"text":"say \"é\""`, `"output":null`} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%s is not in %s", want, got)
		}
	}
	if _, err := c.RenderJSON(t.Context(), b[:20]); !errors.Is(err, ErrMalformed) {
		t.Errorf("half a record: %v", err)
	}
	if _, err := c.RenderJSON(t.Context(), AppendHeader(nil, 99)); !errors.Is(err, ErrUnknownSchema) {
		t.Errorf("an unknown id: %v", err)
	}
}

package avro

import (
	"testing"

	"github.com/twmb/avro"

	"github.com/sira-ai/sira/schemas"
)

func TestShapeFollowsEverySchema(t *testing.T) {
	t.Parallel()
	c, _ := registered(t)
	eachKind(t, c, func(t *testing.T, k kind) {
		s := shapeOf(avro.MustParse(k.schema))
		if s == nil {
			t.Fatal("it is lost")
		}
		for _, seed := range []uint64{0, 1, 2} {
			record, err := k.encode(k.filled(seed))
			if err != nil {
				t.Fatal(err)
			}
			payload := record[HeaderSize:]
			if err := s.check(payload); err != nil {
				t.Fatal(err)
			}
			for _, cut := range []int{0, 1, len(payload) / 3, len(payload) / 2, len(payload) - 1} {
				if s.check(payload[:cut]) == nil {
					t.Errorf("%d of %d bytes pass for a record", cut, len(payload))
				}
			}
		}
	})
}

// Others have types that our schemas do without.
func TestShapeFollowsOtherTypes(t *testing.T) {
	t.Parallel()
	m := new(memory)
	c := NewCodecs(m)
	m.texts = append(m.texts, `{"type": "record", "name": "MetricEvent", "namespace": "ai.sira.v1", "fields": [
		{"name": "sum", "type": {"type": "fixed", "name": "other.Sum", "size": 3}}, {"name": "again", "type": "other.Sum"},
		{"name": "colour", "type": {"type": "enum", "name": "Colour", "symbols": ["RED", "BLUE"]}}, {"name": "colours", "type": {"type": "array", "items": "Colour"}},
		{"name": "ratio", "type": "float"}, {"name": "small", "type": "int"}, {"name": "nothing", "type": "null"},
		{"name": "any", "type": ["null", "double", {"type": "map", "values": "bytes"}, "ai.sira.v1.MetricEvent"]},
		{"name": "name", "type": "string"}, {"name": "value", "type": "double"}, {"name": "worker", "type": "string"},
		{"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}}]}`)
	b := AppendHeader(nil, 1)
	b = append(b, 1, 2, 3, 4, 5, 6, 2, 4, 0, 2, 0, 0, 0, 0, 0, 8, 4, 2, 2, 'k', 2, 'v', 0, 2, 'n', 0, 0, 0, 0, 0, 0, 0, 0, 2, 'w', 2)
	var got schemas.MetricEvent
	if err := c.Metric.Decode(t.Context(), b, &got); err != nil || got.Name != "n" || got.Worker != "w" {
		t.Errorf("%+v, %v", got, err)
	}
	if r, err := c.Metric.reader(t.Context(), 1); err != nil || r.shape == nil {
		t.Errorf("its shape is lost: %v", err)
	}
}

package avro

import (
	"context"
	"fmt"

	"github.com/twmb/avro"
)

// View reads the records of a kind into T, a struct with avro tags for those
// fields that its user needs; the others are skipped over. That takes less time and
// memory than [Codec.Decode], which builds everything. An amount is read into []byte
// as it stands in the record: its unscaled value, two's complement, the highest byte
// first. A View may be used by many at once.
type View[T any] struct {
	codec Codec[T]
	opts  []avro.Opt
}

// NewView returns a view of the records that c reads, whatever version of the
// schema wrote them.
func NewView[T, R any](c *Codec[R]) *View[T] {
	return &View[T]{
		codec: Codec[T]{
			schema:  avro.MustParse(c.Schema(), avro.WithCustomType(avro.CustomType{LogicalType: "decimal", AvroType: "bytes"})),
			source:  ownFirst[R]{c},
			readers: make(map[int]reader),
		},
		opts: []avro.Opt{avro.SkipUnknown(), avro.AliasInput()},
	}
}

// Decode reads a record in Confluent wire format into v; its errors are those of
// [Codec.Decode].
//
// Strings and bytes in v are parts of b: they are valid as long as b is not
// changed, and keep all of it in memory. v may be used again, for its slices to be
// filled anew, but its maps must be emptied before: what a map holds stays there.
func (v *View[T]) Decode(ctx context.Context, b []byte, into *T) error {
	id, payload, err := SplitHeader(b)
	if err != nil {
		return fmt.Errorf("decoding a record: %w", err)
	}
	r, err := v.codec.reader(ctx, id)
	if err != nil {
		return fmt.Errorf("decoding a record with schema id %d: %w", id, err)
	}
	if err := r.decode(payload, into, v.opts...); err != nil {
		return fmt.Errorf("decoding a record with schema id %d: %w: %w", id, ErrMalformed, err)
	}
	return nil
}

// ownFirst finds the schema that a codec registered without asking the registry.
type ownFirst[R any] struct{ *Codec[R] }

func (o ownFirst[R]) SchemaByID(ctx context.Context, id int) (string, error) {
	o.mu.RLock()
	own := o.readers[id].schema == o.schema
	o.mu.RUnlock()
	if own {
		return o.Schema(), nil
	}
	return o.source.SchemaByID(ctx, id)
}

package avro

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/twmb/avro"
)

var (
	// ErrNotRegistered says that a record was to be written whose schema has no
	// id yet: call Register first.
	ErrNotRegistered = errors.New("schema is not registered")

	// ErrMalformed says that the bytes are not what the schema they name
	// promises. Trying again does not help.
	ErrMalformed = errors.New("malformed record")
)

// SchemaSource finds the schema that a record was written with.
type SchemaSource interface {
	// SchemaByID returns the text of the schema with that id. The error is
	// ErrUnknownSchema if there is none, which makes the record unreadable;
	// with any other the record is worth another try. It may be called at once
	// by many and should remember what it found.
	SchemaByID(ctx context.Context, id int) (string, error)
}

// Registrar gives schemas their ids.
type Registrar interface {
	// Register returns the id of a schema under a subject. The same schema must
	// get the same id each time.
	Register(ctx context.Context, subject, schema string) (int, error)
}

// Codec writes and reads records of one type. Append and Decode may be called
// at once, also while Register runs.
type Codec[T any] struct {
	schema *avro.Schema
	fields func(*body, *T) // writes and reads a T without reflection; nil leaves that to schema
	source SchemaSource
	id     atomic.Int64 // written into headers; 0 before Register
	bodies sync.Pool    // of *body

	mu      sync.RWMutex
	readers map[int]reader // by the writer's schema id; never forgotten, since ids never change their meaning
}

// reader decodes what one schema wrote, or says why that can't be done.
type reader struct {
	schema *avro.Schema
	shape  *shape // of another's schema, whose records are looked at first
	err    error
}

// newCodec panics if the schema, which is part of the program, is wrong.
func newCodec[T any](text string, fields func(*body, *T), source SchemaSource) *Codec[T] {
	return &Codec[T]{
		schema:  avro.MustParse(text, decimalType()),
		fields:  fields,
		source:  source,
		readers: make(map[int]reader),
	}
}

// Schema returns the text of the schema that the codec writes.
func (c *Codec[T]) Schema() string { return c.schema.String() }

// Register registers the codec's schema as the value of each topic, under the
// subject <topic>-value. Records are written with the first topic's id; all of
// the ids are read without asking the registry again.
func (c *Codec[T]) Register(ctx context.Context, r Registrar, topics ...string) error {
	for i, topic := range topics {
		id, err := r.Register(ctx, ValueSubject(topic), c.Schema())
		if err != nil {
			return err
		}
		c.keep(id, reader{schema: c.schema})
		if i == 0 {
			c.id.Store(int64(id))
		}
	}
	return nil
}

// ValueSubject names the subject of a topic's values (TopicNameStrategy).
func ValueSubject(topic string) string { return topic + "-value" }

// Append appends v to dst in Confluent wire format. The error is
// ErrNotRegistered, or says which field does not fit the schema; dst is
// returned as it was then. Where dst is nil, the record gets memory of its size.
func (c *Codec[T]) Append(dst []byte, v *T) ([]byte, error) {
	id := c.id.Load()
	if id == 0 {
		return dst, ErrNotRegistered
	}
	if out, ok := c.write(dst, int(id), v); ok {
		return out, nil
	}
	out, err := c.schema.AppendEncode(AppendHeader(dst, int(id)), v)
	if err != nil {
		return dst, fmt.Errorf("encoding a record: %w", err)
	}
	return out, nil
}

// Decode reads a record in Confluent wire format into v, whatever version of
// the schema wrote it: fields that it lacks get the defaults of the codec's
// schema, fields that are new to us are skipped. What v held before is gone,
// also after an error. v shares no memory with b.
//
// An error that is ErrRegistryUnavailable, or the context's, means that the
// writer's schema could not be fetched now. With every other, the record can't
// be read, now or later: see SplitHeader, ErrUnknownSchema and ErrMalformed.
func (c *Codec[T]) Decode(ctx context.Context, b []byte, v *T) error {
	var zero T
	*v = zero
	id, payload, err := SplitHeader(b)
	if err != nil {
		return fmt.Errorf("decoding a record: %w", err)
	}
	r, err := c.reader(ctx, id)
	if err != nil {
		return fmt.Errorf("decoding a record with schema id %d: %w", id, err)
	}
	if r.schema == c.schema && c.fields != nil {
		err = c.read(payload, v)
	} else {
		err = r.decode(payload, v)
	}
	if err != nil {
		return fmt.Errorf("decoding a record with schema id %d: %w: %w", id, ErrMalformed, err)
	}
	return nil
}

// decode reads all of a payload, to the last byte.
func (r reader) decode(payload []byte, into any, opts ...avro.Opt) error {
	if r.shape != nil {
		if err := r.shape.check(payload); err != nil {
			return err
		}
	}
	rest, err := r.schema.Decode(payload, into, opts...)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes follow it", len(rest))
	}
	return err
}

// write appends a record. What does not fit is left to the library, which says in
// which field it is.
func (c *Codec[T]) write(dst []byte, id int, v *T) ([]byte, bool) {
	if c.fields == nil {
		return nil, false
	}
	b := c.body()
	defer c.free(b)
	into := dst
	if dst == nil {
		into = b.scratch[:0]
	}
	b.buf = AppendHeader(into, id)
	if c.fields(b, v); b.err != nil {
		return nil, false
	}
	if dst != nil {
		return b.buf, true
	}
	if cap(b.buf) <= maxScratch {
		b.scratch = b.buf
	}
	return bytes.Clone(b.buf), true
}

// read reads what our own schema wrote, to the last byte.
func (c *Codec[T]) read(payload []byte, v *T) error {
	b := c.body()
	defer c.free(b)
	b.buf, b.reading = payload, true
	c.fields(b, v)
	switch {
	case b.err != nil:
		return b.mistake()
	case b.left() > 0:
		return fmt.Errorf("%d bytes follow it", b.left())
	}
	return nil
}

func (c *Codec[T]) body() *body {
	if b, ok := c.bodies.Get().(*body); ok {
		return b
	}
	return new(body)
}

func (c *Codec[T]) free(b *body) {
	b.reset()
	c.bodies.Put(b)
}

func (c *Codec[T]) reader(ctx context.Context, id int) (reader, error) {
	c.mu.RLock()
	r, ok := c.readers[id]
	c.mu.RUnlock()
	if ok {
		return r, r.err
	}
	text, err := c.source.SchemaByID(ctx, id)
	if err != nil {
		return reader{}, err
	}
	r = c.resolve(text)
	c.keep(id, r)
	return r, r.err
}

// resolve returns the codec's own schema where the writer's has the same canonical
// form, so the same bytes.
func (c *Codec[T]) resolve(text string) reader {
	writer, err := avro.Parse(text)
	if err != nil {
		return reader{err: fmt.Errorf("%w: %w", ErrInvalidSchema, err)}
	}
	schema, err := avro.Resolve(writer, c.schema)
	if err != nil {
		return reader{err: fmt.Errorf("%w: %w", ErrIncompatibleSchema, err)}
	}
	if schema == c.schema {
		return reader{schema: schema}
	}
	return reader{schema: schema, shape: shapeOf(writer)}
}

func (c *Codec[T]) keep(id int, r reader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readers[id] = r
}

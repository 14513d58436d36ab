package avro

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/linkedin/goavro/v2"
	"github.com/twmb/avro"
)

// renderer turns records into JSON with the schema that wrote them.
type renderer struct {
	source SchemaSource

	mu      sync.Mutex
	writers map[int]writer
}

// writer holds one schema twice. goavro does the rendering, but believes what
// the bytes say: it makes room for any number of array items that is announced
// and goes as deep as the bytes nest, until the process dies. Its limits are
// variables of the whole process and none covers depth. So the other library,
// which is bounded, reads the bytes first and goavro sees only sound ones. It
// is stricter in two things that Decode lets pass: a key that a map holds twice
// and a truth value that is neither 0 nor 1.
type writer struct {
	check  reader
	render *goavro.Codec
	err    error
}

func newRenderer(source SchemaSource) *renderer {
	return &renderer{source: source, writers: make(map[int]writer)}
}

func (r *renderer) json(ctx context.Context, b []byte) ([]byte, error) {
	id, payload, err := SplitHeader(b)
	if err != nil {
		return nil, fmt.Errorf("rendering a record: %w", err)
	}
	w, err := r.writer(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("rendering a record with schema id %d: %w", id, err)
	}
	text, err := w.json(payload)
	if err != nil {
		return nil, fmt.Errorf("rendering a record with schema id %d: %w", id, err)
	}
	return text, nil
}

func (w writer) json(payload []byte) ([]byte, error) {
	var sound any
	if err := w.check.decode(payload, &sound); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	native, _, err := w.render.NativeFromBinary(payload)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	text, err := w.render.TextualFromNative(nil, native)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return sorted(text)
}

// sorted puts the attributes in order: goavro walks them as a Go map does.
func sorted(text []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("ordering the JSON: %w", err)
	}
	return json.Marshal(v)
}

func (r *renderer) writer(ctx context.Context, id int) (writer, error) {
	r.mu.Lock()
	w, ok := r.writers[id]
	r.mu.Unlock()
	if ok {
		return w, w.err
	}
	text, err := r.source.SchemaByID(ctx, id)
	if err != nil {
		return writer{}, err
	}
	w = newWriter(text)
	r.mu.Lock()
	r.writers[id] = w
	r.mu.Unlock()
	return w, w.err
}

func newWriter(text string) writer {
	check, err := avro.Parse(text)
	if err != nil {
		return writer{err: fmt.Errorf("%w: %w", ErrInvalidSchema, err)}
	}
	render, err := goavro.NewCodecForStandardJSONFull(text)
	if err != nil {
		return writer{err: fmt.Errorf("%w: %w", ErrInvalidSchema, err)}
	}
	return writer{check: reader{schema: check, shape: shapeOf(check)}, render: render}
}

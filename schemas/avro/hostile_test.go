package avro

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/schematest"
)

// allocated returns how many bytes f allocates. Nothing else may run.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// The most that reading n bytes may allocate. The shortest message of a request
// is 4 bytes and 64 in memory, and slices grow by doubling; as JSON for people
// it is a map with four entries and its text, twice.
const (
	decodeFactor = 100
	renderFactor = 5000
	baseMemory   = 1 << 20 // what is made once for each schema
)

// hostileRequests are requests that promise more than they hold.
func hostileRequests() map[string][]byte {
	prefix := []byte{2, 'i', 2, 't', 0} // id, tenant, conversation_id
	long := func(n int64) []byte { return binary.AppendVarint(nil, n) }
	join := func(parts ...[]byte) []byte {
		var all []byte
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	toMessages := join(prefix, []byte{0, 0, 2, 'm'}) // labels, op, model
	// A message, its part, a tool result, its part, …: role and name, then for
	// each level one part with kind and text empty and a tool result.
	nested := join(toMessages, long(1), []byte{0, 0})
	for range 200_000 {
		nested = append(nested, 2, 0, 0, 0, 0, 2, 0, 0)
	}
	return map[string][]byte{
		"a string of 2 GB":             join(long(1<<31 - 1)),
		"a string of negative length":  join(long(-5)),
		"two billion messages":         join(toMessages, long(1<<31-1)),
		"a negative block of messages": join(toMessages, long(-(1<<31 - 1)), long(1<<40)),
		"the smallest number":          join(toMessages, long(-1<<63), long(0)),
		"two billion labels":           join(prefix, long(1<<31-1)),
		"a union branch beyond":        join(toMessages, []byte{0, 0}, long(7)),
		"parts 200,000 deep":           nested,
		"a varint without end":         {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	}
}

// This test measures memory and must not run beside others.
func TestHostileRecordIsRefusedInLittleMemory(t *testing.T) {
	c, _ := registered(t)
	for name, payload := range hostileRequests() {
		record := append(AppendHeader(nil, 1), payload...)
		var v schemas.Request
		var err error
		if n := allocated(func() { err = c.Request.Decode(t.Context(), record, &v) }); n > uint64(baseMemory+decodeFactor*len(record)) {
			t.Errorf("%s: decoding %d bytes allocated %d", name, len(record), n)
		}
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: decoding: %v", name, err)
		}
		if n := allocated(func() { _, err = c.RenderJSON(t.Context(), record) }); n > uint64(4*baseMemory+decodeFactor*len(record)) {
			t.Errorf("%s: rendering %d bytes allocated %d", name, len(record), n)
		}
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: rendering: %v", name, err)
		}
	}
}

// Each tool result is in another and promises as many parts as could just be there:
// the memory for them must not add up, whatever version of the schema wrote it.
func TestPromisesAtEachLevelCostLittle(t *testing.T) {
	c, m := registered(t)
	foreign := strings.Replace(c.Request.Schema(), `"fields": [`, `"fields": [{"name": "new", "type": "string"},`, 1)
	m.texts = append(m.texts, foreign)
	for id, first := range map[int]string{1: "", len(m.texts): "\x00"} {
		record := append(append(AppendHeader(nil, id), first...), 2, 'i', 2, 't', 0, 0, 0, 2, 'm', 2, 0, 0)
		for range 200 {
			record = binary.AppendVarint(record, 90_000)
			record = append(record, 0, 0, 0, 0, 2, 0, 0)
		}
		record = append(record, bytes.Repeat([]byte{0xff}, 1<<20)...)
		for what, read := range map[string]func() error{
			"decoding":  func() error { return c.Request.Decode(t.Context(), record, new(schemas.Request)) },
			"rendering": func() error { _, err := c.RenderJSON(t.Context(), record); return err },
		} {
			var err error
			if n := allocated(func() { err = read() }); n > uint64(4*baseMemory+decodeFactor*len(record)) {
				t.Errorf("%s %d bytes allocated %d", what, len(record), n)
			}
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
}

// The shortest legal items cost the most memory for each byte.
func TestDenseRecordStaysInBounds(t *testing.T) {
	c, _ := registered(t)
	for name, r := range map[string]*schemas.Request{
		"messages": {Messages: make([]schemas.Message, 50_000)},
		"parts":    {Messages: []schemas.Message{{Parts: make([]schemas.Part, 50_000)}}},
		"stops":    {Sampling: &schemas.Sampling{Stop: make([]string, 50_000)}},
	} {
		record, err := c.Request.Append(nil, r)
		if err != nil {
			t.Fatal(err)
		}
		var v schemas.Request
		if n := allocated(func() { err = c.Request.Decode(t.Context(), record, &v) }); err != nil || n > uint64(baseMemory+decodeFactor*len(record)) {
			t.Errorf("%s: decoding %d bytes allocated %d, %v", name, len(record), n, err)
		}
		if n := allocated(func() { _, err = c.RenderJSON(t.Context(), record) }); err != nil || n > uint64(4*baseMemory+renderFactor*len(record)) {
			t.Errorf("%s: rendering %d bytes allocated %d, %v", name, len(record), n, err)
		}
	}
}

// fuzzDecode reads any bytes as the body of one kind of record. What is read
// must be readable again once written, no way may take much memory, and those with
// and without the library must agree.
func fuzzDecode[T any](f *testing.F, pick func(*Codecs) *Codec[T]) {
	c, m := registered(f)
	codec := pick(c)
	layout := shapeOf(codec.schema)
	id := 0
	for i, text := range m.texts {
		if text == codec.Schema() {
			id = i + 1
		}
	}
	for seed := range uint64(4) {
		b, err := codec.Append(nil, schematest.Filled[T](seed))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[HeaderSize:])
	}
	for _, payload := range hostileRequests() {
		if len(payload) < 1000 {
			f.Add(payload)
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		record := append(AppendHeader(nil, id), payload...)
		v := new(T)
		var err error
		if n := allocated(func() { err = codec.Decode(t.Context(), record, v) }); n > uint64(baseMemory+decodeFactor*len(record)) {
			t.Errorf("decoding %d bytes allocated %d", len(record), n)
		}
		if n := allocated(func() { _, _ = c.RenderJSON(t.Context(), record) }); n > uint64(4*baseMemory+renderFactor*len(record)) {
			t.Errorf("rendering %d bytes allocated %d", len(record), n)
		}
		checkBody(t, codec, payload)
		if honest := layout.check(payload); err == nil && honest != nil {
			t.Errorf("the look before the library refuses what it reads: %v", honest)
		}
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("decoding: %v", err)
			}
			return
		}
		again, err := codec.Append(nil, v)
		if err != nil {
			t.Fatalf("writing what was read: %v", err)
		}
		if err := codec.Decode(t.Context(), again, new(T)); err != nil {
			t.Fatalf("reading what was written: %v", err)
		}
		if _, err := c.RenderJSON(t.Context(), again); err != nil {
			t.Fatalf("rendering what was written: %v", err)
		}
	})
}

// checkBody compares what is read without the library with what it reads.
func checkBody[T any](t *testing.T, codec *Codec[T], payload []byte) {
	if codec.fields == nil {
		return
	}
	got, want := new(T), new(T)
	err, libErr := codec.read(payload, got), reader{schema: codec.schema}.decode(payload, want)
	if errors.Is(err, errNested) {
		return
	}
	if (err == nil) != (libErr == nil) {
		t.Fatalf("the body: %v; the library: %v", err, libErr)
	}
	if err != nil {
		return
	}
	a, libErr := codec.Append(nil, want)
	b, err := codec.Append(nil, got)
	if err != nil || libErr != nil || !bytes.Equal(a, b) {
		t.Fatalf("the library reads %x (%v), the body %x (%v)", a, libErr, b, err)
	}
}

func FuzzDecodeRequest(f *testing.F) {
	fuzzDecode(f, func(c *Codecs) *Codec[schemas.Request] { return c.Request })
}

func FuzzDecodeResult(f *testing.F) {
	fuzzDecode(f, func(c *Codecs) *Codec[schemas.Result] { return c.Result })
}

func FuzzDecodeChunk(f *testing.F) {
	fuzzDecode(f, func(c *Codecs) *Codec[schemas.Chunk] { return c.Chunk })
}

func FuzzDecodeCost(f *testing.F) {
	fuzzDecode(f, func(c *Codecs) *Codec[schemas.CostEvent] { return c.Cost })
}

func FuzzDecodeAttempt(f *testing.F) {
	fuzzDecode(f, func(c *Codecs) *Codec[schemas.AttemptEvent] { return c.Attempt })
}

func FuzzDecodeAudit(f *testing.F) {
	fuzzDecode(f, func(c *Codecs) *Codec[schemas.AuditEvent] { return c.Audit })
}

func FuzzDecodeMetric(f *testing.F) {
	fuzzDecode(f, func(c *Codecs) *Codec[schemas.MetricEvent] { return c.Metric })
}

func FuzzDecodeCancel(f *testing.F) {
	fuzzDecode(f, func(c *Codecs) *Codec[schemas.Cancel] { return c.Cancel })
}

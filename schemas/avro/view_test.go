package avro

import (
	"bytes"
	"context"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/schematest"
)

// glance is some of a result: of each way in which a schema nests, one.
type glance struct {
	RequestID string            `avro:"request_id"`
	Labels    map[string]string `avro:"labels"`
	Stream    bool              `avro:"stream"`
	Failure   *struct {
		Code string `avro:"code"`
	} `avro:"failure"`
	Attempts []struct {
		LatencyMS int64     `avro:"latency_ms"`
		StartedAt time.Time `avro:"started_at,omitzero"`
	} `avro:"attempts"`
	Cost struct {
		Money *struct {
			Amount []byte `avro:"amount"`
		} `avro:"money"`
	} `avro:"cost"`
	CompletedAt time.Time `avro:"completed_at,omitzero"`
}

// seen says of a glance what the whole result would have said, without the
// record's memory.
func (g *glance) seen() map[string]any {
	m := map[string]any{"id": bytes.Clone([]byte(g.RequestID)), "stream": g.Stream, "completed": g.CompletedAt.UTC(), "attempts": len(g.Attempts)}
	for k, v := range g.Labels {
		m["label "+k] = bytes.Clone([]byte(v))
	}
	if g.Failure != nil {
		m["failure"] = bytes.Clone([]byte(g.Failure.Code))
	}
	for i, a := range g.Attempts {
		m["started"+string(rune('0'+i))], m["latency"+string(rune('0'+i))] = a.StartedAt.UTC(), a.LatencyMS
	}
	if g.Cost.Money != nil {
		amount, _ := rescale(g.Cost.Money.Amount, schemas.MoneyScale, 38)
		m["amount"] = amount.String()
	}
	return m
}

func glanceOf(r *schemas.Result) *glance {
	g := &glance{RequestID: r.RequestID, Labels: r.Labels, Stream: r.Stream, CompletedAt: r.CompletedAt}
	if r.Failure != nil {
		g.Failure = &struct {
			Code string `avro:"code"`
		}{string(r.Failure.Code)}
	}
	for _, a := range r.Attempts {
		g.Attempts = append(g.Attempts, struct {
			LatencyMS int64     `avro:"latency_ms"`
			StartedAt time.Time `avro:"started_at,omitzero"`
		}{a.LatencyMS, a.StartedAt})
	}
	if r.Cost.Money != nil {
		n, _ := unscale(r.Cost.Money.Amount, schemas.MoneyScale, 38)
		g.Cost.Money = &struct {
			Amount []byte `avro:"amount"`
		}{twosComplement(n)}
	}
	return g
}

// One struct is used for all records, some of them sparse: nothing of the one
// before may shine through.
func TestViewSeesWhatTheCodecReads(t *testing.T) {
	t.Parallel()
	c, m := registered(t)
	v := NewView[glance](c.Result)
	var got glance
	for seed := range uint64(60) {
		want := schematest.Filled[schemas.Result](seed)
		b, err := c.Result.Append(nil, want)
		if err != nil {
			t.Fatal(err)
		}
		clear(got.Labels)
		if err := v.Decode(t.Context(), b, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(glanceOf(want).seen(), got.seen()); diff != "" {
			t.Fatalf("seed %d (-written +seen):\n%s", seed, diff)
		}
	}
	if m.asked != 0 {
		t.Errorf("the registry was asked %d times for a schema of our own", m.asked)
	}
}

// A writer of the first version lacks what came later; a foreign one may have
// fields that we do not know.
func TestViewReadsRecordsOfOtherVersions(t *testing.T) {
	t.Parallel()
	c, m := registered(t)
	g := readGolden(t, "result")
	m.texts = append(m.texts, string(g.schema)+" ",
		`{"type": "record", "name": "Result", "namespace": "ai.sira.v1", "fields": [
			{"name": "new", "type": "string"}, {"name": "request_id", "type": "string"}, {"name": "tenant", "type": "string"},
			{"name": "status", "type": "string"}, {"name": "completed_at", "type": {"type": "long", "logicalType": "timestamp-micros"}}]}`)
	v := NewView[glance](c.Result)
	var whole schemas.Result
	for i, body := range [][]byte{g.record, {2, 'x', 2, 'r', 2, 't', 2, 's', 2}} {
		record := append(AppendHeader(nil, len(m.texts)-1+i), body...)
		if err := c.Result.Decode(t.Context(), record, &whole); err != nil {
			t.Fatal(err)
		}
		var got glance
		if err := v.Decode(t.Context(), record, &got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(glanceOf(&whole).seen(), got.seen()); diff != "" {
			t.Errorf("(-read +seen):\n%s", diff)
		}
	}
}

func TestViewSaysWhetherARecordCanEverBeRead(t *testing.T) {
	t.Parallel()
	c, m := registered(t)
	b, err := c.Result.Append(nil, schematest.Filled[schemas.Result](0))
	if err != nil {
		t.Fatal(err)
	}
	v := NewView[glance](c.Result)
	m.err = ErrRegistryUnavailable
	for _, bad := range []struct {
		record []byte
		want   error
	}{
		{[]byte("{}"), ErrNotWireFormat},
		{b[:len(b)-1], ErrMalformed},
		{append(bytes.Clone(b), 0), ErrMalformed},
		{append(AppendHeader(nil, 99), b[HeaderSize:]...), ErrRegistryUnavailable},
	} {
		if err := v.Decode(t.Context(), bad.record, new(glance)); !errors.Is(err, bad.want) {
			t.Errorf("%.8x: %v, want %v", bad.record, err, bad.want)
		}
	}
}

// FuzzView reads any bytes as a result: the view may skip over what the codec
// refuses, but sees in what both read the same.
func FuzzView(f *testing.F) {
	c, _ := registered(f)
	v := NewView[glance](c.Result)
	whole := schematest.Filled[schemas.Result](0)
	b, err := c.Result.Append(nil, whole)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[HeaderSize:])
	f.Add(b[HeaderSize:100])
	header := bytes.Clone(b[:HeaderSize])
	f.Fuzz(func(t *testing.T, payload []byte) {
		b := append(bytes.Clone(header), payload...)
		var got glance
		var err error
		if n := allocated(func() { err = v.Decode(context.Background(), b, &got) }); n > uint64(baseMemory+decodeFactor*len(b)) {
			t.Errorf("decoding %d bytes allocated %d", len(b), n)
		}
		if c.Result.Decode(context.Background(), b, whole) != nil {
			return
		}
		if err != nil {
			t.Fatalf("the codec reads it, the view says: %v", err)
		}
		if diff := cmp.Diff(glanceOf(whole).seen(), got.seen()); diff != "" {
			t.Errorf("(-read +seen):\n%s", diff)
		}
	})
}

func benchCost() *schemas.CostEvent {
	amount := decimal.NewFromBigInt(big.NewInt(1_275_000_000), -schemas.MoneyScale)
	return &schemas.CostEvent{
		ID: "sira.requests.standard/3/120034", RequestID: "0193b1c2-7f3e-7d5a-9c1e-2f6a8b4c0d1e", Tenant: "acme", Labels: map[string]string{"team": "search"},
		Time: time.UnixMicro(1_700_000_000_000_001), Op: schemas.OpChat, Model: "fast", Outcome: schemas.OK, Provider: "openai-eu", ProviderModel: "gpt-x",
		Region: "eu", State: schemas.CostPriced, Amount: amount, Currency: "USD", InputTokens: 230, OutputTokens: 180, Attempts: 1, ConfigVersion: "9f3c2a1b",
		Lines: []schemas.CostLine{{
			Attempt: 1, Kind: schemas.LineUsage, Provider: "openai-eu", Model: "gpt-x", State: schemas.CostPriced, Amount: amount, Currency: "USD",
			PriceVersion: "openai/gpt-x/2026-01-01", InputTokens: 230, OutputTokens: 180, UsageSource: schemas.UsageReported,
		}},
	}
}

func BenchmarkDecodeCost(b *testing.B) {
	c, _ := registered(b)
	benchDecode(b, c.Cost, benchCost())
}

func benchView[T, R any](b *testing.B, codec *Codec[R], v *R) {
	record, err := codec.Append(nil, v)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(record)))
	view := NewView[T](codec)
	var got T
	for b.Loop() {
		if err := view.Decode(b.Context(), record, &got); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkViewResult(b *testing.B) {
	c, _ := registered(b)
	benchView[glance](b, c.Result, benchResult())
}

func BenchmarkViewCost(b *testing.B) {
	type ledger struct {
		ID     string            `avro:"id"`
		Tenant string            `avro:"tenant"`
		Labels map[string]string `avro:"labels"`
		Time   time.Time         `avro:"time"`
		Model  string            `avro:"model"`
		Amount []byte            `avro:"amount"`
		Lines  []struct {
			Kind   string `avro:"kind"`
			Amount []byte `avro:"amount"`
		} `avro:"lines"`
	}
	c, _ := registered(b)
	benchView[ledger](b, c.Cost, benchCost())
}

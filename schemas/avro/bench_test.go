package avro

import (
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
)

// What reading and writing a record costs:
//
//	go test -run - -bench 'Encode|Decode|View' -benchmem -cpu 1 ./schemas/avro

func benchRequest() *schemas.Request {
	return &schemas.Request{
		ID: "0193b1c2-7f3e-7d5a-9c1e-2f6a8b4c0d1e", Tenant: "acme", Model: "fast", CreatedAt: time.UnixMicro(1_700_000_000_000_001),
		Labels: map[string]string{"team": "search", "project": "assist"},
		Messages: []schemas.Message{
			schemas.TextMessage(schemas.RoleSystem, strings.Repeat("Be brief. ", 20)),
			schemas.TextMessage(schemas.RoleUser, strings.Repeat("What is a partition? ", 40)),
		},
		Sampling: &schemas.Sampling{Temperature: new(0.2)}, MaxTokens: new(int64(512)),
	}
}

func benchResult() *schemas.Result {
	at := time.UnixMicro(1_700_000_000_000_001)
	target := schemas.Target{Provider: "openai-eu", Kind: "openai", Model: "gpt-x", Region: "eu"}
	usage := schemas.Usage{InputTokens: 230, OutputTokens: 180, Source: schemas.UsageReported}
	return &schemas.Result{
		RequestID: "0193b1c2-7f3e-7d5a-9c1e-2f6a8b4c0d1e", Tenant: "acme", Status: schemas.Succeeded, Op: schemas.OpChat, Model: "fast",
		Response: &schemas.Response{Model: "gpt-x", Usage: usage, Choices: []schemas.Choice{{
			Message: schemas.TextMessage(schemas.RoleAssistant, strings.Repeat("A log with an order. ", 40)),
			Finish:  schemas.Finish{Reason: schemas.FinishStop},
		}}},
		Target:   &target,
		Attempts: []schemas.Attempt{{Number: 1, Target: target, Reason: "first", Outcome: schemas.OK, StartedAt: at, LatencyMS: 900, Usage: usage}},
		Cost:     schemas.Cost{State: schemas.CostPriced, Money: &schemas.Money{Amount: decimal.RequireFromString("0.001275"), Currency: "USD"}},
		Origin:   "sira.requests.standard/3/120034", CreatedAt: at, StartedAt: at, CompletedAt: at,
	}
}

func benchAttempt() *schemas.AttemptEvent {
	r := benchResult()
	return &schemas.AttemptEvent{
		ID: r.Origin + "#1", RequestID: r.RequestID, Tenant: r.Tenant, Op: r.Op, Model: r.Model, Worker: "worker-7c9f", Attempt: r.Attempts[0],
	}
}

func benchAudit() *schemas.AuditEvent {
	r := benchResult()
	return &schemas.AuditEvent{
		ID: r.Origin + ":request.completed", Time: r.CompletedAt, Tenant: r.Tenant, Actor: "search", Action: "request.completed", Resource: r.RequestID,
		Outcome: schemas.OK, Decision: `{"route":"default","targets":[{"provider":"openai-eu","model":"gpt-x","reason":"first"}]}`,
		RequestHash: strings.Repeat("9f3c2a1b", 8), ConfigVersion: "9f3c2a1b", Worker: "worker-7c9f",
	}
}

func benchChunk() *schemas.Chunk {
	r := benchResult()
	return &schemas.Chunk{RequestID: r.RequestID, Tenant: r.Tenant, Attempt: 1, Seq: 17, Type: schemas.ChunkText, Text: " partition"}
}

func benchEncode[T any](b *testing.B, codec *Codec[T], v *T) {
	var buf []byte
	var err error
	for b.Loop() {
		if buf, err = codec.Append(buf[:0], v); err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(buf)))
}

func benchDecode[T any](b *testing.B, codec *Codec[T], v *T) {
	record, err := codec.Append(nil, v)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(record)))
	var got T
	for b.Loop() {
		if err := codec.Decode(b.Context(), record, &got); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeRequest(b *testing.B) {
	c, _ := registered(b)
	benchEncode(b, c.Request, benchRequest())
}

func BenchmarkDecodeRequest(b *testing.B) {
	c, _ := registered(b)
	benchDecode(b, c.Request, benchRequest())
}

func BenchmarkEncodeResult(b *testing.B) {
	c, _ := registered(b)
	benchEncode(b, c.Result, benchResult())
}

func BenchmarkDecodeResult(b *testing.B) {
	c, _ := registered(b)
	benchDecode(b, c.Result, benchResult())
}

func BenchmarkEncodeAttempt(b *testing.B) {
	c, _ := registered(b)
	benchEncode(b, c.Attempt, benchAttempt())
}

func BenchmarkEncodeCost(b *testing.B) {
	c, _ := registered(b)
	benchEncode(b, c.Cost, benchCost())
}

func BenchmarkEncodeAudit(b *testing.B) {
	c, _ := registered(b)
	benchEncode(b, c.Audit, benchAudit())
}

func BenchmarkDecodeAudit(b *testing.B) {
	c, _ := registered(b)
	benchDecode(b, c.Audit, benchAudit())
}

// A chunk gets memory of its own.
func BenchmarkEncodeChunk(b *testing.B) {
	c, _ := registered(b)
	chunk := benchChunk()
	for b.Loop() {
		if _, err := c.Chunk.Append(nil, chunk); err != nil {
			b.Fatal(err)
		}
	}
}

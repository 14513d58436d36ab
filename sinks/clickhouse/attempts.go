package clickhouse

import (
	"context"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// attempt is what the table of attempts takes of an attempt event.
type attempt struct {
	RequestID string `avro:"request_id"`
	Tenant    string `avro:"tenant"`
	Op        string `avro:"op"`
	Model     string `avro:"model"`
	Stream    bool   `avro:"stream"`
	Worker    string `avro:"worker"`
	Attempt   struct {
		Number       int            `avro:"number"`
		Round        int            `avro:"round"`
		Target       schemas.Target `avro:"target"`
		Reason       string         `avro:"reason"`
		Outcome      string         `avro:"outcome"`
		HTTPStatus   int            `avro:"http_status"`
		VendorCode   string         `avro:"vendor_code"`
		Phase        string         `avro:"phase"`
		RetryAfterMS int64          `avro:"retry_after_ms"`
		StartedAt    time.Time      `avro:"started_at,omitzero"`
		LatencyMS    int64          `avro:"latency_ms"`
		FirstTokenMS int64          `avro:"first_token_ms"`
		MaxGapMS     int64          `avro:"max_gap_ms"`
		Usage        struct {
			InputTokens     int64 `avro:"input_tokens"`
			CacheReadTokens int64 `avro:"cache_read_tokens"`
			OutputTokens    int64 `avro:"output_tokens"`
		} `avro:"usage"`
	} `avro:"attempt"`
}

// attemptRows are the table of attempts.
type attemptRows struct {
	view *avro.View[attempt]
	e    attempt

	time                                      moments
	requestID                                 proto.ColStr
	number, round, httpStatus                 proto.ColUInt16
	reason, tenant, op, model                 names
	provider, providerModel, endpoint, region names
	stream                                    proto.ColBool
	outcome, phase, vendorCode, worker        names
	retryAfter, latency, firstToken, maxGap   proto.ColUInt64
	inputTokens, cachedTokens, outputTokens   proto.ColUInt64
}

func (t *attemptRows) columns() []column {
	return []column{
		{"event_time", kindMoment, &t.time},
		{"request_id", "String", &t.requestID},
		{"attempt", "UInt16", &t.number},
		{"round", "UInt16", &t.round},
		{"reason", kindName, &t.reason},
		{"tenant", kindName, &t.tenant},
		{"op", kindName, &t.op},
		{"model", kindName, &t.model},
		{"provider", kindName, &t.provider},
		{"provider_model", kindName, &t.providerModel},
		{"endpoint", kindName, &t.endpoint},
		{"region", kindName, &t.region},
		{"stream", "Bool", &t.stream},
		{"outcome", kindName, &t.outcome},
		{"phase", kindName, &t.phase},
		{"http_status", "UInt16", &t.httpStatus},
		{"vendor_code", kindName, &t.vendorCode},
		{"retry_after_ms", "UInt64", &t.retryAfter},
		{"latency_ms", "UInt64", &t.latency},
		{"first_token_ms", "UInt64", &t.firstToken},
		{"max_gap_ms", "UInt64", &t.maxGap},
		{"input_tokens", "UInt64", &t.inputTokens},
		{"cached_tokens", "UInt64", &t.cachedTokens},
		{"output_tokens", "UInt64", &t.outputTokens},
		{"worker", kindName, &t.worker},
	}
}

func (t *attemptRows) add(ctx context.Context, r *kgo.Record) error {
	t.e = attempt{}
	if err := t.view.Decode(ctx, r.Value, &t.e); err != nil {
		return unreadable(err)
	}
	e, a := &t.e, &t.e.Attempt
	t.time.Append(a.StartedAt.Add(time.Duration(a.LatencyMS) * time.Millisecond))
	t.requestID.Append(e.RequestID)
	t.number.Append(uint16(a.Number))
	t.round.Append(uint16(a.Round))
	t.reason.Append(a.Reason)
	t.tenant.Append(e.Tenant)
	t.op.Append(e.Op)
	t.model.Append(e.Model)
	t.provider.Append(a.Target.Provider)
	t.providerModel.Append(a.Target.Model)
	t.endpoint.Append(a.Target.Endpoint)
	t.region.Append(a.Target.Region)
	t.stream.Append(e.Stream)
	t.outcome.Append(a.Outcome)
	t.phase.Append(a.Phase)
	t.httpStatus.Append(uint16(a.HTTPStatus))
	t.vendorCode.Append(a.VendorCode)
	t.retryAfter.Append(count(a.RetryAfterMS))
	t.latency.Append(count(a.LatencyMS))
	t.firstToken.Append(count(a.FirstTokenMS))
	t.maxGap.Append(count(a.MaxGapMS))
	t.inputTokens.Append(count(a.Usage.InputTokens))
	t.cachedTokens.Append(count(a.Usage.CacheReadTokens))
	t.outputTokens.Append(count(a.Usage.OutputTokens))
	t.worker.Append(e.Worker)
	return nil
}

package clickhouse

import (
	"context"
	"encoding/json"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// request is what the table of requests takes of a result: all but the answer.
type request struct {
	RequestID string            `json:"request_id" avro:"request_id"`
	Tenant    string            `json:"tenant" avro:"tenant"`
	Labels    map[string]string `json:"labels" avro:"labels"`
	Op        string            `json:"op" avro:"op"`
	Lane      string            `json:"lane" avro:"lane"`
	Model     string            `json:"model" avro:"model"`
	Route     string            `json:"route" avro:"route"`
	Failure   *struct {
		Code string `json:"code" avro:"code"`
	} `json:"failure" avro:"failure"`
	Target   *schemas.Target `json:"target" avro:"target"`
	Stream   bool            `json:"stream" avro:"stream"`
	Attempts []struct {
		Reason string `json:"reason" avro:"reason"`
	} `json:"attempts" avro:"attempts"`
	Cost struct {
		State string `json:"state" avro:"state"`
	} `json:"cost" avro:"cost"`
	ConfigVersion string    `json:"config_version" avro:"config_version"`
	Origin        string    `json:"origin" avro:"origin"`
	CreatedAt     time.Time `json:"created_at" avro:"created_at,omitzero"`
	StartedAt     time.Time `json:"started_at" avro:"started_at,omitzero"`
	CompletedAt   time.Time `json:"completed_at" avro:"completed_at,omitzero"`
}

// requestRows are the table of requests.
type requestRows struct {
	view *avro.View[request]
	e    request

	time                                      moments
	requestID, origin                         proto.ColStr
	labels                                    labels
	tenant, op, lane, model, route, outcome   names
	provider, providerModel, endpoint, region names
	stream                                    proto.ColBool
	attempts, fallbacks                       proto.ColUInt16
	queueMS, e2eMS, handlingMS                proto.ColUInt64
	costState, configVersion                  names
}

func (t *requestRows) columns() []column {
	return []column{
		{"event_time", kindMoment, &t.time},
		{"request_id", "String", &t.requestID},
		{"tenant", kindName, &t.tenant},
		{"labels", kindLabels, &t.labels},
		{"op", kindName, &t.op},
		{"lane", kindName, &t.lane},
		{"model", kindName, &t.model},
		{"route", kindName, &t.route},
		{"outcome", kindName, &t.outcome},
		{"provider", kindName, &t.provider},
		{"provider_model", kindName, &t.providerModel},
		{"endpoint", kindName, &t.endpoint},
		{"region", kindName, &t.region},
		{"stream", "Bool", &t.stream},
		{"attempts", "UInt16", &t.attempts},
		{"fallbacks", "UInt16", &t.fallbacks},
		{"queue_ms", "UInt64", &t.queueMS},
		{"e2e_ms", "UInt64", &t.e2eMS},
		{"handling_ms", "UInt64", &t.handlingMS},
		{"cost_state", kindName, &t.costState},
		{"config_version", kindName, &t.configVersion},
		{"origin", "String", &t.origin},
	}
}

// read reads a result in the form of its producer.
func (t *requestRows) read(ctx context.Context, value []byte) error {
	if len(value) == 0 || value[0] != 0 {
		t.e = request{}
		return json.Unmarshal(value, &t.e)
	}
	clear(t.e.Labels)
	t.e = request{Labels: t.e.Labels, Attempts: t.e.Attempts[:0]}
	return t.view.Decode(ctx, value, &t.e)
}

func (t *requestRows) add(ctx context.Context, r *kgo.Record) error {
	if err := t.read(ctx, r.Value); err != nil {
		return unreadable(err)
	}
	e := &t.e
	outcome, target, fallbacks := string(schemas.OK), schemas.Target{}, 0
	if e.Failure != nil {
		outcome = e.Failure.Code
	}
	if e.Target != nil {
		target = *e.Target
	}
	for _, a := range e.Attempts {
		if a.Reason == "fallback" {
			fallbacks++
		}
	}
	t.time.Append(e.CompletedAt)
	t.requestID.Append(e.RequestID)
	t.tenant.Append(e.Tenant)
	t.labels.Append(e.Labels)
	t.op.Append(e.Op)
	t.lane.Append(e.Lane)
	t.model.Append(e.Model)
	t.route.Append(e.Route)
	t.outcome.Append(outcome)
	t.provider.Append(target.Provider)
	t.providerModel.Append(target.Model)
	t.endpoint.Append(target.Endpoint)
	t.region.Append(target.Region)
	t.stream.Append(e.Stream)
	t.attempts.Append(uint16(len(e.Attempts)))
	t.fallbacks.Append(uint16(fallbacks))
	t.queueMS.Append(between(e.CreatedAt, e.StartedAt))
	t.e2eMS.Append(between(e.CreatedAt, e.CompletedAt))
	t.handlingMS.Append(between(e.StartedAt, e.CompletedAt))
	t.costState.Append(e.Cost.State)
	t.configVersion.Append(e.ConfigVersion)
	t.origin.Append(e.Origin)
	return nil
}

package clickhouse

import (
	"context"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// healthRows are the table of health.
type healthRows struct {
	codec *avro.Codec[schemas.HealthEvent]
	e     schemas.HealthEvent

	time                             moments
	id                               proto.ColStr
	kind, provider, endpoint, region names
	source, instance                 names
	applied                          proto.ColBool
	fromShare, toShare               proto.ColUInt8
	fromState, toState               names
	probability, bad                 proto.ColFloat64
	reasonEnds                       proto.ColUInt64
	reasons                          proto.ColStr
}

func (t *healthRows) columns() []column {
	return []column{
		{"event_time", kindMoment, &t.time},
		{"event_id", "String", &t.id},
		{"kind", kindName, &t.kind},
		{"provider", kindName, &t.provider},
		{"endpoint", kindName, &t.endpoint},
		{"region", kindName, &t.region},
		{"source", kindName, &t.source},
		{"instance", kindName, &t.instance},
		{"applied", "Bool", &t.applied},
		{"from_share", "UInt8", &t.fromShare},
		{"to_share", "UInt8", &t.toShare},
		{"from_state", kindName, &t.fromState},
		{"to_state", kindName, &t.toState},
		{"probability", "Float64", &t.probability},
		{"bad", "Float64", &t.bad},
		{"reasons", "Array(String)", list{&t.reasonEnds, &t.reasons}},
	}
}

func (t *healthRows) add(ctx context.Context, r *kgo.Record) error {
	e := &t.e
	if err := t.codec.Decode(ctx, r.Value, e); err != nil {
		return unreadable(err)
	}
	t.time.Append(e.Time)
	t.id.Append(e.ID)
	t.kind.Append(e.Kind)
	t.provider.Append(e.Provider)
	t.endpoint.Append(e.Endpoint)
	t.region.Append(e.Region)
	t.source.Append(e.Source)
	t.instance.Append(e.Instance)
	t.applied.Append(e.Applied)
	t.fromShare.Append(percent(e.FromShare))
	t.toShare.Append(percent(e.ToShare))
	t.fromState.Append(e.FromState)
	t.toState.Append(e.ToState)
	t.probability.Append(e.Probability)
	t.bad.Append(e.Bad)
	for _, why := range e.Reasons {
		t.reasons.Append(why)
	}
	t.reasonEnds.Append(uint64(t.reasons.Rows()))
	return nil
}

func percent(n int) uint8 { return uint8(min(max(n, 0), 100)) }

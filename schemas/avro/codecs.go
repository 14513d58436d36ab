package avro

import (
	"context"
	_ "embed"

	"github.com/sira-ai/sira/schemas"
)

// The contract of each topic's values. Fields that hold JSON are strings with
// JSON text, so that any consumer can read them; sets of names that may grow
// are strings and not enums, so that an old reader is not stopped by a new
// name; moments are microseconds, and null where there is none; durations are
// longs with their unit in the name.
var (
	//go:embed request.avsc
	requestSchema string
	//go:embed result.avsc
	resultSchema string
	//go:embed chunk.avsc
	chunkSchema string
	//go:embed cost.avsc
	costSchema string
	//go:embed attempt.avsc
	attemptSchema string
	//go:embed audit.avsc
	auditSchema string
	//go:embed metric.avsc
	metricSchema string
	//go:embed endpoint_stats.avsc
	endpointStatsSchema string
	//go:embed endpoint_state.avsc
	endpointStateSchema string
	//go:embed health.avsc
	healthSchema string
	//go:embed budget.avsc
	budgetSchema string
	//go:embed cancel.avsc
	cancelSchema string
)

// Codecs holds one codec for each kind of record.
type Codecs struct {
	Request *Codec[schemas.Request]
	Result  *Codec[schemas.Result]
	Chunk   *Codec[schemas.Chunk]
	Cost    *Codec[schemas.CostEvent]
	Attempt *Codec[schemas.AttemptEvent]
	Audit   *Codec[schemas.AuditEvent]
	Metric  *Codec[schemas.MetricEvent]
	Budget  *Codec[schemas.BudgetEvent]
	Health  *Codec[schemas.HealthEvent]
	Cancel  *Codec[schemas.Cancel]

	EndpointStats *Codec[schemas.EndpointStats]
	EndpointState *Codec[schemas.EndpointState]

	render *renderer
}

// Topics names the topics whose values are of each kind.
type Topics struct {
	Requests, Results, Chunks, Costs, Attempts, Audit, Metrics, Health, Budgets []string
	EndpointStats, EndpointStates, Cancels                                      []string
}

// NewCodecs returns codecs that find the schemas of others' records in source.
func NewCodecs(source SchemaSource) *Codecs {
	return &Codecs{
		Request: newCodec[schemas.Request](requestSchema, (*body).request, source),
		Result:  newCodec[schemas.Result](resultSchema, (*body).result, source),
		Chunk:   newCodec[schemas.Chunk](chunkSchema, (*body).chunk, source),
		Cost:    newCodec[schemas.CostEvent](costSchema, (*body).costEvent, source),
		Attempt: newCodec[schemas.AttemptEvent](attemptSchema, (*body).attemptEvent, source),
		Audit:   newCodec[schemas.AuditEvent](auditSchema, (*body).auditEvent, source),
		Metric:  newCodec[schemas.MetricEvent](metricSchema, nil, source),
		Health:  newCodec[schemas.HealthEvent](healthSchema, nil, source),
		Budget:  newCodec[schemas.BudgetEvent](budgetSchema, nil, source),
		Cancel:  newCodec[schemas.Cancel](cancelSchema, nil, source),
		render:  newRenderer(source),

		EndpointStats: newCodec[schemas.EndpointStats](endpointStatsSchema, nil, source),
		EndpointState: newCodec[schemas.EndpointState](endpointStateSchema, nil, source),
	}
}

// Register registers the schema of each kind for its topics. It may be called
// again, after an error or for more topics. A kind without topics can be read
// and not written.
func (c *Codecs) Register(ctx context.Context, r Registrar, topics Topics) error {
	for _, each := range []struct {
		register func(context.Context, Registrar, ...string) error
		topics   []string
	}{
		{c.Request.Register, topics.Requests},
		{c.Result.Register, topics.Results},
		{c.Chunk.Register, topics.Chunks},
		{c.Cost.Register, topics.Costs},
		{c.Attempt.Register, topics.Attempts},
		{c.Audit.Register, topics.Audit},
		{c.Metric.Register, topics.Metrics},
		{c.Health.Register, topics.Health},
		{c.EndpointStats.Register, topics.EndpointStats},
		{c.EndpointState.Register, topics.EndpointStates},
		{c.Budget.Register, topics.Budgets},
		{c.Cancel.Register, topics.Cancels},
	} {
		if err := each.register(ctx, r, each.topics...); err != nil {
			return err
		}
	}
	return nil
}

// RenderJSON returns any record in Confluent wire format as JSON for people,
// read with the schema that wrote it and no knowledge of its kind. Unions show
// as their bare value; moments as microseconds; bytes, and so amounts, as Avro's
// JSON encoding writes them, one escape per byte. Errors are those of
// [Codec.Decode].
func (c *Codecs) RenderJSON(ctx context.Context, b []byte) ([]byte, error) {
	return c.render.json(ctx, b)
}

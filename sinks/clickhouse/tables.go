package clickhouse

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// table says how the records of a topic become rows. read returns the columns'
// values without the three of the source; it depends on nothing but the record,
// so that a batch that is read again is the same, and is safe for concurrent use.
type table struct {
	name    string
	columns []string
	read    func(ctx context.Context, r *kgo.Record) ([]any, error)
}

// errUnreadable is in the chain of errors about a record that will never become a
// row.
var errUnreadable = errors.New("unreadable event")

func (t *table) insert() string {
	return "INSERT INTO " + t.name + " (" + strings.Join(t.columns, ", ") + ", src_topic, src_partition, src_offset)"
}

func columns(names string) []string { return strings.Fields(names) }

// decode reads an Avro event. A registry that does not answer is worth waiting
// for; anything else is not.
func decode[T any](ctx context.Context, c *avro.Codec[T], b []byte, v *T) error {
	err := c.Decode(ctx, b, v)
	if err == nil || errors.Is(err, avro.ErrRegistryUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", errUnreadable, err)
}

func requestsTable(c *avro.Codecs) *table {
	return &table{
		name: "requests",
		columns: columns(`event_time request_id tenant labels op lane model route outcome provider provider_model endpoint region stream
			attempts fallbacks queue_ms e2e_ms handling_ms cost_state config_version origin`),
		read: func(ctx context.Context, r *kgo.Record) ([]any, error) {
			var e schemas.Result
			if err := readResult(ctx, c, r.Value, &e); err != nil {
				return nil, err
			}
			outcome, target := schemas.OK, schemas.Target{}
			if e.Failure != nil {
				outcome = e.Failure.Code
			}
			if e.Target != nil {
				target = *e.Target
			}
			fallbacks := 0
			for _, a := range e.Attempts {
				if a.Reason == "fallback" {
					fallbacks++
				}
			}
			return []any{
				e.CompletedAt, e.RequestID, e.Tenant, labels(e.Labels), string(e.Op), e.Lane, e.Model, e.Route, string(outcome),
				target.Provider, target.Model, target.Endpoint, target.Region, e.Stream, uint16(len(e.Attempts)), uint16(fallbacks),
				between(e.CreatedAt, e.StartedAt), between(e.CreatedAt, e.CompletedAt), between(e.StartedAt, e.CompletedAt),
				string(e.Cost.State), e.ConfigVersion, e.Origin,
			}, nil
		},
	}
}

// readResult reads a result in the form of its producer.
func readResult(ctx context.Context, c *avro.Codecs, value []byte, e *schemas.Result) error {
	if len(value) > 0 && value[0] == 0 {
		return decode(ctx, c.Result, value, e)
	}
	if err := json.Unmarshal(value, e); err != nil {
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return nil
}

func attemptsTable(c *avro.Codecs) *table {
	return &table{
		name: "attempts",
		columns: columns(`event_time request_id attempt round reason tenant op model provider provider_model endpoint region stream outcome
			phase http_status vendor_code retry_after_ms latency_ms first_token_ms max_gap_ms input_tokens cached_tokens output_tokens worker`),
		read: func(ctx context.Context, r *kgo.Record) ([]any, error) {
			var e schemas.AttemptEvent
			if err := decode(ctx, c.Attempt, r.Value, &e); err != nil {
				return nil, err
			}
			a := &e.Attempt
			return []any{
				a.StartedAt.Add(time.Duration(a.LatencyMS) * time.Millisecond), e.RequestID, uint16(a.Number), uint16(a.Round), a.Reason, e.Tenant,
				string(e.Op), e.Model, a.Target.Provider, a.Target.Model, a.Target.Endpoint, a.Target.Region, e.Stream, string(a.Outcome),
				string(a.Phase), uint16(a.HTTPStatus), a.VendorCode, count(a.RetryAfterMS), count(a.LatencyMS), count(a.FirstTokenMS), count(a.MaxGapMS),
				count(a.Usage.InputTokens), count(a.Usage.CacheReadTokens), count(a.Usage.OutputTokens), e.Worker,
			}, nil
		},
	}
}

func costsTable(c *avro.Codecs) *table {
	return &table{
		name: "costs",
		columns: columns(`event_time cost_id request_id tenant labels op model provider provider_model region outcome state amount currency
			input_tokens cache_read cache_write output_tokens attempts
			line_kind line_attempt line_provider line_model line_state line_amount line_price line_usage config_version`),
		read: func(ctx context.Context, r *kgo.Record) ([]any, error) {
			var e schemas.CostEvent
			if err := decode(ctx, c.Cost, r.Value, &e); err != nil {
				return nil, err
			}
			if n := len(e.Currency); n != 0 && n != 3 { // the table refuses it, and with it the batch
				return nil, fmt.Errorf("%w: a currency of %d bytes", errUnreadable, n)
			}
			row := []any{
				e.Time, e.ID, e.RequestID, e.Tenant, labels(e.Labels), string(e.Op), e.Model, e.Provider, e.ProviderModel, e.Region,
				string(e.Outcome), string(e.State), e.Amount, e.Currency, count(e.InputTokens), count(e.CacheRead), count(e.CacheWrite),
				count(e.OutputTokens), uint16(e.Attempts),
			}
			return append(append(row, costLines(e.Lines)...), e.ConfigVersion), nil
		},
	}
}

func metricsTable(c *avro.Codecs) *table {
	return &table{
		name:    "metrics",
		columns: columns(`event_time name endpoint worker value`),
		read: func(ctx context.Context, r *kgo.Record) ([]any, error) {
			var e schemas.MetricEvent
			if err := decode(ctx, c.Metric, r.Value, &e); err != nil {
				return nil, err
			}
			return []any{e.Time, e.Name, e.Endpoint, e.Worker, e.Value}, nil
		},
	}
}

func healthTable(c *avro.Codecs) *table {
	return &table{
		name: "health",
		columns: columns(`event_time event_id kind provider endpoint region source instance applied from_share to_share from_state to_state
			probability bad reasons`),
		read: func(ctx context.Context, r *kgo.Record) ([]any, error) {
			var e schemas.HealthEvent
			if err := decode(ctx, c.Health, r.Value, &e); err != nil {
				return nil, err
			}
			reasons := e.Reasons
			if reasons == nil {
				reasons = []string{}
			}
			return []any{
				e.Time, e.ID, e.Kind, e.Provider, e.Endpoint, e.Region, e.Source, e.Instance, e.Applied, percent(e.FromShare), percent(e.ToShare),
				e.FromState, e.ToState, e.Probability, e.Bad, reasons,
			}, nil
		},
	}
}

func budgetsTable(c *avro.Codecs) *table {
	return &table{
		name:    "budget_events",
		columns: columns(`event_time budget seq tenant mode decision cost_id amount currency window_start window_limit spent reserved warning`),
		read: func(ctx context.Context, r *kgo.Record) ([]any, error) {
			var e schemas.BudgetEvent
			if err := decode(ctx, c.Budget, r.Value, &e); err != nil {
				return nil, err
			}
			return []any{
				e.Time, e.Budget, count(e.Seq), e.Tenant, e.Mode, e.Decision, e.Request, e.Amount, e.Currency, e.Window, e.Limit, e.Spent, e.Reserved,
				uint8(min(max(e.Warning, 0), 100)),
			}, nil
		},
	}
}

func percent(n int) uint8 { return uint8(min(max(n, 0), 100)) }

func deadTable() *table {
	return &table{
		name:    "dead_letters",
		columns: columns(`event_time reason detail request_id tenant origin bytes`),
		read: func(_ context.Context, r *kgo.Record) ([]any, error) {
			h := func(key string) string {
				for _, h := range r.Headers {
					if h.Key == key {
						return string(h.Value)
					}
				}
				return ""
			}
			return []any{
				r.Timestamp, h(schemas.HeaderDeadReason), h(schemas.HeaderDeadDetail), h(schemas.HeaderID), h(schemas.HeaderTenant),
				h(schemas.HeaderDeadOrigin), uint64(len(r.Value)),
			}, nil
		},
	}
}

const auditName = "audit"

// auditColumns are filled by the partition, which knows the head of the chain.
var auditColumns = columns(`chain seq event_time tenant actor action resource outcome payload prev_hash hash`)

// auditTable reads audit events; their links are filled in when they are inserted.
func auditTable(c *avro.Codecs) *table {
	return &table{
		name:    auditName,
		columns: auditColumns,
		read: func(ctx context.Context, r *kgo.Record) ([]any, error) {
			var e schemas.AuditEvent
			if err := decode(ctx, c.Audit, r.Value, &e); err != nil {
				return nil, err
			}
			payload, err := json.Marshal(&e)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", errUnreadable, err)
			}
			return []any{uint32(r.Partition), nil, e.Time, e.Tenant, e.Actor, e.Action, e.Resource, string(e.Outcome), string(payload), nil, nil}, nil
		},
	}
}

// Places in an audit row that linking fills.
const (
	auditSeq     = 1
	auditPayload = 8
	auditPrev    = 9
	auditHash    = 10
)

// head is the newest link of an audit chain.
type head struct {
	next uint64 // seq of the next record
	hash [32]byte
}

// loadHead reads the chain's head below an offset, so that the rows of a batch
// that is written again are linked as they were the first time.
func loadHead(ctx context.Context, conn driver.Conn, partition int32, below int64) (head, error) {
	var h head
	rows, err := conn.Query(ctx, "SELECT seq, hash FROM audit WHERE chain = ? AND src_offset < ? ORDER BY seq DESC LIMIT 1", uint32(partition), uint64(below))
	if err != nil {
		return h, fmt.Errorf("reading head of audit chain %d: %w", partition, err)
	}
	defer rows.Close()
	for rows.Next() {
		var seq uint64
		var hash string
		if err := rows.Scan(&seq, &hash); err != nil {
			return h, fmt.Errorf("reading head of audit chain %d: %w", partition, err)
		}
		h.next = seq + 1
		copy(h.hash[:], hash)
	}
	return h, rows.Err()
}

func labels(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func count(n int64) uint64 { return uint64(max(n, 0)) }

func between(from, to time.Time) uint64 {
	if from.IsZero() || to.Before(from) {
		return 0
	}
	return uint64(to.Sub(from).Milliseconds())
}

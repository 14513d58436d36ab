package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// rows are the columns of a table that come from the record, without the three of
// the source. What add appends depends on nothing but the record, so that a batch
// that is read again is the same.
type rows interface {
	// add appends the row of a record, or nothing and returns why. It keeps none of
	// the record's memory.
	add(ctx context.Context, r *kgo.Record) error
	// columns returns all columns, always the same ones in the same order.
	columns() []column
}

// table says how the records of a topic become rows.
type table struct {
	name   string
	insert string
	types  []clickhouse.ColumnNameAndType
	empty  func() rows
	spare  sync.Pool // of *block
}

func newTable(name string, empty func() rows) *table {
	t := &table{name: name, empty: empty}
	b := newBlock(t)
	var list []string
	for _, c := range b.columns {
		list = append(list, c.name)
		t.types = append(t.types, clickhouse.ColumnNameAndType{Name: c.name, Type: c.kind})
	}
	t.insert = "INSERT INTO " + name + " (" + strings.Join(list, ", ") + ")"
	return t
}

// newTables returns the table of each topic.
func newTables(topics RecorderTopics, c *avro.Codecs) map[string]*table {
	costs, attempts, requests, budgets := avro.NewView[cost](c.Cost), avro.NewView[attempt](c.Attempt), avro.NewView[request](c.Result), avro.NewView[decision](c.Budget)
	tables := map[string]*table{
		topics.Costs:    newTable("costs", func() rows { return &costRows{view: costs} }),
		topics.Attempts: newTable("attempts", func() rows { return &attemptRows{view: attempts} }),
		topics.Audit:    newTable("audit", func() rows { return newAuditRows(c.Audit) }),
		topics.Metrics:  newTable("metrics", func() rows { return &metricRows{codec: c.Metric} }),
		topics.Health:   newTable("health", func() rows { return &healthRows{codec: c.Health} }),
		topics.Budgets:  newTable("budget_events", func() rows { return &budgetRows{view: budgets} }),
		topics.Dead:     newTable("dead_letters", func() rows { return &deadRows{} }),
	}
	for _, topic := range topics.Results {
		tables[topic] = newTable("requests", func() rows { return &requestRows{view: requests} })
	}
	delete(tables, "")
	return tables
}

// errUnreadable is in the chain of errors about a record that will never become a
// row.
var errUnreadable = errors.New("unreadable event")

// unreadable marks an error of decoding. A registry that does not answer is worth
// waiting for; anything else is not.
func unreadable(err error) error {
	if err == nil || errors.Is(err, avro.ErrRegistryUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", errUnreadable, err)
}

// metricRows are the table of metrics.
type metricRows struct {
	codec *avro.Codec[schemas.MetricEvent]
	e     schemas.MetricEvent

	time                   moments
	name, endpoint, worker names
	value                  proto.ColFloat64
}

func (t *metricRows) columns() []column {
	return []column{
		{"event_time", kindMoment, &t.time},
		{"name", kindName, &t.name},
		{"endpoint", kindName, &t.endpoint},
		{"worker", kindName, &t.worker},
		{"value", "Float64", &t.value},
	}
}

func (t *metricRows) add(ctx context.Context, r *kgo.Record) error {
	e := &t.e
	if err := t.codec.Decode(ctx, r.Value, e); err != nil {
		return unreadable(err)
	}
	t.time.Append(e.Time)
	t.name.Append(e.Name)
	t.endpoint.Append(e.Endpoint)
	t.worker.Append(e.Worker)
	t.value.Append(e.Value)
	return nil
}

// deadRows are the table of dead letters.
type deadRows struct {
	time                      moments
	reason, tenant            names
	detail, requestID, origin proto.ColStr
	bytes                     proto.ColUInt64
}

func (t *deadRows) columns() []column {
	return []column{
		{"event_time", kindMoment, &t.time},
		{"reason", kindName, &t.reason},
		{"detail", "String", &t.detail},
		{"request_id", "String", &t.requestID},
		{"tenant", kindName, &t.tenant},
		{"origin", "String", &t.origin},
		{"bytes", "UInt64", &t.bytes},
	}
}

func (t *deadRows) add(_ context.Context, r *kgo.Record) error {
	h := func(key string) string {
		for _, h := range r.Headers {
			if h.Key == key {
				return string(h.Value)
			}
		}
		return ""
	}
	t.time.Append(r.Timestamp)
	t.reason.Append(h(schemas.HeaderDeadReason))
	t.detail.Append(h(schemas.HeaderDeadDetail))
	t.requestID.Append(h(schemas.HeaderID))
	t.tenant.Append(h(schemas.HeaderTenant))
	t.origin.Append(h(schemas.HeaderDeadOrigin))
	t.bytes.Append(uint64(len(r.Value)))
	return nil
}

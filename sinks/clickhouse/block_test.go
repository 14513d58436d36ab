package clickhouse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	chcolumn "github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// cuts lists the batches that a partition makes of records with these offsets.
func cuts(t *testing.T, p *partition, maxRows int, offsets ...int64) []string {
	t.Helper()
	r := &Recorder{cfg: RecorderConfig{MaxRows: maxRows, MaxBuffer: 1000, MaxWait: time.Hour}, parts: map[topicPartition]*partition{{}: p}}
	for _, o := range offsets {
		r.add(t.Context(), p, &kgo.Record{Offset: o})
	}
	var out []string
	for {
		due := r.due(false)
		if len(due) == 0 {
			return out
		}
		b := &due[0]
		text := fmt.Sprintf("%d-%d", b.plan.first, b.plan.last)
		if b.block != nil {
			text += fmt.Sprintf(" of %d", b.block.n)
		}
		out = append(out, text)
		b.done = true
		r.settle(due)
	}
}

func TestBatchesAreCutByRows(t *testing.T) {
	t.Parallel()
	p := &partition{table: newTable("dead_letters", func() rows { return &deadRows{} }), committed: 3, next: 3, cut: -1}
	if diff := cmp.Diff([]string{"3-5 of 2", "6-9 of 2"}, cuts(t, p, 2, 4, 5, 8, 9, 10)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"10-11 of 2"}, cuts(t, p, 2, 11)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Rows are of any size, and ClickHouse takes a batch as a whole or not at all.
func TestBatchesAreCutBySizeToo(t *testing.T) {
	t.Parallel()
	p := &partition{table: newTable("dead_letters", func() rows { return &deadRows{} }), committed: 0, next: 0, cut: -1}
	r := &Recorder{cfg: RecorderConfig{MaxRows: 1000, MaxBuffer: 1000, MaxWait: time.Hour}, parts: map[topicPartition]*partition{{}: p}}
	detail := []kgo.RecordHeader{{Key: schemas.HeaderDeadDetail, Value: make([]byte, maxBlock/2)}}
	for o := range int64(5) {
		r.add(t.Context(), p, &kgo.Record{Offset: o, Headers: detail})
	}
	due := r.due(false)
	if len(due) != 1 || due[0].plan.last != 1 || due[0].block.n != 2 {
		t.Errorf("due: %+v", due)
	}
	if r.note(nil); r.bytes < 5*maxBlock/2 || r.full() {
		t.Errorf("%d bytes are held, full: %v", r.bytes, r.full())
	}
	if r.bytes = maxHeld; !r.full() {
		t.Errorf("%d bytes are held and it is not full", r.bytes)
	}
}

// A driver that reads less of a column than was written would shift all that
// follow it.
func TestColumnOfAnotherShapeIsNotCopied(t *testing.T) {
	t.Parallel()
	table := newTable("dead_letters", func() rows { return &deadRows{} })
	b := table.block()
	for o := range int64(3) {
		if err := b.add(t.Context(), &kgo.Record{Offset: o}); err != nil {
			t.Fatal(err)
		}
	}
	c := newCopier()
	if err := c.copy(b, blank(t, table)); err != nil {
		t.Fatal(err)
	}
	b.offset.Append(9) // a row too many
	if err := newCopier().copy(b, blank(t, table)); !errors.Is(err, errLayout) {
		t.Errorf("a column that is too long: %v", err)
	}
	if err := newCopier().copy(b, blank(t, newTable("metrics", func() rows { return &metricRows{} }))); !errors.Is(err, errLayout) {
		t.Errorf("columns of another table: %v", err)
	}
}

// Whoever announced the batch may have had another limit, and knew no other
// offsets than those up to its end.
func TestAnnouncedBatchIsCutAsItWasAnnounced(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		maxRows int
		offsets []int64
		want    []string
	}{
		{"larger than the limit", 2, []int64{3, 4, 5, 6, 7, 8, 9}, []string{"3-6 of 4", "7-8 of 2"}},
		{"smaller than the limit", 100, []int64{3, 4, 6, 7}, []string{"3-6 of 3"}},
		{"its last record is gone", 100, []int64{3, 7}, []string{"3-6 of 1"}},
		{"nothing of it can be read", 1, []int64{8, 9}, []string{"3-6", "7-8 of 1", "9-9 of 1"}},
		{"not complete", 2, []int64{3, 4, 5}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := &partition{
				table:     newTable("dead_letters", func() rows { return &deadRows{} }),
				committed: 3, next: 3, pending: &plan{3, 6, 1}, cut: 6,
			}
			if diff := cmp.Diff(c.want, cuts(t, p, c.maxRows, c.offsets...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzRows reads any bytes as an event of each kind. What becomes a row fills
// every column, what does not fills none, and read again it is the same.
func FuzzRows(f *testing.F) {
	codecs := avro.NewCodecs(nowhere{})
	err := codecs.Register(f.Context(), nowhere{}, avro.Topics{
		Results: []string{"results"}, Costs: []string{"costs"}, Attempts: []string{"attempts"}, Audit: []string{"audit"}, Metrics: []string{"metrics"},
		Health: []string{"health"}, Budgets: []string{"budgets"},
	})
	if err != nil {
		f.Fatal(err)
	}
	seeds := [][]byte{[]byte(`{"request_id": "r1", "labels": {"a": "b"}, "attempts": [{"reason": "fallback"}], "completed_at": "2026-03-04T10:00:00Z"}`)}
	for _, event := range []func() ([]byte, error){
		func() ([]byte, error) {
			return codecs.Cost.Append(nil, &schemas.CostEvent{Currency: "USD", Labels: map[string]string{"a": "b"}, Lines: []schemas.CostLine{{Attempt: 1}, {Attempt: 2}}})
		},
		func() ([]byte, error) { return codecs.Attempt.Append(nil, &schemas.AttemptEvent{RequestID: "r1"}) },
		func() ([]byte, error) { return codecs.Audit.Append(nil, &schemas.AuditEvent{ID: "e1"}) },
		func() ([]byte, error) { return codecs.Metric.Append(nil, &schemas.MetricEvent{Name: "g", Value: 1}) },
		func() ([]byte, error) {
			return codecs.Health.Append(nil, &schemas.HealthEvent{ID: "h1", Reasons: []string{"a", ""}})
		},
		func() ([]byte, error) {
			return codecs.Budget.Append(nil, &schemas.BudgetEvent{ID: "b#1", Seq: 1, Limit: decimal.New(1, 0)})
		},
		func() ([]byte, error) { return codecs.Result.Append(nil, result("r1", base)) },
	} {
		seed, err := event()
		if err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, seed)
	}
	for _, seed := range seeds {
		f.Add(seed)
		f.Add(seed[avro.HeaderSize:])
	}
	all, copier := newTables(topics, codecs), newCopier()
	f.Fuzz(func(t *testing.T, value []byte) {
		for topic, table := range all {
			// As it is, and as what follows the header of that kind.
			id := len(avro.ValueSubject(topic))
			values := [][]byte{value, append(avro.AppendHeader(nil, id), value...), seeds[len(seeds)-1]}
			encoded := func() []byte {
				b := table.block()
				defer table.free(b)
				for offset := range int64(6) { // the second time behind what the first one left
					_ = b.add(t.Context(), &kgo.Record{Topic: topic, Offset: offset, Value: values[offset%3]})
				}
				if a, ok := b.rows.(*auditRows); ok {
					a.link(head{}, 0, chainHash)
				}
				if err := copier.copy(b, blank(t, table)); err != nil {
					t.Errorf("%s: %v", topic, err)
				}
				var buf proto.Buffer
				for _, c := range b.columns {
					c.data.EncodeColumn(&buf)
				}
				return buf.Buf
			}
			if first, again := encoded(), encoded(); !bytes.Equal(first, again) {
				t.Errorf("%s: read again, the batch is another one", topic)
			}
		}
	})
}

// nowhere is a registry that has one schema of each kind, ours.
type nowhere struct{}

func (nowhere) Register(_ context.Context, subject, _ string) (int, error) { return len(subject), nil }

func (nowhere) SchemaByID(context.Context, int) (string, error) { return "", avro.ErrUnknownSchema }

// blank is the driver's batch for a table, not connected to anything.
func blank(t *testing.T, table *table) *emptyBatch {
	t.Helper()
	var b emptyBatch
	for _, c := range table.types {
		to, err := chcolumn.Type(c.Type).Column(c.Name, &chcolumn.ServerContext{})
		if err != nil {
			t.Fatal(err)
		}
		b.columns = append(b.columns, to)
	}
	return &b
}

type emptyBatch struct {
	driver.Batch
	columns []chcolumn.Interface
}

func (b *emptyBatch) Columns() []chcolumn.Interface { return b.columns }

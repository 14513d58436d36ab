package clickhouse

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// auditRows are the table of audit events. Their links are made when they are
// inserted, by the partition, which knows the head of the chain.
type auditRows struct {
	codec *avro.Codec[schemas.AuditEvent]
	e     schemas.AuditEvent

	chain                   proto.ColUInt32
	time                    proto.ColInt64 // microseconds
	tenant, action, outcome names
	actor, resource         proto.ColStr
	payload                 proto.ColStr

	seq        proto.ColUInt64
	prev, hash proto.ColFixedStr
}

func newAuditRows(codec *avro.Codec[schemas.AuditEvent]) *auditRows {
	t := &auditRows{codec: codec}
	t.prev.SetSize(len(head{}.hash))
	t.hash.SetSize(len(head{}.hash))
	return t
}

func (t *auditRows) columns() []column {
	return []column{
		{"chain", "UInt32", &t.chain},
		{"seq", "UInt64", &t.seq},
		{"event_time", "DateTime64(6, 'UTC')", &t.time},
		{"tenant", kindName, &t.tenant},
		{"actor", "String", &t.actor},
		{"action", kindName, &t.action},
		{"resource", "String", &t.resource},
		{"outcome", kindName, &t.outcome},
		{"payload", "String", &t.payload},
		{"prev_hash", "FixedString(32)", &t.prev},
		{"hash", "FixedString(32)", &t.hash},
	}
}

func (t *auditRows) add(ctx context.Context, r *kgo.Record) error {
	e := &t.e
	if err := t.codec.Decode(ctx, r.Value, e); err != nil {
		return unreadable(err)
	}
	payload, err := json.Marshal(e)
	if err != nil {
		return unreadable(err)
	}
	at := int64(0)
	if !e.Time.IsZero() {
		at = e.Time.UnixMicro()
	}
	t.chain.Append(uint32(r.Partition))
	t.time.Append(at)
	t.tenant.Append(e.Tenant)
	t.actor.Append(e.Actor)
	t.action.Append(e.Action)
	t.resource.Append(e.Resource)
	t.outcome.Append(string(e.Outcome))
	t.payload.AppendBytes(payload)
	return nil
}

// linker returns the hash of an audit record: handlers/audit owns the formula.
type linker func(prev [32]byte, chain uint16, seq uint64, payload []byte) [32]byte

// link makes the links of all rows, of which none has one yet, behind h, and
// returns the new head.
func (t *auditRows) link(h head, chain uint16, hash linker) head {
	for i := range t.payload.Rows() {
		prev := h.hash
		h.hash = hash(prev, chain, h.next, t.payload.RowBytes(i))
		t.seq.Append(h.next)
		t.prev.Append(prev[:])
		t.hash.Append(h.hash[:])
		h.next++
	}
	return h
}

// link fills in the chain of an audit batch from the newest row below it.
func (r *Recorder) link(ctx context.Context, b *batch, t *auditRows) error {
	if b.p.head == nil {
		h, err := loadHead(ctx, r.cfg.Conn, b.p.partition, b.block.first)
		if err != nil {
			return err
		}
		b.p.head = &h
	}
	if t.seq.Rows() > 0 {
		return nil // linked by an earlier try
	}
	h := t.link(*b.p.head, uint16(b.p.partition), r.cfg.Link)
	b.p.head = &h
	return nil
}

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

package clickhouse

import (
	"context"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/schemas/avro"
)

// decision is what the table of budget events takes of a budget event.
type decision struct {
	Time     time.Time `avro:"time"`
	Budget   string    `avro:"budget"`
	Seq      int64     `avro:"seq"`
	Tenant   string    `avro:"tenant"`
	Mode     string    `avro:"mode"`
	Decision string    `avro:"decision"`
	Request  string    `avro:"request"`
	Amount   []byte    `avro:"amount"` // unscaled, as all amounts
	Currency string    `avro:"currency"`
	Window   time.Time `avro:"window"`
	Limit    []byte    `avro:"limit"`
	Spent    []byte    `avro:"spent"`
	Reserved []byte    `avro:"reserved"`
	Warning  int       `avro:"warning"`
}

// budgetRows are the table of budget events.
type budgetRows struct {
	view *avro.View[decision]
	e    decision

	time, window                             moments
	budget, tenant, mode, decision, currency names
	seq                                      proto.ColUInt64
	costID                                   proto.ColStr
	amount, limit, spent, reserved           amounts
	warning                                  proto.ColUInt8
}

func (t *budgetRows) columns() []column {
	return []column{
		{"event_time", kindMoment, &t.time},
		{"budget", kindName, &t.budget},
		{"seq", "UInt64", &t.seq},
		{"tenant", kindName, &t.tenant},
		{"mode", kindName, &t.mode},
		{"decision", kindName, &t.decision},
		{"cost_id", "String", &t.costID},
		{"amount", kindAmount, &t.amount},
		{"currency", kindName, &t.currency},
		{"window_start", kindMoment, &t.window},
		{"window_limit", kindAmount, &t.limit},
		{"spent", kindAmount, &t.spent},
		{"reserved", kindAmount, &t.reserved},
		{"warning", "UInt8", &t.warning},
	}
}

func (t *budgetRows) add(ctx context.Context, r *kgo.Record) error {
	t.e = decision{}
	e := &t.e
	if err := t.view.Decode(ctx, r.Value, e); err != nil {
		return unreadable(err)
	}
	var money [4]proto.Decimal128
	for i, unscaled := range [...][]byte{e.Amount, e.Limit, e.Spent, e.Reserved} {
		var err error
		if money[i], err = amount(unscaled); err != nil {
			return unreadable(err)
		}
	}
	t.time.Append(e.Time)
	t.budget.Append(e.Budget)
	t.seq.Append(count(e.Seq))
	t.tenant.Append(e.Tenant)
	t.mode.Append(e.Mode)
	t.decision.Append(e.Decision)
	t.costID.Append(e.Request)
	t.amount = append(t.amount, money[0])
	t.currency.Append(e.Currency)
	t.window.Append(e.Window)
	t.limit = append(t.limit, money[1])
	t.spent = append(t.spent, money[2])
	t.reserved = append(t.reserved, money[3])
	t.warning.Append(percent(e.Warning))
	return nil
}

package clickhouse

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/schemas/avro"
)

// cost is what the table of costs takes of a cost event.
type cost struct {
	ID            string            `avro:"id"`
	RequestID     string            `avro:"request_id"`
	Tenant        string            `avro:"tenant"`
	Labels        map[string]string `avro:"labels"`
	Time          time.Time         `avro:"time"`
	Op            string            `avro:"op"`
	Model         string            `avro:"model"`
	Outcome       string            `avro:"outcome"`
	Provider      string            `avro:"provider"`
	ProviderModel string            `avro:"provider_model"`
	Region        string            `avro:"region"`
	State         string            `avro:"state"`
	Amount        []byte            `avro:"amount"` // unscaled
	Currency      string            `avro:"currency"`
	InputTokens   int64             `avro:"input_tokens"`
	CacheRead     int64             `avro:"cache_read_tokens"`
	CacheWrite    int64             `avro:"cache_write_tokens"`
	OutputTokens  int64             `avro:"output_tokens"`
	Attempts      int               `avro:"attempts"`
	Lines         []costLine        `avro:"lines"`
	ConfigVersion string            `avro:"config_version"`
}

type costLine struct {
	Attempt      int    `avro:"attempt"`
	Kind         string `avro:"kind"`
	Provider     string `avro:"provider"`
	Model        string `avro:"model"`
	State        string `avro:"state"`
	Amount       []byte `avro:"amount"` // unscaled
	PriceVersion string `avro:"price_version"`
	Usage        string `avro:"usage"`
}

// costRows are the table of costs.
type costRows struct {
	view    *avro.View[cost]
	e       cost
	amounts amounts // of the lines at hand

	time                                           moments
	id, requestID                                  proto.ColStr
	labels                                         labels
	tenant, op, model, outcome, state, currency    names
	provider, providerModel, region, configVersion names
	amount                                         amounts
	inputTokens, cacheRead, cacheWrite, outTokens  proto.ColUInt64
	attempts                                       proto.ColUInt16

	lineEnds                                                proto.ColUInt64
	lineKind, lineProvider, lineModel, lineState, linePrice names
	lineAttempt                                             proto.ColUInt16
	lineUsage                                               proto.ColStr
	lineAmount                                              amounts
}

func (t *costRows) columns() []column {
	line := func(of columnData) columnData { return list{&t.lineEnds, of} }
	return []column{
		{"event_time", kindMoment, &t.time},
		{"cost_id", "String", &t.id},
		{"request_id", "String", &t.requestID},
		{"tenant", kindName, &t.tenant},
		{"labels", kindLabels, &t.labels},
		{"op", kindName, &t.op},
		{"model", kindName, &t.model},
		{"provider", kindName, &t.provider},
		{"provider_model", kindName, &t.providerModel},
		{"region", kindName, &t.region},
		{"outcome", kindName, &t.outcome},
		{"state", kindName, &t.state},
		{"amount", kindAmount, &t.amount},
		{"currency", kindName, &t.currency},
		{"input_tokens", "UInt64", &t.inputTokens},
		{"cache_read", "UInt64", &t.cacheRead},
		{"cache_write", "UInt64", &t.cacheWrite},
		{"output_tokens", "UInt64", &t.outTokens},
		{"attempts", "UInt16", &t.attempts},
		{"line_kind", kindNames, line(&t.lineKind)},
		{"line_attempt", "Array(UInt16)", line(&t.lineAttempt)},
		{"line_provider", kindNames, line(&t.lineProvider)},
		{"line_model", kindNames, line(&t.lineModel)},
		{"line_state", kindNames, line(&t.lineState)},
		{"line_amount", kindAmounts, line(&t.lineAmount)},
		{"line_price", kindNames, line(&t.linePrice)},
		{"line_usage", "Array(String)", line(&t.lineUsage)},
		{"config_version", kindName, &t.configVersion},
	}
}

// read reads an event, and checks what the table would refuse, and with it the
// whole batch.
func (t *costRows) read(ctx context.Context, value []byte) (total proto.Decimal128, err error) {
	clear(t.e.Labels)
	t.e = cost{Labels: t.e.Labels, Lines: t.e.Lines[:0]}
	if err := t.view.Decode(ctx, value, &t.e); err != nil {
		return total, err
	}
	if n := len(t.e.Currency); n != 0 && n != 3 {
		return total, fmt.Errorf("a currency of %d bytes", n)
	}
	t.amounts.Reset()
	for i := range t.e.Lines {
		v, err := amount(t.e.Lines[i].Amount)
		if err != nil {
			return total, err
		}
		t.amounts = append(t.amounts, v)
	}
	return amount(t.e.Amount)
}

func (t *costRows) add(ctx context.Context, r *kgo.Record) error {
	total, err := t.read(ctx, r.Value)
	if err != nil {
		return unreadable(err)
	}
	e := &t.e
	t.time.Append(e.Time)
	t.id.Append(e.ID)
	t.requestID.Append(e.RequestID)
	t.tenant.Append(e.Tenant)
	t.labels.Append(e.Labels)
	t.op.Append(e.Op)
	t.model.Append(e.Model)
	t.provider.Append(e.Provider)
	t.providerModel.Append(e.ProviderModel)
	t.region.Append(e.Region)
	t.outcome.Append(e.Outcome)
	t.state.Append(e.State)
	t.amount = append(t.amount, total)
	t.currency.Append(e.Currency)
	t.inputTokens.Append(count(e.InputTokens))
	t.cacheRead.Append(count(e.CacheRead))
	t.cacheWrite.Append(count(e.CacheWrite))
	t.outTokens.Append(count(e.OutputTokens))
	t.attempts.Append(uint16(e.Attempts))
	t.configVersion.Append(e.ConfigVersion)
	t.addLines()
	return nil
}

func (t *costRows) addLines() {
	for i := range t.e.Lines {
		l := &t.e.Lines[i]
		t.lineKind.Append(l.Kind)
		t.lineAttempt.Append(uint16(l.Attempt))
		t.lineProvider.Append(l.Provider)
		t.lineModel.Append(l.Model)
		t.lineState.Append(l.State)
		t.linePrice.Append(l.PriceVersion)
		t.lineUsage.Append(l.Usage)
	}
	t.lineAmount = append(t.lineAmount, t.amounts...)
	t.lineEnds.Append(uint64(len(t.lineAmount)))
}

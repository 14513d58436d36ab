package office

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/cost/budget"
	"github.com/sira-ai/sira/schemas"
)

// batch is what one step writes.
type batch struct {
	*serving
	touched  map[string]bool
	warnings []budget.Change
	records  []*kgo.Record
	err      error
}

// handle carries out a command. Bytes that are none were written by somebody else,
// and are passed over.
func (b *batch) handle(r *kgo.Record) {
	next := &b.progress.Reserve
	if r.Topic == b.cfg.Topics.Settle {
		next = &b.progress.Settle
	}
	*next = r.Offset + 1
	c, err := budget.ParseCommand(r.Value)
	if err != nil || (c.Action == budget.Settle) != (r.Topic == b.cfg.Topics.Settle) {
		b.log.Warn("passing over what is no command to a budget", zap.String("topic", r.Topic), zap.Int64("offset", r.Offset))
		return
	}
	c.At = b.clock
	changes := b.owner.Handle(c)
	for i := range changes {
		ask := ""
		if i == len(changes)-1 {
			ask = c.Ask
		}
		b.keep(&changes[i], ask)
	}
}

// keep writes a decision, and the event of one that is new.
func (b *batch) keep(c *budget.Change, ask string) {
	if c.Seq == 0 && ask == "" {
		return // nothing changed and nobody waits
	}
	key := entryKey(c.Budget, c.ID)
	b.add(b.cfg.Topics.State, key, entry{c.Decision, c.Amount, c.Window, c.Until, c.At, ask})
	if c.Decision == budget.Refused || c.Decision == budget.Unknown {
		b.records = append(b.records, &kgo.Record{Topic: b.cfg.Topics.State, Key: key}) // it was an answer and is no state
	}
	if c.Seq == 0 {
		return
	}
	b.touched[c.Budget] = true
	if c.Warning > 0 {
		b.warnings = append(b.warnings, *c)
	}
	limit, _ := b.owner.Config(c.Budget)
	value, err := b.cfg.Encode(event(&limit, c))
	if err != nil {
		b.err = errors.Join(b.err, fmt.Errorf("writing the event of a budget: %w", err))
		return
	}
	b.records = append(b.records, &kgo.Record{Topic: b.cfg.Topics.Events, Key: []byte(c.Budget), Value: value})
}

// close adds what the step changed as a whole.
func (b *batch) close() error {
	for id := range b.touched {
		for _, call := range b.owner.Forgotten(id) {
			b.records = append(b.records, &kgo.Record{Topic: b.cfg.Topics.State, Key: entryKey(id, call)})
		}
		s, _ := b.owner.Summary(id)
		limit, _ := b.owner.Config(id)
		b.add(b.cfg.Topics.State, []byte(id), summary{s.Seq, s.Window, s.Spent, s.Reserved, s.Warning, s.Cleaned, limit.Currency})
	}
	b.add(b.cfg.Topics.State, []byte(keyCommands), b.progress)
	return b.err
}

func (b *batch) add(topic string, key []byte, v any) {
	value, err := json.Marshal(v)
	if err != nil {
		b.err = errors.Join(b.err, fmt.Errorf("writing the state of budgets: %w", err))
		return
	}
	b.records = append(b.records, &kgo.Record{Topic: topic, Key: key, Value: value})
}

// warn says what was kept.
func (b *batch) warn() {
	for i := range b.warnings {
		w := &b.warnings[i]
		limit, _ := b.owner.Config(w.Budget)
		b.log.Warn("budget is nearly used up", zap.String("budget", w.Budget), zap.Int("percent", w.Warning), zap.Stringer("spent", w.Spent),
			zap.Stringer("reserved", w.Reserved), zap.Stringer("limit", limit.Limit), zap.String("currency", limit.Currency))
	}
}

// event is what people and tables see of a decision.
func event(limit *budget.Config, c *budget.Change) *schemas.BudgetEvent {
	return &schemas.BudgetEvent{
		ID: c.Budget + "#" + strconv.FormatUint(c.Seq, 10), Time: c.At, Budget: c.Budget, Seq: int64(c.Seq), Tenant: limit.Tenant,
		Mode: string(limit.Mode), Decision: string(c.Decision), Request: c.ID, Amount: c.Amount, Currency: limit.Currency,
		Window: c.Window, Limit: limit.Limit, Spent: c.Spent, Reserved: c.Reserved, Warning: c.Warning,
	}
}

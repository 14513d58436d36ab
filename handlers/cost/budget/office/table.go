package office

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/cost/budget"
)

// The compacted state topic holds, for each of its partitions, a table of JSON values
// by key:
//
//	BUDGET          a summary: what is settled and set aside
//	BUDGET CALL     an entry: a reservation, or a call that was settled lately
//	@commands       how far the commands were read
//	@owner          who owns the partition
//
// An id holds no space and no @. A call that is forgotten leaves a tombstone.
const (
	keyCommands = "@commands"
	keyOwner    = "@owner"
)

// summary is what a budget comes to.
type summary struct {
	Seq      uint64          `json:"seq"`
	Window   time.Time       `json:"window"`
	Spent    decimal.Decimal `json:"spent"`
	Reserved decimal.Decimal `json:"reserved"`
	Warning  int             `json:"warning,omitempty"`
	Cleaned  time.Time       `json:"cleaned"`
	Currency string          `json:"currency,omitempty"` // for those who read without the configuration
}

// entry is what was decided about a call last. It is also the answer to who asked.
type entry struct {
	Decision budget.Decision `json:"decision"`
	Amount   decimal.Decimal `json:"amount"`
	Window   time.Time       `json:"window"`
	Until    time.Time       `json:"until,omitzero"`
	At       time.Time       `json:"at,omitzero"`
	Ask      string          `json:"ask,omitempty"`
}

// progress is how far the commands were read: the offsets of the next ones.
type progress struct {
	Reserve int64 `json:"reserve"`
	Settle  int64 `json:"settle"`
}

// deed says who owns a partition, and since when.
type deed struct {
	Owner string    `json:"owner"`
	Token string    `json:"token"` // differs from one owner to the next
	Since time.Time `json:"since"`
}

func entryKey(budget, call string) []byte { return []byte(budget + " " + call) }

// errState means that the state topic holds what no owner wrote.
var errState = errors.New("the state of budgets is not readable")

// table is a partition of the state topic, as far as it was read.
type table struct {
	states   map[string]*budget.State
	progress progress
	owner    deed
}

func newTable() *table {
	return &table{states: map[string]*budget.State{}, progress: progress{-1, -1}}
}

func (t *table) state(id string) *budget.State {
	s := t.states[id]
	if s == nil {
		s = &budget.State{Open: map[string]budget.Reservation{}, Done: map[string]budget.Closed{}}
		t.states[id] = s
	}
	return s
}

// take reads one record of the topic. value is nil for a tombstone.
func (t *table) take(key, value []byte) error {
	var err error
	id, call, isEntry := strings.Cut(string(key), " ")
	switch {
	case isEntry:
		err = t.takeEntry(id, call, value)
	case id == keyCommands:
		err = whole(value, &t.progress)
	case id == keyOwner:
		err = whole(value, &t.owner)
	case value != nil:
		var v summary
		if err = json.Unmarshal(value, &v); err != nil {
			break
		}
		s := t.state(id)
		s.Seq, s.Window, s.Spent, s.Reserved, s.Warning, s.Cleaned = v.Seq, v.Window, v.Spent, v.Reserved, v.Warning, v.Cleaned
	}
	if err != nil {
		return fmt.Errorf("%w: key %q: %w", errState, key, err)
	}
	return nil
}

// whole reads a value into to, or leaves to as it was. A field that the value lacks
// stays, too.
func whole[T any](value []byte, to *T) error {
	v := *to
	if err := json.Unmarshal(value, &v); err != nil {
		return err
	}
	*to = v
	return nil
}

func (t *table) takeEntry(id, call string, value []byte) error {
	var e entry
	if value != nil {
		if err := json.Unmarshal(value, &e); err != nil {
			return err
		}
	}
	s := t.state(id)
	delete(s.Open, call)
	delete(s.Done, call)
	switch e.Decision {
	case budget.Granted, budget.Over:
		s.Open[call] = budget.Reservation{Amount: e.Amount, Window: e.Window, Until: e.Until}
	case budget.Settled, budget.Expired:
		s.Done[call] = budget.Closed{Decision: e.Decision, Window: e.Window, At: e.At}
	}
	return nil
}

// load gives an owner the state of the table. What is set aside is the sum of the
// reservations, whatever the summary says.
func (t *table) load(o *budget.Owner) {
	for id, s := range t.states {
		s.Reserved = decimal.Decimal{}
		for _, r := range s.Open {
			s.Reserved = s.Reserved.Add(r.Amount)
		}
		o.Load(id, *s)
	}
}

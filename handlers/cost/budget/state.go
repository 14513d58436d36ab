package budget

import (
	"maps"
	"time"

	"github.com/shopspring/decimal"
)

// Reservation is money that is set aside for a call.
type Reservation struct {
	Amount decimal.Decimal `json:"amount"`
	Window time.Time       `json:"window"`
	Until  time.Time       `json:"until"`
}

// State is all that an owner knows of a budget.
type State struct {
	Seq      uint64                 `json:"seq"`
	Window   time.Time              `json:"window"` // start of the present one
	Spent    decimal.Decimal        `json:"spent"`  // settled in it
	Reserved decimal.Decimal        `json:"reserved"`
	Open     map[string]Reservation `json:"open,omitempty"`
	// Done are calls that were settled or expired in the last minutes, so that doing it
	// again changes nothing.
	Done    map[string]Closed `json:"done,omitempty"`
	Cleaned time.Time         `json:"cleaned"` // when old ones were last forgotten
	Warning int               `json:"warning,omitempty"`

	next   time.Time // no reservation expires before
	forgot []string  // ids that left Done
}

// Closed is a call that nothing is set aside for any more.
type Closed struct {
	Decision Decision  `json:"decision"`
	Window   time.Time `json:"window"`
	At       time.Time `json:"at"`
}

// A call that is done is remembered for remember and forgotten cleanEvery later at
// the latest. Settling happens once by itself, in the transaction of the result;
// what needs the memory is a question that comes after the settling, because the
// worker gave up waiting for an answer.
const (
	remember   = 15 * time.Minute
	cleanEvery = time.Minute
)

// apply makes a change. It depends on nothing but the state and the change, so that
// a changelog gives the same state again.
func (s *State) apply(c *Change) {
	s.Seq = c.Seq
	if c.Window.After(s.Window) {
		s.Window, s.Spent, s.Warning = c.Window, decimal.Decimal{}, 0
	}
	if c.At.Sub(s.Cleaned) >= cleanEvery {
		s.Cleaned = c.At
		for id, d := range s.Done {
			if c.At.Sub(d.At) > remember {
				delete(s.Done, id)
				s.forgot = append(s.forgot, id)
			}
		}
	}
	switch c.Decision {
	case Granted, Over:
		delete(s.Done, c.ID)
		s.Open[c.ID] = Reservation{c.Amount, c.Window, c.Until}
		s.Reserved = s.Reserved.Add(c.Amount)
		if c.Until.Before(s.next) {
			s.next = c.Until
		}
	case Settled:
		s.release(c.ID)
		if c.Window.Equal(s.Window) {
			s.Spent = s.Spent.Add(c.Amount)
		}
		s.Done[c.ID] = Closed{Settled, c.Window, c.At}
	case Expired:
		s.release(c.ID)
		s.Done[c.ID] = Closed{Expired, c.Window, c.At}
	}
	s.Warning = max(s.Warning, c.Warning)
}

// release gives a reservation back.
func (s *State) release(id string) {
	if r, open := s.Open[id]; open {
		s.Reserved = s.Reserved.Sub(r.Amount)
		delete(s.Open, id)
	}
}

// Snapshot returns a copy of a budget's state, and false for one that is not
// there.
func (o *Owner) Snapshot(budget string) (State, bool) {
	b := o.budgets[budget]
	if b == nil {
		return State{}, false
	}
	s := b.state
	s.Open, s.Done, s.forgot = maps.Clone(s.Open), maps.Clone(s.Done), nil
	return s, true
}

// Summary is Snapshot without the calls, which are many.
func (o *Owner) Summary(budget string) (State, bool) {
	b := o.budgets[budget]
	if b == nil {
		return State{}, false
	}
	s := b.state
	s.Open, s.Done, s.forgot = nil, nil, nil
	return s, true
}

// Forgotten returns the calls of a budget that are no longer remembered, each once.
func (o *Owner) Forgotten(budget string) []string {
	b := o.budgets[budget]
	if b == nil {
		return nil
	}
	ids := b.state.forgot
	b.state.forgot = nil
	return ids
}

// Load sets a budget's state to a snapshot, before the first command.
func (o *Owner) Load(budget string, s State) {
	b := o.budgets[budget]
	if b == nil {
		return
	}
	b.state = s
	b.state.next = time.Time{}
	b.state.Open, b.state.Done = maps.Clone(s.Open), maps.Clone(s.Done)
	if b.state.Open == nil {
		b.state.Open = map[string]Reservation{}
	}
	if b.state.Done == nil {
		b.state.Done = map[string]Closed{}
	}
}

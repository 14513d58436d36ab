package budget

import (
	"fmt"
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
	// Done are calls that were settled, refused or expired in the last hour, so that
	// doing it again changes nothing.
	Done    map[string]Closed `json:"done,omitempty"`
	Cleaned time.Time         `json:"cleaned"` // when old ones were last forgotten
	Warning int               `json:"warning,omitempty"`

	next time.Time // no reservation expires before
}

// Closed is a call that nothing is set aside for any more.
type Closed struct {
	Decision Decision  `json:"decision"`
	Window   time.Time `json:"window"`
	At       time.Time `json:"at"`
}

// A call that is done is remembered for remember and forgotten cleanEvery later at
// the latest, in the time of the commands. Records are redelivered within minutes.
const (
	remember   = time.Hour
	cleanEvery = 10 * time.Minute
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
		maps.DeleteFunc(s.Done, func(_ string, d Closed) bool { return c.At.Sub(d.At) > remember })
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
	case Expired, Refused:
		s.release(c.ID)
		s.Done[c.ID] = Closed{c.Decision, c.Window, c.At}
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

// Restore makes the changes of a changelog, or of what came after a snapshot, in
// order. Changes that are in the state already are skipped; a gap is an error.
func (o *Owner) Restore(changes []Change) error {
	for i := range changes {
		c := &changes[i]
		b := o.budgets[c.Budget]
		if b == nil || c.Decision == Unknown || c.Seq <= b.state.Seq {
			continue
		}
		if c.Seq != b.state.Seq+1 {
			return fmt.Errorf("restoring budget %q: change %d follows %d: the changelog has a gap", c.Budget, c.Seq, b.state.Seq)
		}
		b.state.apply(c)
	}
	return nil
}

// Snapshot returns a copy of a budget's state, and false for one that is not
// there.
func (o *Owner) Snapshot(budget string) (State, bool) {
	b := o.budgets[budget]
	if b == nil {
		return State{}, false
	}
	s := b.state
	s.Open, s.Done = maps.Clone(s.Open), maps.Clone(s.Done)
	return s, true
}

// Load sets a budget's state to a snapshot. It belongs before [Owner.Restore].
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

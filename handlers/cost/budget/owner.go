package budget

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
)

// Action is what a command asks for.
type Action string

// The actions.
const (
	Reserve Action = "reserve" // before a call
	Settle  Action = "settle"  // after it, with what it cost
)

// Command is asked of the owner, in the order of its partition. Reserving and
// settling the same ID again changes nothing.
type Command struct {
	Budget string          `json:"budget"`
	Action Action          `json:"action"`
	ID     string          `json:"id,omitempty"`  // of the reservation: origin of the request record
	Amount decimal.Decimal `json:"amount"`        // to reserve, or what it cost
	TTL    time.Duration   `json:"ttl,omitempty"` // of the reservation, from when it is made
	// Ask is a token of who asks; the answer carries it. Empty: nobody waits.
	Ask string `json:"ask,omitempty"`
	// At is when the command is handled, by the owner's clock: one clock for all, so
	// that a worker whose clock is wrong moves nobody's window.
	At time.Time `json:"-"`
}

// ErrNoCommand means that bytes are no command.
var ErrNoCommand = errors.New("no command to a budget")

// ParseCommand reads a command. Its amount is rounded up to the places that money
// has. Its error is ErrNoCommand, with the reason.
func ParseCommand(b []byte) (Command, error) {
	var c Command
	if err := json.Unmarshal(b, &c); err != nil {
		return Command{}, fmt.Errorf("%w: %w", ErrNoCommand, err)
	}
	switch {
	case c.Action != Reserve && c.Action != Settle:
		return Command{}, fmt.Errorf("%w: action %q", ErrNoCommand, c.Action)
	case !name.MatchString(c.Budget) || c.ID == "" || len(c.ID) > maxID || len(c.Ask) > maxID:
		return Command{}, fmt.Errorf("%w: budget, id or ask", ErrNoCommand)
	case c.Amount.IsNegative() || c.Amount.Exponent() < -maxPlaces || c.Amount.Exponent() > maxPlaces || c.Amount.NumDigits() > maxDigits || !c.Amount.LessThan(maxAmount):
		return Command{}, fmt.Errorf("%w: amount", ErrNoCommand)
	case c.TTL < 0:
		return Command{}, fmt.Errorf("%w: ttl", ErrNoCommand)
	}
	c.Amount = c.Amount.RoundUp(schemas.MoneyScale)
	return c, nil
}

// maxAmount bounds a limit and an amount, so that no sum outgrows what events and
// tables hold.
var maxAmount = decimal.New(1, 18)

// Bounds of what a command may hold: a topic's name, partition and offset; and an
// amount that can be added to others in no time.
const (
	maxID     = 512
	maxPlaces = 30
	maxDigits = 38
)

// Decision is what became of a reservation.
type Decision string

// The decisions.
const (
	Granted Decision = "granted"
	Over    Decision = "over"    // granted beyond the limit: soft or shadow
	Refused Decision = "refused" // the limit is hard
	Settled Decision = "settled"
	Expired Decision = "expired"
	Unknown Decision = "unknown" // the owner has no such budget: nothing limits it
)

// Change is an entry of the changelog, and the answer to a command. Applied in order
// to the state before, it gives the state after.
type Change struct {
	Budget   string          `json:"budget"`
	Seq      uint64          `json:"seq"` // of the budget, from 1, without gaps
	Decision Decision        `json:"decision"`
	ID       string          `json:"id,omitempty"`
	Amount   decimal.Decimal `json:"amount"`            // reserved, or what it cost
	Window   time.Time       `json:"window"`            // start of the window that it counts in
	Until    time.Time       `json:"until,omitzero"`    // when the reservation expires
	At       time.Time       `json:"at"`                // when it was decided
	Warning  int             `json:"warning,omitempty"` // percent of the limit that was passed
	// Spent and Reserved are what is settled in the window and set aside after it.
	Spent    decimal.Decimal `json:"spent"`
	Reserved decimal.Decimal `json:"reserved"`
}

// DefaultTTL is how long a reservation waits for its settling where the command does
// not say.
const DefaultTTL = 15 * time.Minute

// Owner decides about the budgets of one partition. It is not safe for concurrent
// use: one goroutine reads the partition and asks it.
type Owner struct {
	budgets map[string]*owned
}

type owned struct {
	config Config
	zone   *time.Location
	state  State
}

// NewOwner returns the owner of budgets that nothing was spent on yet.
func NewOwner(configs []Config) (*Owner, error) {
	o := &Owner{budgets: make(map[string]*owned, len(configs))}
	for _, c := range configs {
		if err := c.Validate(); err != nil {
			return nil, err
		}
		zone, err := time.LoadLocation(c.Zone)
		if err != nil {
			return nil, fmt.Errorf("budget %q: %w", c.ID, err)
		}
		o.budgets[c.ID] = &owned{config: c, zone: zone, state: State{Open: map[string]Reservation{}, Done: map[string]Closed{}}}
	}
	return o, nil
}

// Handle decides about a command and returns the changes, which are made already; the
// last one answers the command. One that was handled before is answered with what
// was decided then, as a change without a number that changes nothing. The caller
// publishes them in the transaction that keeps how far commands were read. One
// that dies before that leaves nothing behind, and the next owner handles the command
// again.
func (o *Owner) Handle(c Command) []Change {
	b := o.budgets[c.Budget]
	if b == nil {
		return []Change{{Budget: c.Budget, Decision: Unknown, ID: c.ID, Amount: c.Amount}}
	}
	out := b.expire(c.At)
	if c.Action == Reserve {
		return b.reserve(&c, out)
	}
	return b.settle(&c, out)
}

// Expire gives back what nobody settled in time, in all budgets.
func (o *Owner) Expire(at time.Time) []Change {
	var out []Change
	for _, id := range slices.Sorted(maps.Keys(o.budgets)) {
		out = append(out, o.budgets[id].expire(at)...)
	}
	return out
}

// Config returns the budget of that id, and false if there is none.
func (o *Owner) Config(budget string) (Config, bool) {
	b := o.budgets[budget]
	if b == nil {
		return Config{}, false
	}
	return b.config, true
}

// reserve sets money aside.
func (b *owned) reserve(c *Command, out []Change) []Change {
	if r, open := b.state.Open[c.ID]; open {
		return append(out, Change{Budget: c.Budget, Decision: Granted, ID: c.ID, Amount: r.Amount, Window: r.Window, Until: r.Until})
	}
	if d, done := b.state.Done[c.ID]; done && d.Decision != Expired {
		return append(out, Change{Budget: c.Budget, Decision: d.Decision, ID: c.ID, Amount: c.Amount, Window: d.Window, At: d.At})
	}
	ttl := c.TTL
	if ttl <= 0 {
		ttl = DefaultTTL
	}
	amount := decimal.Max(c.Amount, decimal.Decimal{})
	change := Change{Decision: Granted, ID: c.ID, Amount: amount, Window: b.window(c.At), Until: c.At.Add(ttl).UTC(), At: c.At.UTC()}
	if b.spentIn(change.Window).Add(b.state.Reserved).Add(amount).GreaterThan(b.config.Limit) {
		change.Decision = Over
		if b.config.Mode == Hard {
			change.Decision = Refused
		}
	}
	return append(out, b.commit(change))
}

// settle books what a call cost. A call that had expired, or was never reserved,
// is booked all the same: the money is spent.
func (b *owned) settle(c *Command, out []Change) []Change {
	change := Change{Decision: Settled, ID: c.ID, Amount: c.Amount, Window: b.window(c.At), At: c.At.UTC()}
	if r, open := b.state.Open[c.ID]; open {
		change.Window = r.Window
	} else if d, done := b.state.Done[c.ID]; done {
		if d.Decision == Settled {
			change.Budget, change.Window = c.Budget, d.Window
			return append(out, change)
		}
		change.Window = d.Window
	}
	return append(out, b.commit(change))
}

// expire gives back what was not settled in time, in an order that is the same for
// every owner.
func (b *owned) expire(at time.Time) []Change {
	if at.Before(b.state.next) {
		return nil
	}
	var late []string
	b.state.next = at.Add(365 * 24 * time.Hour)
	for id, r := range b.state.Open {
		if !at.Before(r.Until) {
			late = append(late, id)
		} else if r.Until.Before(b.state.next) {
			b.state.next = r.Until
		}
	}
	slices.Sort(late)
	out := make([]Change, 0, len(late)+1)
	for _, id := range late {
		r := b.state.Open[id]
		out = append(out, b.commit(Change{Decision: Expired, ID: id, Amount: r.Amount, Window: r.Window, At: at.UTC()}))
	}
	return out
}

// window returns the start of the window of a moment. Time does not run backwards: a
// late record counts in the present window.
func (b *owned) window(at time.Time) time.Time {
	from, _ := b.config.Window.Bounds(at, b.zone)
	from = from.UTC()
	if from.Before(b.state.Window) {
		return b.state.Window
	}
	return from
}

// spentIn returns what was settled in a window that is the present one or later.
func (b *owned) spentIn(window time.Time) decimal.Decimal {
	if window.Equal(b.state.Window) {
		return b.state.Spent
	}
	return decimal.Decimal{}
}

// commit numbers a change, adds the warning that it causes, and makes it.
func (b *owned) commit(c Change) Change {
	c.Budget, c.Seq = b.config.ID, b.state.Seq+1
	b.state.apply(&c)
	if passed := b.passed(); passed > b.state.Warning {
		c.Warning, b.state.Warning = passed, passed
	}
	c.Spent, c.Reserved = b.state.Spent, b.state.Reserved
	return c
}

// passed returns the highest threshold that spent and reserved money is over.
func (b *owned) passed() int {
	used := b.state.Spent.Add(b.state.Reserved).Mul(decimal.NewFromInt(100))
	highest := 0
	for _, percent := range b.config.Warn {
		if used.GreaterThanOrEqual(b.config.Limit.Mul(decimal.NewFromInt(int64(percent)))) {
			highest = percent
		}
	}
	return highest
}

package budget

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/shopspring/decimal"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// Desk is where commands are handed in. It is safe for concurrent use.
type Desk interface {
	// Ask returns what was decided, once it is kept, or ctx's error. The command may
	// be carried out after ctx has ended.
	Ask(ctx context.Context, c Command) (Change, error)
	// Tell hands in a command whose answer changes nothing. It does not block for
	// long; a command that is lost leaves the call to its settling.
	Tell(c Command)
	// Known returns what is known here of a budget without asking: what is settled is
	// that much at least, and the window this one or a later one. False: nothing is
	// known.
	Known(budget string) (Standing, bool)
}

// Standing is how much of a budget is used.
type Standing struct {
	Window   time.Time       `json:"window"` // start of the one that it is about
	Spent    decimal.Decimal `json:"spent"`
	Reserved decimal.Decimal `json:"reserved"`
}

// GateConfig is what a [Gate] works with.
type GateConfig struct {
	Budgets []Config
	Desk    Desk
	Topic   string // of commands to settle: they are published with the result
	Log     *zap.Logger
}

// Gate is two steps of a chain: Reserve asks before the call, after routing;
// Settle books after it, after cost. Requests that no budget covers cost a look
// into a map. It is safe for concurrent use.
type Gate struct {
	desk     Desk
	topic    string
	log      *zap.Logger
	byTenant map[string][]*limit // "": those of all tenants
	learn    Estimator
	now      func() time.Time
}

type limit struct {
	Config
	zone *time.Location
}

// NewGate returns a gate, or what is wrong with its configuration.
func NewGate(cfg GateConfig) (*Gate, error) {
	if err := ValidateAll(cfg.Budgets); err != nil {
		return nil, err
	}
	if cfg.Desk == nil || cfg.Topic == "" {
		return nil, errors.New("budgets need an owner to ask and a topic to settle on")
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	g := &Gate{desk: cfg.Desk, topic: cfg.Topic, log: cfg.Log, byTenant: map[string][]*limit{}, now: time.Now}
	for _, c := range cfg.Budgets {
		zone, err := time.LoadLocation(c.Zone)
		if err != nil {
			return nil, fmt.Errorf("budget %q: %w", c.ID, err)
		}
		g.byTenant[c.Tenant] = append(g.byTenant[c.Tenant], &limit{c, zone})
	}
	return g, nil
}

// covering returns the budgets that a request counts in.
func (g *Gate) covering(r *schemas.Request) []*limit {
	var out []*limit
	for _, l := range g.byTenant[""] {
		if l.Covers(r.Tenant, r.Labels) {
			out = append(out, l)
		}
	}
	if r.Tenant == "" {
		return out
	}
	for _, l := range g.byTenant[r.Tenant] {
		if l.Covers(r.Tenant, r.Labels) {
			out = append(out, l)
		}
	}
	return out
}

// margin is how long a reservation outlasts the request's deadline: as long as
// its result may need to be committed.
const margin = time.Minute

// Reserve sets money aside in every budget that covers the request. It waits for
// the owners of hard budgets only. Where one refuses, the error is a
// [schemas.Failure] with the code budget_exceeded, and settling gives the others
// theirs back. A request that waits for a vendor's long job has its money already.
func (g *Gate) Reserve(ctx context.Context, job *pipeline.Job) error {
	limits := g.covering(job.Request)
	if len(limits) == 0 || job.Pending != nil {
		return nil
	}
	now := g.now()
	commands := make([]Command, len(limits))
	for i, l := range limits {
		commands[i] = Command{Budget: l.ID, Action: Reserve, ID: job.Origin.First, TTL: job.Deadline.Sub(now) + margin, Amount: g.estimate(job, l)}
		if l.Mode == Hard && g.full(l, commands[i].Amount, now) {
			return l.refusal(now)
		}
	}
	var waiting sync.WaitGroup
	failures := make([]error, len(limits))
	for i, l := range limits {
		if l.Mode != Hard {
			g.desk.Tell(commands[i])
			continue
		}
		waiting.Go(func() { failures[i] = g.ask(ctx, l, commands[i]) })
	}
	waiting.Wait()
	for i, l := range limits {
		if !refused(failures[i]) {
			job.Reserved = append(job.Reserved, l.ID) // perhaps: the answer may come too late
		}
	}
	return worst(failures)
}

// full reports whether the owner would surely refuse: what is settled in a window
// only grows.
func (g *Gate) full(l *limit, amount decimal.Decimal, now time.Time) bool {
	known, ok := g.desk.Known(l.ID)
	from, _ := l.Window.Bounds(now, l.zone)
	return ok && known.Window.Equal(from) && known.Spent.Add(amount).GreaterThan(l.Limit)
}

// ask returns why a request must not go on.
func (g *Gate) ask(ctx context.Context, l *limit, c Command) error {
	limited, cancel := context.WithTimeout(ctx, l.Wait)
	defer cancel()
	change, err := g.desk.Ask(limited, c)
	switch {
	case err == nil && change.Decision == Refused:
		return l.refusal(change.Window)
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("asking budget %s: %w", l.ID, ctx.Err())
	case l.Outage == AllowOnOutage:
		g.log.Warn("budget was not asked, the request goes on", zap.String("budget", l.ID), zap.Error(err))
		return nil
	}
	return schemas.Fail(schemas.Unavailable, fmt.Sprintf("nobody says what is left of budget %q", l.ID), err)
}

// worst returns the failure that tells most: a refusal before anything else.
func worst(errs []error) error {
	var found error
	for _, err := range errs {
		if refused(err) {
			return err
		}
		if found == nil {
			found = err
		}
	}
	return found
}

func refused(err error) bool {
	f, ok := errors.AsType[*schemas.Failure](err)
	return ok && f.Code == schemas.BudgetExceeded
}

// Settle books what the request cost in every budget that covers it, and learns
// from it: it adds a command to the job, which the transaction of the result
// publishes, so that it is booked exactly when the result is. A cost in another currency
// than the budget's, or of unknown amount, counts with what would be reserved: an
// unknown price is not zero.
func (g *Gate) Settle(_ context.Context, job *pipeline.Job) error {
	limits := g.covering(job.Request)
	e := job.Cost
	if e == nil || len(limits) == 0 {
		return nil
	}
	known := e.State == schemas.CostPriced || e.State == schemas.CostEstimated
	if known {
		g.learn.Learn(keyOf(job, e.Currency), e.Amount)
	}
	tried := len(job.Attempts) > 0 || job.Origin.Round > 0
	for _, l := range limits {
		if !tried && !slices.Contains(job.Reserved, l.ID) {
			continue // nothing was spent or set aside
		}
		amount := e.Amount
		if e.State == schemas.CostUnpriced || known && e.Currency != l.Currency {
			amount = g.estimate(job, l)
		}
		value, err := json.Marshal(Command{Budget: l.ID, Action: Settle, ID: job.Origin.First, Amount: decimal.Max(amount, decimal.Decimal{})})
		if err != nil {
			return fmt.Errorf("writing what budget %s is charged: %w", l.ID, err)
		}
		job.Also = append(job.Also, pipeline.Record{Topic: g.topic, Key: []byte(l.ID), Value: value})
	}
	return nil
}

func (g *Gate) estimate(job *pipeline.Job, l *limit) decimal.Decimal {
	return g.learn.Estimate(keyOf(job, l.Currency), l.First)
}

func keyOf(job *pipeline.Job, currency string) Key {
	return Key{Key: job.Request.Tenant + "/" + job.Request.Labels["key"], Model: job.Request.Model, Route: job.Route, Currency: currency}
}

// refusal is the failure that a refused request is answered with. What is left is
// not said: another user of the budget may have spent the money.
func (l *limit) refusal(at time.Time) *schemas.Failure {
	_, end := l.Window.Bounds(at, l.zone)
	f := schemas.Fail(schemas.BudgetExceeded, fmt.Sprintf("budget %q: the limit of %s %s for this %s is reached; the next %s begins %s",
		l.ID, l.Limit, l.Currency, l.Window, l.Window, end.Format(time.RFC3339)), nil)
	f.Param = "budget"
	return f
}

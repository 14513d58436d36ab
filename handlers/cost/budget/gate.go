package budget

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shopspring/decimal"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// Asker answers commands about budgets: a [Desk] in this process, or a client of
// the owner's topic.
type Asker interface {
	Ask(ctx context.Context, c Command) ([]Change, error)
}

// GateConfig is what a [Gate] works with.
type GateConfig struct {
	Budgets []Config
	Desk    Asker
	First   decimal.Decimal // reserved for a call that nothing is known about
	TTL     time.Duration   // of a reservation; [DefaultTTL]
	Timeout time.Duration   // of a question; 2s
	// Open lets requests pass when the owner does not answer; otherwise they fail
	// as unavailable and may be tried later.
	Open bool
	Log  *zap.Logger
}

// Gate is two steps of a chain: Reserve asks before the call, after routing;
// Settle books after it, after cost. It is safe for concurrent use.
type Gate struct {
	cfg   GateConfig
	learn Estimator
	now   func() time.Time
}

// NewGate returns a gate, or what is wrong with its configuration.
func NewGate(cfg GateConfig) (*Gate, error) {
	for i := range cfg.Budgets {
		if err := cfg.Budgets[i].Validate(); err != nil {
			return nil, err
		}
	}
	if cfg.Desk == nil {
		return nil, errors.New("budgets need an owner to ask")
	}
	if cfg.TTL <= 0 {
		cfg.TTL = DefaultTTL
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 2 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = zap.NewNop()
	}
	return &Gate{cfg: cfg, learn: Estimator{First: cfg.First}, now: time.Now}, nil
}

// Reserve sets money aside in every budget that covers the request. Where one
// refuses, the others get theirs back, and the error is a [schemas.Failure] with
// the code budget_exceeded.
func (g *Gate) Reserve(ctx context.Context, job *pipeline.Job) error {
	amount := g.learn.Estimate(keyOf(job))
	for i := range g.cfg.Budgets {
		b := &g.cfg.Budgets[i]
		if !b.Covers(job.Request.Tenant, job.Request.Labels) {
			continue
		}
		change, err := g.ask(ctx, Command{Budget: b.ID, Action: Reserve, ID: job.Origin.First, Amount: amount, At: g.now().UTC(), TTL: g.cfg.TTL})
		if err == nil && change.Decision != Refused {
			continue
		}
		if err != nil && g.cfg.Open {
			g.cfg.Log.Warn("budget was not asked", zap.String("budget", b.ID), zap.Error(err))
			continue
		}
		g.release(ctx, job, g.cfg.Budgets[:i])
		if err != nil {
			return schemas.Fail(schemas.Unavailable, "the owner of budget "+b.ID+" does not answer", err)
		}
		return refusal(b, &change)
	}
	return nil
}

// Settle books what the request cost in every budget that covers it, and learns
// from it. A cost in another currency than the budget's, or of unknown amount, counts with
// what was reserved: an unknown price is not zero. It always returns nil: what could not
// be settled expires.
func (g *Gate) Settle(ctx context.Context, job *pipeline.Job) error {
	e := job.Cost
	if e == nil || job.Failure != nil && job.Failure.Code == schemas.BudgetExceeded && len(job.Attempts) == 0 {
		return nil // nothing is set aside
	}
	known := e.State == schemas.CostPriced || e.State == schemas.CostEstimated
	if known {
		g.learn.Learn(keyOf(job), e.Amount)
	}
	for i := range g.cfg.Budgets {
		b := &g.cfg.Budgets[i]
		if !b.Covers(job.Request.Tenant, job.Request.Labels) {
			continue
		}
		amount := e.Amount
		if e.State == schemas.CostUnpriced || known && e.Currency != b.Currency {
			amount = g.learn.Estimate(keyOf(job))
		}
		if _, err := g.ask(ctx, Command{Budget: b.ID, Action: Settle, ID: job.Origin.First, Amount: amount, At: g.now().UTC()}); err != nil {
			g.cfg.Log.Warn("cost was not settled", zap.String("budget", b.ID), zap.Error(err))
		}
	}
	return nil
}

// release gives back what was set aside before another budget refused.
func (g *Gate) release(ctx context.Context, job *pipeline.Job, budgets []Config) {
	for i := range budgets {
		b := &budgets[i]
		if !b.Covers(job.Request.Tenant, job.Request.Labels) {
			continue
		}
		if _, err := g.ask(ctx, Command{Budget: b.ID, Action: Settle, ID: job.Origin.First, At: g.now().UTC()}); err != nil {
			g.cfg.Log.Warn("reservation was not given back, it expires", zap.String("budget", b.ID), zap.Error(err))
		}
	}
}

// ask returns the change that answers a command, and says what it warns of.
func (g *Gate) ask(ctx context.Context, c Command) (Change, error) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Timeout)
	defer cancel()
	changes, err := g.cfg.Desk.Ask(ctx, c)
	if err != nil {
		return Change{}, fmt.Errorf("asking budget %s: %w", c.Budget, err)
	}
	for _, change := range changes {
		if change.Warning > 0 {
			g.cfg.Log.Warn("budget is nearly used up", zap.String("budget", c.Budget), zap.Int("percent", change.Warning))
		}
	}
	if len(changes) == 0 {
		return Change{Decision: Unknown}, nil
	}
	return changes[len(changes)-1], nil
}

func keyOf(job *pipeline.Job) Key {
	return Key{Key: job.Request.Tenant + "/" + job.Request.Labels["key"], Model: job.Request.Model, Route: job.Route}
}

// refusal is the failure that a refused request is answered with. The budget's
// numbers are left out: another user of it may have spent the money.
func refusal(b *Config, c *Change) *schemas.Failure {
	zone, err := time.LoadLocation(b.Zone)
	if err != nil {
		zone = time.UTC
	}
	_, end := b.Window.Bounds(c.Window, zone)
	f := schemas.Fail(schemas.BudgetExceeded, fmt.Sprintf("budget %q: the limit of %s %s for this %s is reached; the next %s begins %s",
		b.ID, b.Limit, b.Currency, b.Window, b.Window, end.Format(time.RFC3339)), nil)
	f.Param = "budget"
	return f
}

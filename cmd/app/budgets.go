package app

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/handlers/cost/budget"
	"github.com/sira-ai/sira/handlers/cost/budget/office"
	"github.com/sira-ai/sira/schemas"
)

// BudgetTopics returns the topics that budgets live on.
func (c *Config) BudgetTopics() office.Topics {
	return office.Topics{
		Reserve: c.Topic(TopicBudgetReserve), Settle: c.Topic(TopicBudgetSettle), State: c.Topic(TopicBudgetState), Events: c.Topic(TopicBudgets),
	}
}

// startBudgets starts what budgets need in a worker: its share of the owners, and
// the desk at which its requests ask. Without budgets it starts nothing and returns
// nil.
func (a *App) startBudgets(g *group) (*budget.Gate, error) {
	c := &a.cfg
	if len(c.Budgets) == 0 {
		return nil, nil
	}
	topics := c.BudgetTopics()
	client := func(opts ...kgo.Opt) (*kgo.Client, error) { return a.client.NewClient(a.log, a.reg, opts...) }
	instance := c.Instance
	if c.Worker.Static != nil && !*c.Worker.Static {
		instance = ""
	}
	owners, err := office.New(office.Config{
		Budgets: c.Budgets, Topics: topics, Group: c.Kafka.Prefix + "budgets", Instance: instance, SessionTimeout: c.Worker.SessionTimeout, NewClient: client,
		Encode: func(e *schemas.BudgetEvent) ([]byte, error) { return a.codecs.Budget.Append(nil, e) },
		Log:    a.log, Metrics: a.reg,
	})
	if err != nil {
		return nil, fmt.Errorf("building budgets: %w", err)
	}
	desk, err := office.NewDesk(office.DeskConfig{Topics: topics, NewClient: client, Log: a.log, Metrics: a.reg})
	if err != nil {
		return nil, fmt.Errorf("building budgets: %w", err)
	}
	gate, err := budget.NewGate(budget.GateConfig{Budgets: c.Budgets, Desk: desk, Topic: topics.Settle, Log: a.log})
	if err != nil {
		return nil, fmt.Errorf("building budgets: %w", err)
	}
	g.run("owners of budgets", owners.Run)
	g.run("desk of budgets", desk.Run)
	return gate, nil
}

// budgets checks the limits on spending, and sets what they leave out.
func (d *document) budgets(cfg *Config) {
	seen := map[string]bool{}
	for i := range cfg.Budgets {
		b, at := &cfg.Budgets[i], fmt.Sprintf("budgets[%d]", i)
		if err := b.Validate(); err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				d.path(at, line)
			}
		}
		if seen[b.ID] {
			d.path(at+".id", fmt.Sprintf("there are two budgets %q; each needs its own id", b.ID))
		}
		seen[b.ID] = true
	}
}

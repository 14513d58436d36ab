package app

import (
	"fmt"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/cost"
	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// Router builds the routing stage of the document, for workers and for tools. Its
// prices are those of the price book unless sources has others.
func (c *Config) Router(env catalog.Env, sources routing.Sources) (*routing.Router, error) {
	if sources.Prices == nil {
		prices, err := c.RoutingPrices()
		if err != nil {
			return nil, err
		}
		sources.Prices = prices
	}
	r, err := routing.New(routing.Config{Models: c.RoutingModels(), Routes: c.Routes, Sources: sources}, strategies(), env)
	if err != nil {
		return nil, fmt.Errorf("building routes: %w", err)
	}
	return r, nil
}

// RoutingModels returns the models of the document or, where it has none and no
// providers, those that are simulated.
func (c *Config) RoutingModels() []routing.ModelConfig {
	if len(c.Models) == 0 && len(c.Providers) == 0 {
		return simulatedModels()
	}
	return c.Models
}

// RoutingPrices returns the price book as routing asks it.
func (c *Config) RoutingPrices() (routing.Prices, error) {
	book, err := c.PriceBook()
	if err != nil {
		return nil, err
	}
	p := prices{book, make(map[string]string, len(c.Providers))}
	for _, provider := range c.Providers {
		p.kinds[provider.Name] = provider.Kind
	}
	return p, nil
}

// prices tells the book the kind of a target's provider: the book knows most
// prices by it.
type prices struct {
	book  *cost.Book
	kinds map[string]string // by provider
}

// Price implements routing.Prices.
func (p prices) Price(target schemas.Target, at time.Time, usage schemas.Usage) (decimal.Decimal, string, string, bool) {
	if target.Kind == "" {
		target.Kind = p.kinds[target.Provider]
	}
	return p.book.Price(target, at, usage)
}

// Kinds are the components of one sort that a document can name.
type Kinds struct {
	What  string   `json:"what"`  // provider, strategy, …
	Where string   `json:"where"` // the key of the document that names one
	Kinds []string `json:"kinds"`
}

// AllKinds returns what the catalogs hold.
func AllKinds() []Kinds {
	return []Kinds{
		{"provider", "providers[].kind", providers().Kinds()},
		{"strategy", "routes[].strategy, routes[].steps[].strategy", strategies().Kinds()},
		{"balancer", "providers[].balance", balancers().Kinds()},
		{"discovery", "providers[].discover.kind", sources().Kinds()},
	}
}

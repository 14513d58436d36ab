package app

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/discover"
	"github.com/sira-ai/sira/handlers/invoke"
	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/models"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// pools builds every provider with its endpoints. Discovery and health checks run
// in g.
func (a *App) pools(g *group, env catalog.Env) (map[string]*invoke.Pool, error) {
	// Workers that fail together must not come back together.
	bc := a.cfg.Balance
	bc.Seed ^= xxhash.Sum64String(a.cfg.Instance)
	out := map[string]*invoke.Pool{}
	for _, p := range a.cfg.Providers {
		pool, err := a.pool(g, &p, bc, env)
		if err != nil {
			return nil, fmt.Errorf("building provider %s: %w", p.Name, err)
		}
		out[p.Name] = pool
	}
	return out, nil
}

func (a *App) pool(g *group, p *ProviderConfig, bc balance.Config, env catalog.Env) (*invoke.Pool, error) {
	bs, err := settingsOf(p.BalanceSettings, nil)
	if err != nil {
		return nil, err
	}
	b, err := balancers().Build(orDefault(p.Balance, "least_load"), bs, env)
	if err != nil {
		return nil, err
	}
	members := &members{provider: *p, env: env, kinds: providers(), built: map[place]provider.Provider{}}
	if err := members.configure(); err != nil {
		return nil, err
	}
	pool, err := invoke.NewPool(p.Name, p.Kind, bc, b, members.configured, a.breakerChanged)
	if err != nil {
		return nil, err
	}
	if a.cfg.Invoke.Continue {
		catalogue, err := models.Default()
		if err != nil {
			return nil, err
		}
		pool.Continues = func(model string) bool {
			m := catalogue.Find(p.Kind, model)
			return m != nil && m.Does(models.Prefill)
		}
	}
	if _, ok := members.configured[0].Caller.(balance.Prober); ok {
		health := balance.NewHealth(pool.Pool, func(e *balance.Endpoint) balance.Prober {
			prober, _ := e.Caller().(balance.Prober)
			return prober
		}, a.log)
		g.run("health of "+p.Name, health.Run)
	}
	if p.Discover == nil {
		return pool, nil
	}
	source, err := p.Discover.source(env)
	if err != nil {
		return nil, err
	}
	g.run("discovery of "+p.Name, func(ctx context.Context) error {
		return source.Watch(ctx, func(found []balance.EndpointConfig) {
			if err := members.replace(pool, found); err != nil {
				a.log.Warn("discovery keeps the endpoints it has", zap.String("provider", p.Name), zap.Error(err))
			}
		})
	})
	return pool, nil
}

// source builds what discovers endpoints.
func (d *DiscoverConfig) source(env catalog.Env) (discover.Source, error) {
	s, err := settingsOf(d.Settings, nil)
	if err != nil {
		return nil, err
	}
	return sources().Build(d.Kind, s, env)
}

// place is what the caller of an endpoint depends on.
type place struct{ id, address string }

// members makes the endpoints of one provider callable.
type members struct {
	provider   ProviderConfig
	env        catalog.Env
	kinds      *catalog.Catalog[provider.Provider]
	configured []balance.EndpointConfig // with their callers

	mu    sync.Mutex
	built map[place]provider.Provider // of those found, so that they keep their state
}

// configure builds the endpoints that the document names, or the provider itself.
func (m *members) configure() error {
	for _, e := range m.provider.endpoints() {
		v, err := m.build(e.Settings)
		if err != nil {
			return err
		}
		m.configured = append(m.configured, balance.EndpointConfig{
			ID: e.ID, Region: e.Region, Zone: e.Zone, Priority: e.Priority, Key: orDefault(e.Key, e.ID), Weight: e.Weight, Caller: v,
		})
	}
	return nil
}

func (m *members) build(over Settings) (provider.Provider, error) {
	s, err := settingsOf(m.provider.Settings, over)
	if err != nil {
		return nil, err
	}
	return m.kinds.Build(m.provider.Kind, s, m.env)
}

// replace gives the pool the endpoints that were found, next to those that the
// document names. The provider's own address is there only until some are found.
func (m *members) replace(pool *invoke.Pool, found []balance.EndpointConfig) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []balance.EndpointConfig
	if len(m.provider.Endpoints) > 0 {
		all = slices.Clone(m.configured)
	}
	built := make(map[place]provider.Provider, len(found))
	for _, e := range found {
		at := place{e.ID, e.Address}
		v := m.built[at]
		if v == nil {
			over := Settings{}
			if e.Address != "" {
				base, _ := m.provider.Settings["base_url"].(string)
				over["base_url"] = addressed(base, e.Address)
			}
			var err error
			if v, err = m.build(over); err != nil {
				return fmt.Errorf("building endpoint %s: %w", e.ID, err)
			}
		}
		built[at] = v
		e.Caller = v
		e.Region = orDefault(e.Region, m.provider.Region)
		if e.Key == "" {
			e.Key = m.provider.Name // one account, wherever its replicas are
		}
		all = append(all, e)
	}
	if err := pool.Replace(all); err != nil {
		return err
	}
	m.built = built
	return nil
}

// addressed returns the base URL of an endpoint that was found: its own, if the
// address is a URL, else the provider's at the address.
func addressed(base, address string) string {
	if strings.Contains(address, "://") {
		return address
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return "http://" + address
	}
	u.Host = address
	return u.String()
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (a *App) breakerChanged(c balance.Change) {
	a.log.Warn("circuit breaker", zap.Any("change", c))
	if a.health != nil {
		a.health.breaker(c)
	}
}

// endpointViews returns what is known of every endpoint, in the order of providers.
func endpointViews(pools map[string]*invoke.Pool) []balance.EndpointView {
	views := []balance.EndpointView{}
	for _, name := range slices.Sorted(maps.Keys(pools)) {
		views = append(views, pools[name].Snapshot()...)
	}
	return views
}

package app

import (
	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/leastload"
	"github.com/sira-ai/sira/handlers/balance/roundrobin"
	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/anthropic"
	"github.com/sira-ai/sira/handlers/provider/openai"
	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/handlers/routing/priority"
	"github.com/sira-ai/sira/handlers/routing/weighted"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Every kind of component that a configuration can name. To add one, add a line.

func providers() *catalog.Catalog[provider.Provider] {
	return catalog.New("provider",
		anthropic.Entry,
		openai.Entry,
	)
}

func strategies() *catalog.Catalog[routing.Strategy] {
	return catalog.New("strategy",
		priority.Entry,
		weighted.Entry,
	)
}

func balancers() *catalog.Catalog[balance.Balancer] {
	return catalog.New("balancer",
		leastload.Entry,
		roundrobin.Entry,
	)
}

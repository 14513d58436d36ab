package app

import (
	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/consistenthash"
	"github.com/sira-ai/sira/handlers/balance/discover"
	"github.com/sira-ai/sira/handlers/balance/discover/dns"
	"github.com/sira-ai/sira/handlers/balance/discover/file"
	"github.com/sira-ai/sira/handlers/balance/discover/kubernetes"
	"github.com/sira-ai/sira/handlers/balance/leastload"
	"github.com/sira-ai/sira/handlers/balance/peakewma"
	"github.com/sira-ai/sira/handlers/balance/performance"
	"github.com/sira-ai/sira/handlers/balance/roundrobin"
	"github.com/sira-ai/sira/handlers/balance/spillover"
	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/ai21"
	"github.com/sira-ai/sira/handlers/provider/anthropic"
	"github.com/sira-ai/sira/handlers/provider/azure"
	"github.com/sira-ai/sira/handlers/provider/cohere"
	"github.com/sira-ai/sira/handlers/provider/gemini"
	"github.com/sira-ai/sira/handlers/provider/huggingface"
	"github.com/sira-ai/sira/handlers/provider/openai"
	"github.com/sira-ai/sira/handlers/provider/replicate"
	"github.com/sira-ai/sira/handlers/provider/stability"
	"github.com/sira-ai/sira/handlers/provider/together"
	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/handlers/routing/ab"
	"github.com/sira-ai/sira/handlers/routing/bestof"
	"github.com/sira-ai/sira/handlers/routing/canary"
	"github.com/sira-ai/sira/handlers/routing/cheapest"
	"github.com/sira-ai/sira/handlers/routing/contextual"
	"github.com/sira-ai/sira/handlers/routing/custom"
	"github.com/sira-ai/sira/handlers/routing/fastest"
	"github.com/sira-ai/sira/handlers/routing/geo"
	"github.com/sira-ai/sira/handlers/routing/preference"
	"github.com/sira-ai/sira/handlers/routing/priority"
	"github.com/sira-ai/sira/handlers/routing/version"
	"github.com/sira-ai/sira/handlers/routing/weighted"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// Every kind of component that a configuration can name. To add one, add a line.

func providers() *catalog.Catalog[provider.Provider] {
	return catalog.New("provider",
		ai21.Entry,
		anthropic.Entry,
		azure.Entry,
		cohere.Entry,
		gemini.Entry,
		huggingface.Entry,
		openai.Entry,
		replicate.Entry,
		stability.Entry,
		together.Entry,
	)
}

func strategies() *catalog.Catalog[routing.Strategy] {
	return catalog.New("strategy",
		ab.Entry,
		bestof.Entry,
		canary.Entry,
		cheapest.Entry,
		contextual.Entry,
		custom.Entry,
		fastest.Entry,
		geo.Entry,
		preference.Entry,
		priority.Entry,
		version.Entry,
		weighted.Entry,
	)
}

func balancers() *catalog.Catalog[balance.Balancer] {
	return catalog.New("balancer",
		consistenthash.Entry,
		leastload.Entry,
		peakewma.Entry,
		performance.Entry,
		roundrobin.Entry,
		spillover.Entry,
	)
}

func sources() *catalog.Catalog[discover.Source] {
	return catalog.New("discovery",
		dns.Entry,
		file.Entry,
		kubernetes.Entry,
	)
}

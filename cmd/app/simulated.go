package app

import "github.com/sira-ai/sira/handlers/routing"

// simulatedModels are the models of a configuration without any: each falls over
// to the other vendor.
func simulatedModels() []routing.ModelConfig {
	target := func(provider, model string, priority int) routing.TargetConfig {
		return routing.TargetConfig{Provider: provider, Model: model, Priority: priority}
	}
	return []routing.ModelConfig{
		{Name: "gpt-4o-mini", Targets: []routing.TargetConfig{target("openai", "gpt-4o-mini", 0), target("anthropic", "claude-haiku-4-5", 1)}},
		{Name: "gpt-4o", Targets: []routing.TargetConfig{target("openai", "gpt-4o", 0), target("anthropic", "claude-sonnet-4-5", 1)}},
		{Name: "claude-haiku-4-5", Targets: []routing.TargetConfig{target("anthropic", "claude-haiku-4-5", 0), target("openai", "gpt-4o-mini", 1)}},
		{Name: "claude-sonnet-4-5", Targets: []routing.TargetConfig{target("anthropic", "claude-sonnet-4-5", 0), target("openai", "gpt-4o", 1)}},
	}
}

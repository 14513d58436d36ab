package main

// vendors returns how each provider's recordings are read, by the name of its
// folder. To add one, add a line.
func vendors() map[string]vendor {
	return map[string]vendor{
		"anthropic":    anthropicVendor(),
		"ai21":         ai21Vendor(),
		"cohere":       cohereVendor(),
		"together":     togetherVendor(),
		"gemini":       geminiVendor(),
		"azure_openai": azureVendor(),
		"openai":       openaiVendor(),
		"huggingface":  huggingfaceVendor(),
		"replicate":    replicateVendor(),
		"stability":    stabilityVendor(),
	}
}

package main

import (
	"net/http"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/azure"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// azureVendor reads recordings of Azure OpenAI, on whichever of its surfaces. The
// bodies are OpenAI's.
func azureVendor() vendor {
	return vendor{
		operation: openaiOperation,
		build: func(x *exchange, _ schemas.Operation, client *http.Client) (provider.Provider, error) {
			framed(x)
			c := azure.Defaults
			c.BaseURL, c.APIKey = "http://vendor.test", "key"
			if isConversation(x) {
				c.API = "responses"
			}
			switch {
			case strings.Contains(x.Request.URL, "/openai/deployments/"):
				c.Surface = "deployments"
			case strings.Contains(x.Request.URL, "/models/"):
				c.Surface = "models"
			}
			return azure.New(c, catalog.Env{HTTP: &http.Client{Transport: unwrapped{client.Transport}}})
		},
		read:    readOpenAI,
		request: likeRecorded,
	}
}

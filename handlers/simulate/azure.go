package simulate

import (
	"net/http"
	"strings"
)

// azureDialect is Azure OpenAI, in its form with deployments in the path and in that of version v1.
var azureDialect = dialect{
	segment: "azure_openai", route: azureRoute, credential: azureCredential, sign: azureSign, refuse: azureRefuse,
	models: openaiModels, model: openaiModel,
}

func azureRoute(path string) endpoint {
	chat := openaiChat{filtered: true}
	if rest, ok := strings.CutPrefix(path, "/openai/v1"); ok {
		return openaiPath(rest, chat)
	}
	rest, ok := strings.CutPrefix(path, "/openai/deployments/")
	name, rest, found := strings.Cut(rest, "/")
	if !ok || !found || name == "" {
		return modelPath(path, "/openai/models")
	}
	to := openaiPath("/"+rest, chat)
	if to.list {
		return endpoint{}
	}
	if to.format != nil {
		to.name, to.deployed = name, true
	}
	return to
}

func azureCredential(h http.Header) string {
	if key := h.Get("Api-Key"); key != "" {
		return key
	}
	return bearer(h)
}

func azureSign(h http.Header, a *answer) {
	openaiSign(h, a)
	h["Apim-Request-Id"] = h["X-Request-Id"]
	h["X-Ms-Region"] = []string{"Simulator"}
}

var azureRefusals = openaiRefusals.but(map[refusal]wording{
	refusedAuth:        {401, "", "401", "Access denied due to invalid subscription key or wrong API endpoint."},
	refusedModel:       {404, "", "DeploymentNotFound", "The API deployment for this resource does not exist."},
	refusedPolicy:      {400, "", "content_filter", "The response was filtered due to the prompt triggering Azure OpenAI's content management policy."},
	refusedRate:        {429, "", "429", "Requests have exceeded the call rate limit of your current pricing tier."},
	refusedQuota:       {429, "", "insufficient_quota", "You exceeded your current quota."},
	refusedUnavailable: {503, "", "ServiceUnavailable", "The service is temporarily unable to process your request."},
})

func azureRefuse(dst []byte, h http.Header, p problem, seed uint64) (int, []byte) {
	h["Apim-Request-Id"] = []string{string(appendID(nil, hex, 24, seed, drawRequest))}
	return azureRefusals.likeOpenAI(dst, p)
}

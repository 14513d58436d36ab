package simulate

import (
	"net/http"
	"strings"
)

// togetherDialect is Together's API, a copy of OpenAI's.
var togetherDialect = dialect{
	segment: "together", route: togetherRoute, credential: bearer, sign: openaiSign, refuse: togetherRefuse,
	models: togetherModels, model: togetherModel,
}

func togetherRoute(path string) endpoint {
	rest, ok := strings.CutPrefix(path, "/v1")
	switch {
	case !ok, rest == "/responses", rest == "/moderations", rest == "/images/edits":
		return endpoint{}
	case rest == "/rerank":
		return endpoint{format: ranking{tokens: true}}
	}
	return openaiPath(rest, openaiChat{usageAtEnd: true})
}

var togetherRefusals = openaiRefusals.but(map[refusal]wording{
	refusedAuth:        {401, "invalid_request_error", "invalid_api_key", "Invalid API key provided."},
	refusedModel:       {404, "invalid_request_error", "model_not_available", "Unable to access model {model}."},
	refusedContext:     {403, "invalid_request_error", "", "The prompt is too long: {tokens} tokens exceed the context length of {limit}."},
	refusedRate:        {429, "rate_limit", "rate_limit_exceeded", "You have reached the rate limit of this model."},
	refusedQuota:       {402, "insufficient_quota", "", "You have no credits left: add a payment method."},
	refusedUnavailable: {503, "service_unavailable", "", "The model is overloaded. Please try again later."},
})

func togetherRefuse(dst []byte, _ http.Header, p problem, _ uint64) (int, []byte) {
	return togetherRefusals.likeOpenAI(dst, p)
}

// togetherModels is a list without an object around it.
func togetherModels(dst []byte, names []string) []byte { return appendList(dst, names, togetherModel) }

func togetherModel(dst []byte, name string) []byte {
	dst = appendString(append(dst, `{"id":`...), name)
	return append(dst, `,"object":"model","created":1721172741,"type":"chat","organization":"Simulator","context_length":131072}`...)
}

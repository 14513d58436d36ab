package openai

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// words maps the vendor's error codes and types to ours, where they say more
// than the status. Codes come before types. OpenAI's are in its guide to error
// codes; those of servers that copy the API stand with their names.
var words = map[string]schemas.Code{
	"context_length_exceeded":           schemas.ContextLength,
	"string_above_max_length":           schemas.ContextLength,
	"exceed_context_size_error":         schemas.ContextLength, // llama.cpp
	"content_policy_violation":          schemas.ContentFiltered,
	"moderation_blocked":                schemas.ContentFiltered,
	"invalid_prompt":                    schemas.ContentFiltered,
	"content_filter":                    schemas.ContentFiltered, // Azure
	"insufficient_quota":                schemas.QuotaExhausted,
	"credit_balance_exhausted":          schemas.QuotaExhausted,
	"organization_spend_limit_exceeded": schemas.QuotaExhausted,
	"project_spend_limit_exceeded":      schemas.QuotaExhausted,
	"organization_usage_limit_exceeded": schemas.QuotaExhausted,
	"billing_hard_limit_reached":        schemas.QuotaExhausted,
	"invalid_api_key":                   schemas.Auth,
	"authentication_error":              schemas.Auth,
	"model_not_found":                   schemas.NotFound,
	"not_found_error":                   schemas.NotFound,
	"NotFoundError":                     schemas.NotFound, // vLLM
	"rate_limit_exceeded":               schemas.RateLimited,
	"too_many_requests":                 schemas.RateLimited,
	"slow_down":                         schemas.RateLimited,
	"rate_limit_error":                  schemas.RateLimited,
	"server_is_overloaded":              schemas.Overloaded,
	"overloaded_error":                  schemas.Overloaded,
	"overloaded":                        schemas.Overloaded,  // TGI
	"unavailable_error":                 schemas.Unavailable, // llama.cpp, while it loads the model
	"service_unavailable_error":         schemas.Unavailable,
	"server_error":                      schemas.Internal,
	"internal_server_error":             schemas.Internal,
	"InternalServerError":               schemas.Internal,       // vLLM
	"BadRequestError":                   schemas.InvalidRequest, // vLLM
	"invalid_request_error":             schemas.InvalidRequest,
	"permission_error":                  schemas.Permission,
}

// generic are the types that say less than the status does: a wrong key, too, is
// an invalid_request_error.
func generic(word string) bool { return word == "invalid_request_error" || word == "server_error" }

// interpret sets the code of f, which holds the default of its status, by what
// the vendor says.
func interpret(f *schemas.Failure) *schemas.Failure {
	for _, word := range []string{f.VendorCode, f.VendorType} {
		if code, known := words[word]; known && !generic(word) {
			f.Code = code
			break
		}
	}
	if f.Code == schemas.Unavailable && strings.Contains(f.Message, "overloaded") { // with type server_error
		f.Code = schemas.Overloaded
	}
	if (f.Code == schemas.InvalidRequest || f.Code == schemas.Internal) && tooLong(f.Message) {
		f.Code = schemas.ContextLength
	}
	return f
}

// tooLong knows a prompt that is too long by the message alone, for servers that
// give no code: vLLM, Ollama and llama.cpp.
func tooLong(message string) bool {
	m := strings.ToLower(message)
	for _, text := range []string{
		"maximum context length", "maximum model length", "max context length", "prompt too long",
		"exceeds the available context size", "input is too large to process",
	} {
		if strings.Contains(m, text) {
			return true
		}
	}
	return false
}

// inStream is the default for an error that came with status 200: by its type,
// or by the status that some servers give as code.
func inStream(f *schemas.Failure) schemas.Code {
	if n, err := strconv.Atoi(f.VendorCode); err == nil && n >= http.StatusBadRequest && n < 600 {
		return wire.CodeOf(n)
	}
	if code, known := words[f.VendorType]; known {
		return code
	}
	return schemas.Internal
}

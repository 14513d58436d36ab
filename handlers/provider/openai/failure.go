package openai

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

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
	"overloaded":                        schemas.Overloaded,     // TGI
	"generation":                        schemas.Internal,       // TGI, with status 424
	"incomplete_generation":             schemas.Internal,       // TGI
	"healthcheck":                       schemas.Unavailable,    // TGI
	"validation":                        schemas.InvalidRequest, // TGI
	"unavailable_error":                 schemas.Unavailable,    // llama.cpp, while it loads the model
	"service_unavailable_error":         schemas.Unavailable,
	"server_error":                      schemas.Internal,
	"internal_server_error":             schemas.Internal,
	"InternalServerError":               schemas.Internal,       // vLLM
	"BadRequestError":                   schemas.InvalidRequest, // vLLM
	"invalid_request_error":             schemas.InvalidRequest,
	"permission_error":                  schemas.Permission,
	"image_content_policy_violation":    schemas.ContentFiltered,
	"bio_policy":                        schemas.ContentFiltered,
	"misalignment_policy_violation":     schemas.ContentFiltered,
	"cyber_policy":                      schemas.ContentFiltered,
	"invalid_image":                     schemas.InvalidRequest,
	"failed_to_download_image":          schemas.InvalidRequest,
	"image_too_large":                   schemas.PayloadTooLarge,
	"image_file_too_large":              schemas.PayloadTooLarge,
	"data_residency_mismatch":           schemas.Permission,
	"vector_store_timeout":              schemas.Timeout,
	"timeout":                           schemas.Timeout,
	"request_timeout":                   schemas.Timeout,
}

// generic are the types that say less than the status does: a wrong key, too, is
// an invalid_request_error.
func generic(word string) bool { return word == "invalid_request_error" || word == "server_error" }

// interpret sets the code of f, which holds the default of its status, by what
// the vendor says.
func (a *Adapter) interpret(f *schemas.Failure) *schemas.Failure {
	for _, word := range []string{f.VendorCode, f.VendorType} {
		if code, known := a.words[word]; known && !generic(word) {
			f.Code = code
			break
		}
	}
	if f.Code == schemas.Unavailable && strings.Contains(f.Message, "overloaded") { // with type server_error
		f.Code = schemas.Overloaded
	}
	if f.Code == schemas.RateLimited && outOfMoney(f.Message) {
		f.Code = schemas.QuotaExhausted
	}
	if f.RetryAfterMS == 0 && (f.Code == schemas.RateLimited || f.Code == schemas.Overloaded) {
		f.RetryAfterMS = advised(f.Message).Milliseconds()
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

// outOfMoney knows by the message alone a limit that waiting does not lift.
func outOfMoney(message string) bool {
	m := strings.ToLower(message)
	return strings.Contains(m, "exceeded your current quota") || strings.Contains(m, "spend limit") ||
		strings.Contains(m, "insufficient credit") || strings.Contains(m, "credit balance")
}

// advice is how a message says when to ask again: "Please try again in 6m0s." or
// "Please retry after 7 seconds." in what is known of OpenAI and Azure.
var advice = regexp.MustCompile(`(?i)(?:try again in|retry (?:after|in)) ((?:[0-9.]+ ?(?:ms|milliseconds?|s|seconds?|m|minutes?|h|hours?)[ ,]?)+)`)

// longAdvice bounds what a message is believed to advise.
const longAdvice = 24 * time.Hour

// advised returns when the message says to ask again, 0 where it does not.
func advised(message string) time.Duration {
	found := advice.FindStringSubmatch(message)
	if found == nil {
		return 0
	}
	short := strings.NewReplacer(" ", "", ",", "", "milliseconds", "ms", "millisecond", "ms",
		"seconds", "s", "second", "s", "minutes", "m", "minute", "m", "hours", "h", "hour", "h")
	d, err := time.ParseDuration(strings.TrimRight(short.Replace(strings.ToLower(found[1])), "."))
	if err != nil || d < 0 {
		return 0
	}
	return min(d, longAdvice)
}

// reset returns when a limit that is used up is free again, by the headers: Go's
// durations at OpenAI, whole seconds at Azure. 0 where they do not say.
func reset(h http.Header) time.Duration {
	var longest time.Duration
	for _, kind := range []string{"Requests", "Tokens"} {
		if left, err := strconv.Atoi(h.Get("X-Ratelimit-Remaining-" + kind)); err != nil || left > 0 {
			continue
		}
		text := h.Get("X-Ratelimit-Reset-" + kind)
		if _, err := strconv.ParseFloat(text, 64); err == nil {
			text += "s"
		}
		if d, err := time.ParseDuration(text); err == nil {
			longest = max(longest, min(d, longAdvice))
		}
	}
	return longest
}

// inStream is the default for an error that came with status 200: by its type,
// or by the status that some servers give as code.
func (a *Adapter) inStream(f *schemas.Failure) schemas.Code {
	if n, err := strconv.Atoi(f.VendorCode); err == nil && n >= http.StatusBadRequest && n < 600 {
		return wire.CodeOf(n)
	}
	if code, known := a.words[f.VendorType]; known {
		return code
	}
	if strings.HasPrefix(f.VendorCode, "invalid_") || strings.HasPrefix(f.VendorCode, "unsupported_") {
		return schemas.InvalidRequest
	}
	return schemas.Internal
}

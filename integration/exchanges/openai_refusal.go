package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// inStream is the complaint of an error that came with the status of a success.
func inStream(v any) complaint {
	c := complaint{status: 200}
	c.take(v, 0)
	for _, path := range [][]any{{"error", "code"}, {"code"}} {
		if n := number(dig(v, path...)); n >= 400 && n < 600 {
			c.status = int(n)
		}
	}
	return c
}

// openaiWords are codes and types that say more than a status (openai.md section
// 3, openai-compatible.md section 6).
var openaiWords = map[string]schemas.Code{
	"context_length_exceeded": schemas.ContextLength, "string_above_max_length": schemas.ContextLength,
	"exceed_context_size_error": schemas.ContextLength,
	"content_policy_violation":  schemas.ContentFiltered, "moderation_blocked": schemas.ContentFiltered,
	"invalid_prompt": schemas.ContentFiltered, "content_filter": schemas.ContentFiltered,
	"image_content_policy_violation": schemas.ContentFiltered, "bio_policy": schemas.ContentFiltered,
	"misalignment_policy_violation": schemas.ContentFiltered, "ResponsibleAIPolicyViolation": schemas.ContentFiltered,
	"insufficient_quota": schemas.QuotaExhausted, "credit_balance_exhausted": schemas.QuotaExhausted,
	"organization_spend_limit_exceeded": schemas.QuotaExhausted, "project_spend_limit_exceeded": schemas.QuotaExhausted,
	"organization_usage_limit_exceeded": schemas.QuotaExhausted, "billing_hard_limit_reached": schemas.QuotaExhausted,
	"invalid_api_key": schemas.Auth, "model_not_found": schemas.NotFound, "DeploymentNotFound": schemas.NotFound,
	"NotFoundError": schemas.NotFound, "not_found_error": schemas.NotFound,
	"rate_limit_exceeded": schemas.RateLimited, "slow_down": schemas.RateLimited, "too_many_requests": schemas.RateLimited,
	"rate_limit_error": schemas.RateLimited, "RateLimitReached": schemas.RateLimited,
	"server_is_overloaded": schemas.Overloaded, "overloaded_error": schemas.Overloaded, "overloaded": schemas.Overloaded,
	"EngineOverloaded": schemas.Overloaded, "NoCapacity": schemas.Overloaded, "ServiceUnavailable": schemas.Unavailable,
	"generation": schemas.Internal, "incomplete_generation": schemas.Internal, "image_too_large": schemas.PayloadTooLarge,
	"service_unavailable_error": schemas.Unavailable, "unavailable_error": schemas.Unavailable,
	"Timeout": schemas.Timeout, "vector_store_timeout": schemas.Timeout,
	"InternalServerError": schemas.Internal, "BadRequestError": schemas.InvalidRequest,
}

func openaiClass(c complaint) schemas.Code {
	tooLong := c.says("maximum context length", "maximum model length", "max context length", "prompt too long",
		"exceeds the available context size", "input is too large to process")
	switch {
	case c.status == 200 && slices.Contains(c.words, "invalid_request_error") && !slices.ContainsFunc(c.words, narrower):
		if tooLong {
			return schemas.ContextLength
		}
		return schemas.InvalidRequest
	case c.says("resource not found") && c.status == 404 && slices.Contains(c.words, "404"):
		return schemas.InvalidRequest // Azure: the path or the API's version is wrong
	case c.status == 429 && c.says("high demand", "temporarily unable to process"):
		return schemas.Overloaded
	case c.status == 429 && c.says("exceeded your current quota", "credit balance", "spend limit"):
		return schemas.QuotaExhausted
	}
	for _, w := range c.words {
		if plain := strings.ReplaceAll(strings.ToLower(w), "_", ""); strings.Contains(plain, "contentfilter") || strings.Contains(plain, "contentpolicy") {
			return schemas.ContentFiltered
		}
		if code, known := openaiWords[w]; known {
			return code
		}
		if n, err := strconv.Atoi(w); err == nil && c.status == 200 && n >= 400 {
			return classByStatus(n)
		}
	}
	if (c.status == 503 || c.status == 529) && c.says("overloaded") {
		return schemas.Overloaded
	}
	class := classByStatus(c.status)
	if c.status == 200 {
		class = schemas.Internal
	}
	if tooLong && (class == schemas.InvalidRequest || class == schemas.Internal) {
		return schemas.ContextLength
	}
	return class
}

func narrower(word string) bool { _, known := openaiWords[word]; return known }

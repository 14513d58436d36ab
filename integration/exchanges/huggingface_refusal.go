package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// hfStatus is what a status means (CANONICAL.md section 7.2).
var hfStatus = map[int]schemas.Code{
	400: schemas.InvalidRequest, 422: schemas.InvalidRequest, 401: schemas.Auth, 402: schemas.QuotaExhausted,
	403: schemas.Permission, 404: schemas.NotFound, 408: schemas.Timeout, 409: schemas.Conflict, 410: schemas.NotFound,
	413: schemas.PayloadTooLarge, 424: schemas.Internal, 429: schemas.RateLimited, 500: schemas.Internal,
	502: schemas.Unavailable, 503: schemas.Unavailable, 504: schemas.Timeout,
}

// hfRefusal is what an error means, by its status and then by its words.
func hfRefusal(status int, said string) schemas.Code {
	code, known := hfStatus[status]
	switch {
	case !known && status >= 400 && status < 500:
		code = schemas.InvalidRequest
	case !known:
		code = schemas.Internal
	}
	if status == http.StatusOK {
		code = hfToldLate(said)
	}
	said = strings.ToLower(said)
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(said, w) })
	}
	switch code {
	case schemas.RateLimited:
		if has(`"error_type":"overloaded"`, `"error_type": "overloaded"`, `"error":"overloaded"`) {
			return schemas.Overloaded
		}
	case schemas.InvalidRequest, schemas.Internal, schemas.Unavailable, schemas.PayloadTooLarge, schemas.Permission:
		switch {
		case has("`inputs` tokens + `max_new_tokens` must be", "maximum context length", "must have less than", "prompt is too long", "tokens (max"):
			return schemas.ContextLength
		case has("model_not_supported", "not supported by any provider"):
			return schemas.NotFound
		case has("monthly included credits", "not_enough_balance"):
			return schemas.QuotaExhausted
		case has("is overloaded", `"overloaded"`):
			return schemas.Overloaded
		}
	}
	return code
}

// hfToldLate is what an error with the status of a success means.
func hfToldLate(said string) schemas.Code {
	var v any
	_ = json.Unmarshal([]byte(said), &v) // what is no JSON tells nothing
	code := dig(v, "error", "code")
	if code == nil {
		code = dig(v, "code")
	}
	if n := number(code); n >= 400 && n < 600 {
		if known, ok := hfStatus[int(n)]; ok {
			return known
		}
	}
	for _, word := range []any{code, dig(v, "error", "type"), dig(v, "type"), dig(v, "error_type")} {
		switch text(word) {
		case "validation", "invalid_request_error", "BadRequestError":
			return schemas.InvalidRequest
		case "rate_limit_exceeded", "rate_limit_error", "too_many_requests":
			return schemas.RateLimited
		case "model_not_found", "not_found_error", "NotFoundError":
			return schemas.NotFound
		case "authentication_error", "invalid_api_key":
			return schemas.Auth
		case "context_length_exceeded":
			return schemas.ContextLength
		}
	}
	return schemas.Internal
}

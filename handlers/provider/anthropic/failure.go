package anthropic

import (
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// types maps the vendor's error types to ours. In a stream, where the status is
// 200, they are all there is.
var types = map[string]schemas.Code{
	"invalid_request_error": schemas.InvalidRequest,
	"authentication_error":  schemas.Auth,
	"billing_error":         schemas.QuotaExhausted,
	"permission_error":      schemas.Permission,
	"not_found_error":       schemas.NotFound,
	"conflict_error":        schemas.Conflict,
	"request_too_large":     schemas.PayloadTooLarge,
	"rate_limit_error":      schemas.RateLimited,
	"api_error":             schemas.Internal,
	"timeout_error":         schemas.Timeout,
	"overloaded_error":      schemas.Overloaded,
}

// interpret sets the code of f, which holds the default of its status, by what
// the vendor says. Where the type is the same for causes that want different
// remedies, and there is no code, the message must do.
func interpret(f *schemas.Failure) *schemas.Failure {
	if code, known := types[f.VendorType]; known {
		f.Code = code
	}
	switch {
	case f.VendorCode == "enforced_spend_limit_reached":
		f.Code = schemas.QuotaExhausted
	case f.Code == schemas.InvalidRequest && strings.Contains(f.Message, "prompt is too long"):
		f.Code = schemas.ContextLength
	case f.Code == schemas.InvalidRequest && strings.HasPrefix(f.Message, "You have reached your specified") &&
		strings.Contains(f.Message, "usage limits"):
		f.Code = schemas.QuotaExhausted
	case f.Code == schemas.InvalidRequest && strings.Contains(f.Message, "credit balance is too low"):
		f.Code = schemas.QuotaExhausted
	case f.Code == schemas.Internal && f.Message == "Overloaded": // seen with status 500
		f.Code = schemas.Overloaded
	}
	return f
}

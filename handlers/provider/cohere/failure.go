package cohere

import (
	"strings"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// statuses are those that mean something else here than elsewhere.
var statuses = map[int]schemas.Code{
	498: schemas.ContentFiltered, // a deny-listed token in the prompt or the answer
	499: schemas.Cancelled,
	501: schemas.Unsupported,
}

// words maps the vendor's error_type and reasons to finish to ours.
var words = map[string]schemas.Code{
	"TOO_MANY_TOKENS":         schemas.ContextLength,
	"INVALID_TOOL_GENERATION": schemas.Internal, // the model's own mistake: another attempt may do
	"TIMEOUT":                 schemas.Timeout,
	"ERROR_TOXIC":             schemas.ContentFiltered,
}

// interpret sets the code of f, which holds the default of its status, by what
// the vendor says. Most refusals have nothing but a message.
func interpret(f *schemas.Failure) *schemas.Failure {
	if code, known := statuses[f.HTTPStatus]; known {
		f.Code = code
	}
	if code, known := words[f.VendorType]; known {
		f.Code = code
		return f
	}
	m := strings.ToLower(f.Message)
	switch f.Code {
	case schemas.InvalidRequest:
		if strings.HasPrefix(m, "too many tokens") || strings.Contains(m, "maximum context length") {
			f.Code = schemas.ContextLength
		}
	case schemas.RateLimited: // the cap of a trial key is no limit that soon passes
		if strings.Contains(m, "/ month") || strings.Contains(m, "per month") || strings.Contains(m, "monthly") {
			f.Code = schemas.QuotaExhausted
		}
	case schemas.Unavailable, schemas.Internal:
		if strings.Contains(m, "overloaded") || strings.Contains(m, "at capacity") {
			f.Code = schemas.Overloaded
		}
	}
	return f
}

// told returns the failure that came with status 200. reason is the vendor's
// reason to finish, where it gave one.
func told(e wire.ErrorBody, reason, secret string) *schemas.Failure {
	f := wire.Told(e, secret)
	f.Code = schemas.Internal
	if code, known := words[reason]; known {
		f.Code = code
	}
	if f.VendorCode == "" {
		f.VendorCode = reason
	}
	if f.Message == "" {
		f.Message = "the provider could not finish the answer"
	}
	return interpret(f)
}

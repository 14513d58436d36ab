package anthropic

import (
	"net/http"
	"strings"
	"time"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// types maps the vendor's error types to ours, and Google's, which stand in front
// of it at Vertex AI. In a stream, where the status is 200, they are all there is.
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

	"UNAUTHENTICATED":    schemas.Auth,
	"PERMISSION_DENIED":  schemas.Permission,
	"NOT_FOUND":          schemas.NotFound,
	"RESOURCE_EXHAUSTED": schemas.RateLimited,
	"UNAVAILABLE":        schemas.Overloaded,
	"DEADLINE_EXCEEDED":  schemas.Timeout,
	"INTERNAL":           schemas.Internal,
}

// words refine a code by what a message contains: the type is the same for causes
// that want different remedies, and there is no code.
var words = []struct {
	of   schemas.Code
	text string
	is   schemas.Code
}{
	{schemas.InvalidRequest, "prompt is too long", schemas.ContextLength},
	{schemas.InvalidRequest, "exceed context limit", schemas.ContextLength},
	{schemas.InvalidRequest, "exceeds the context window", schemas.ContextLength},
	{schemas.InvalidRequest, "input is too long", schemas.ContextLength},
	{schemas.InvalidRequest, "api usage limits", schemas.QuotaExhausted},
	{schemas.InvalidRequest, "credit balance is too low", schemas.QuotaExhausted},
	{schemas.InvalidRequest, "content filtering policy", schemas.ContentFiltered},
	{schemas.InvalidRequest, "organization has been disabled", schemas.Permission},
	{schemas.RateLimited, "spend limit", schemas.QuotaExhausted},
	{schemas.RateLimited, "api usage limits", schemas.QuotaExhausted},
	{schemas.Internal, "overloaded", schemas.Overloaded}, // seen with status 500
}

// interpret sets the code of f, which holds the default of its status, by what
// the vendor says.
func interpret(f *schemas.Failure) *schemas.Failure {
	if code, known := types[f.VendorType]; known && (code != schemas.Internal || !gateway(f.HTTPStatus)) {
		f.Code = code
	}
	if f.VendorCode == "enforced_spend_limit_reached" {
		f.Code = schemas.QuotaExhausted
		return f
	}
	said := strings.ToLower(f.Message)
	for _, w := range words {
		if f.Code == w.of && strings.Contains(said, w.text) {
			f.Code = w.is
			break
		}
	}
	return f
}

// gateway reports whether a status says more than the type api_error.
func gateway(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// refused reads an answer with an error status.
func (a *adapter) refused(res *http.Response) *schemas.Failure {
	f := interpret(wire.Refusal(res, requestID, a.config.APIKey.Reveal()))
	if f.Code == schemas.RateLimited && f.RetryAfterMS == 0 {
		f.RetryAfterMS = replenished(res.Header, time.Now()).Milliseconds()
	}
	return f
}

// told reads an error that came with status 200.
func told(body []byte, secret string) *schemas.Failure {
	f := wire.Told(wire.ParseError(body), secret)
	f.Code = schemas.Internal
	f.Phase = schemas.PhaseBody
	return interpret(f)
}

// replenished returns how long it is until every limit that is used up is full
// again; 0 where the headers do not say. Times are RFC 3339.
func replenished(h http.Header, now time.Time) time.Duration {
	const family = "Anthropic-Ratelimit-"
	const most = time.Hour // limits are per minute
	var wait time.Duration
	for name, values := range h {
		kind, remaining := strings.CutSuffix(name, "-Remaining")
		if !remaining || !strings.HasPrefix(name, family) || len(values) == 0 || values[0] != "0" {
			continue
		}
		if at, err := time.Parse(time.RFC3339, h.Get(kind+"-Reset")); err == nil {
			wait = max(wait, at.Sub(now))
		}
	}
	return min(wait, most)
}

package anthropic_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/schemas"
)

func TestFailuresAreClassifiedByType(t *testing.T) {
	t.Parallel()
	const spent = "You have reached your specified API usage limits. You will regain access on 2026-12-01."
	tests := []struct {
		status            int
		typ, detail, text string
		want              schemas.Code
	}{
		{400, "invalid_request_error", "", "messages: too few", schemas.InvalidRequest},
		{400, "invalid_request_error", "", "prompt is too long: 200001 tokens > 200000 maximum", schemas.ContextLength},
		{400, "invalid_request_error", "", spent, schemas.QuotaExhausted},
		{400, "invalid_request_error", "", "Your credit balance is too low to access the Anthropic API.", schemas.QuotaExhausted},
		{401, "authentication_error", "", "invalid x-api-key", schemas.Auth},
		{402, "billing_error", "", "", schemas.QuotaExhausted},
		{403, "permission_error", "", "", schemas.Permission},
		{404, "not_found_error", "", "model: x", schemas.NotFound},
		{413, "request_too_large", "", "", schemas.PayloadTooLarge},
		{429, "rate_limit_error", "", "", schemas.RateLimited},
		{429, "rate_limit_error", "enforced_spend_limit_reached", "", schemas.QuotaExhausted},
		{500, "api_error", "", "Internal server error", schemas.Internal},
		{500, "api_error", "", "Overloaded", schemas.Overloaded},
		{400, "invalid_request_error", "", "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000", schemas.ContextLength},
		{400, "invalid_request_error", "", "Output blocked by content filtering policy", schemas.ContentFiltered},
		{400, "invalid_request_error", "", "This organization has been disabled.", schemas.Permission},
		{409, "conflict_error", "", "", schemas.Conflict},
		{429, "rate_limit_error", "", "You have reached your organization's monthly spend limit.", schemas.QuotaExhausted},
		{503, "api_error", "", "Service Unavailable", schemas.Unavailable},
		{504, "timeout_error", "", "", schemas.Timeout},
		{529, "overloaded_error", "", "Overloaded", schemas.Overloaded},
		// In a stream the status is 200 and says nothing.
		{200, "overloaded_error", "", "Overloaded", schemas.Overloaded},
		{200, "rate_limit_error", "", "", schemas.RateLimited},
		{200, "something_new", "", "", schemas.Internal},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.status, tt.typ, tt.text), func(t *testing.T) {
			x := &providertest.Exchange{Stream: tt.status == http.StatusOK}
			x.Response.Status = tt.status
			x.Response.Body = fmt.Sprintf(`{"type":"error","error":{"type":%q,"message":%q,"details":{"error_code":%q}},"request_id":"req_1"}`,
				tt.typ, tt.text, tt.detail)
			if x.Stream {
				x.Response.Body = "event: error\ndata: " + x.Response.Body + "\n\n"
			}
			_, f, _ := providertest.Replay(t, newProvider, x)
			if f == nil || f.Code != tt.want || f.UpstreamRequestID != "req_1" {
				t.Errorf("failure %+v, want %s of req_1", f, tt.want)
			}
		})
	}
}

func TestAFullLimitTellsWhenItIsFreeAgain(t *testing.T) {
	t.Parallel()
	x := &providertest.Exchange{}
	x.Response.Status = http.StatusTooManyRequests
	x.Response.Body = `{"type":"error","error":{"type":"rate_limit_error","message":"Rate limited"}}`
	x.Response.Headers = map[string]string{
		"anthropic-ratelimit-input-tokens-remaining": "0", "anthropic-ratelimit-input-tokens-reset": time.Now().Add(30 * time.Second).UTC().Format(time.RFC3339),
		"anthropic-ratelimit-requests-remaining": "12", "anthropic-ratelimit-requests-reset": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
	}
	_, f, _ := providertest.Replay(t, newProvider, x)
	if f == nil || f.Code != schemas.RateLimited || f.RetryAfterMS < 20_000 || f.RetryAfterMS > 30_000 {
		t.Errorf("failure %+v, want rate_limited for about 30 s", f)
	}
}

package gemini_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/schemas"
)

func TestFailuresAreClassifiedByStatusAndDetails(t *testing.T) {
	t.Parallel()
	const (
		perMinute = `{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerMinutePerProjectPerModel-FreeTier","quotaValue":"10"}]}`
		perDay    = `{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier","quotaValue":"250"}]}`
		retry     = `{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"48.939935699s"}`
		badKey    = `{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}`
		noBilling = `{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"BILLING_DISABLED"}`
	)
	tests := []struct {
		status             int
		word, text, detail string
		want               schemas.Code
		wait               int64
	}{
		{400, "INVALID_ARGUMENT", "* GenerateContentRequest.contents: contents is not specified", "", schemas.InvalidRequest, 0},
		{400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", badKey, schemas.Auth, 0},
		{400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.", "", schemas.Auth, 0},
		{400, "INVALID_ARGUMENT", "The input token count (1250074) exceeds the maximum number of tokens allowed (1048576).", "", schemas.ContextLength, 0},
		{400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes.", "", schemas.PayloadTooLarge, 0},
		{400, "INVALID_ARGUMENT", "This prompt contains sensitive words that violate Google's Responsible AI practices.", "", schemas.ContentFiltered, 0},
		{400, "FAILED_PRECONDITION", "User location is not supported for the API use.", "", schemas.Permission, 0},
		{400, "FAILED_PRECONDITION", "Please enable billing on project 1.", "", schemas.QuotaExhausted, 0},
		{401, "UNAUTHENTICATED", "Request had invalid authentication credentials.", "", schemas.Auth, 0},
		{402, "", "", "", schemas.QuotaExhausted, 0},
		{403, "PERMISSION_DENIED", "Generative Language API has not been used in project 1 before or it is disabled.", "", schemas.Permission, 0},
		{403, "PERMISSION_DENIED", "This API method requires billing to be enabled.", noBilling, schemas.QuotaExhausted, 0},
		{404, "NOT_FOUND", "models/x is not found for API version v1beta", "", schemas.NotFound, 0},
		{409, "ABORTED", "", "", schemas.Conflict, 0},
		{429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", perMinute + "," + retry, schemas.RateLimited, 48939},
		{429, "RESOURCE_EXHAUSTED", "You exceeded your current quota. Please retry in 1m2.5s.", perMinute, schemas.RateLimited, 62500},
		{429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", perMinute + "," + perDay, schemas.QuotaExhausted, 0},
		{429, "RESOURCE_EXHAUSTED", "Your project has exceeded its monthly spending cap.", "", schemas.QuotaExhausted, 0},
		{429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).", "", schemas.RateLimited, 0},
		{429, "RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later.", "", schemas.Overloaded, 0},
		{499, "CANCELLED", "", "", schemas.Cancelled, 0},
		{500, "INTERNAL", "An internal error has occurred.", retry, schemas.Internal, 48939},
		{501, "UNIMPLEMENTED", "", "", schemas.Unsupported, 0},
		{503, "UNAVAILABLE", "The model is overloaded. Please try again later.", "", schemas.Overloaded, 0},
		{504, "DEADLINE_EXCEEDED", "", "", schemas.Timeout, 0},
		// In a stream the status is 200 and says nothing.
		{200, "UNAVAILABLE", "The model is overloaded.", "", schemas.Overloaded, 0},
		{200, "RESOURCE_EXHAUSTED", "quota", retry, schemas.RateLimited, 48939},
		{200, "SOMETHING_NEW", "", "", schemas.Internal, 0},
	}
	for _, tt := range tests {
		body := fmt.Sprintf(`{"error":{"code":%d,"message":%q,"status":%q,"details":[%s]}}`, tt.status, tt.text, tt.word, tt.detail)
		for form, body := range map[string]string{"": body, ", in a list": "[" + body + "]", ", in lines": strings.ReplaceAll(body, ",", ",\r\n  ")} {
			t.Run(fmt.Sprint(tt.status, tt.word, tt.text, form), func(t *testing.T) {
				x := &providertest.Exchange{Stream: tt.status == http.StatusOK}
				x.Response.Status, x.Response.Body = tt.status, body
				_, f, _ := providertest.Replay(t, newProvider, x)
				if f == nil || f.Code != tt.want || f.RetryAfterMS != tt.wait {
					t.Errorf("failure %+v, want %s after %d ms", f, tt.want, tt.wait)
				}
			})
		}
	}
}

func TestVertexWithoutDetailsIsOverloaded(t *testing.T) {
	t.Parallel()
	x := &providertest.Exchange{}
	x.Response.Status = http.StatusTooManyRequests
	x.Response.Body = `{"error":{"code":429,"message":"Resource exhausted.","status":"RESOURCE_EXHAUSTED"}}`
	if _, f, _ := providertest.Replay(t, newVertex, x); f == nil || f.Code != schemas.Overloaded {
		t.Errorf("failure %+v, want overloaded", f)
	}
}

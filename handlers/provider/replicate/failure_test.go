package replicate_test

import (
	"testing"

	"github.com/sira-ai/sira/schemas"
)

func TestRefusalsAreClassified(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status  int
		body    string
		headers map[string]string
		code    schemas.Code
		retryMS int64
	}{
		{401, `{"title":"Unauthenticated","detail":"You did not pass a valid authentication token","status":401}`, nil, schemas.Auth, 0},
		{402, `{"title":"Billing required","detail":"You need to set up billing to run this model","status":402}`, nil, schemas.QuotaExhausted, 0},
		{402, `{"title":"Insufficient credit","detail":"You have insufficient credit to run this model.","status":402}`, nil, schemas.QuotaExhausted, 0},
		{403, `{"detail":"You do not have access to this model","status":403}`, nil, schemas.Permission, 0},
		{404, `{"detail":"Not found.","status":404}`, nil, schemas.NotFound, 0},
		{410, `{"detail":"Gone","status":410}`, nil, schemas.NotFound, 0},
		{422, `{"detail":"- input.timeout must be positive\n","status":422,"title":"Input validation failed"}`, nil, schemas.InvalidRequest, 0},
		{422, `{"title":"Invalid version or not permitted","detail":"The specified version does not exist","status":422}`, nil, schemas.InvalidRequest, 0},
		{413, `<html>`, nil, schemas.PayloadTooLarge, 0},
		{429, `{"detail":"Request was throttled. Your rate limit resets in ~30s."}`, nil, schemas.RateLimited, 30000},
		{429, `{"detail":"Request was throttled. Expected available in 1 second."}`, map[string]string{"ratelimit-reset": "3"}, schemas.RateLimited, 3000},
		{429, `{"detail":"Request was throttled. Your rate limit resets in ~30s."}`, map[string]string{"Retry-After": "4"}, schemas.RateLimited, 4000},
		{500, `{"detail":"Internal error"}`, nil, schemas.Internal, 0},
		{502, `bad gateway`, nil, schemas.Unavailable, 0},
		{503, `{"detail":"The service is overloaded"}`, nil, schemas.Overloaded, 0},
		{504, ``, nil, schemas.Timeout, 0},
	}
	a, call := newAdapter(t, nil), chat(false)
	for _, tt := range tests {
		_, err := reply{status: tt.status, kind: jsonType, body: tt.body, headers: tt.headers}.decode(a, call, nil)
		if f := schemas.AsFailure(err); f == nil || f.Code != tt.code || f.RetryAfterMS != tt.retryMS || f.Message == "" {
			t.Errorf("%d %s: %+v, want %s and %d ms", tt.status, tt.body, f, tt.code, tt.retryMS)
		}
	}
}

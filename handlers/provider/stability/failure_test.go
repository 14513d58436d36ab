package stability_test

import (
	"testing"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
)

func TestFailuresAreClassified(t *testing.T) {
	t.Parallel()
	tests := []struct {
		res     reply
		code    schemas.Code
		retryMS int64
	}{
		{answer(200, "image/png", png, "finish-reason", "CONTENT_FILTERED"), schemas.ContentFiltered, 0},
		{answer(200, "application/json", `{"image":"`+b64+`","finish_reason":"CONTENT_FILTERED","seed":1}`), schemas.ContentFiltered, 0},
		{answer(200, "application/json", `{"artifacts":[{"base64":"","finishReason":"ERROR","seed":8}]}`), schemas.Internal, 0},
		{answer(200, "application/json", `{"id":"x","name":"content_moderation","errors":["flagged"]}`), schemas.ContentFiltered, 0},
		{answer(200, "application/json", `{}`), schemas.MalformedResponse, 0},
		{answer(200, "application/json", `{"image":`), schemas.MalformedResponse, 0},
		{answer(200, "application/json", `{"image":"not base64"}`), schemas.MalformedResponse, 0},
		{answer(200, "text/html", `<html>`), schemas.MalformedResponse, 0},
		{answer(200, "image/png", ``), schemas.MalformedResponse, 0},
		{answer(400, "application/json", `{"id":"x","name":"bad_request","errors":["prompt: is required"]}`), schemas.InvalidRequest, 0},
		{answer(400, "application/json", `{"id":"x","name":"invalid_prompts","message":"Invalid prompts detected"}`), schemas.ContentFiltered, 0},
		{answer(401, "application/json", `{"id":"x","name":"unauthorized","message":"missing authorization header"}`), schemas.Auth, 0},
		{answer(402, "application/json", `{"id":"x","name":"payment_required","errors":["no credits"]}`), schemas.QuotaExhausted, 0},
		{answer(403, "application/json", `{"id":"x","name":"permission_denied","message":"no"}`), schemas.Permission, 0},
		{answer(403, "application/json", `{"errors":["Your request was flagged"],"name":"content_moderation"}`), schemas.ContentFiltered, 0},
		{answer(403, "application/json", `{"errors":["Your request was flagged by our content moderation system"]}`), schemas.ContentFiltered, 0},
		{answer(404, "application/json", `{"id":"x","name":"not_found","errors":["gone"]}`), schemas.NotFound, 0},
		{answer(413, "text/html", `<html>`), schemas.PayloadTooLarge, 0},
		{answer(422, "application/json", `{"id":"x","name":"invalid_language","errors":["English only"]}`), schemas.InvalidRequest, 0},
		{answer(429, "application/json", `{"id":"x","name":"rate_limit_exceeded","errors":["150 in 10 s"]}`), schemas.RateLimited, 60000},
		{answer(429, "application/json", `{"id":"x","name":"rate_limit_exceeded"}`, "Retry-After", "5"), schemas.RateLimited, 5000},
		{answer(429, "application/json", `{"id":"x","name":"insufficient_balance","message":"not enough"}`), schemas.QuotaExhausted, 0},
		{answer(500, "application/json", `{"id":"x","name":"internal_error","errors":["oops"]}`), schemas.Internal, 0},
		{answer(503, "text/plain", ``), schemas.Unavailable, 0},
		{answer(504, "text/plain", ``), schemas.Timeout, 0},
	}
	for _, tt := range tests {
		_, err := tt.res.decode(newAdapter(t, nil), image("core", nil), nil)
		f := schemas.AsFailure(err)
		if f == nil || f.Code != tt.code || f.RetryAfterMS != tt.retryMS || f.Message == "" || f.Phase == "" || f.HTTPStatus != tt.res.status {
			t.Errorf("%d: %+v, want %s and %d ms", tt.res.status, f, tt.code, tt.retryMS)
		}
		if f != nil && tt.res.status == 200 && f.VendorCode == "CONTENT_FILTERED" && (f.Usage == nil || !f.Usage.Units["images"].Equal(decimal.NewFromInt(1))) {
			t.Errorf("usage %+v of a filtered picture, want it billed", f.Usage)
		}
	}
}

package huggingface_test

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
		message string
	}{
		{400, `{"error":{"message":"The requested model 'x' is not supported by any provider you have enabled.","type":"invalid_request_error","param":"model","code":"model_not_supported"}}`, nil, schemas.NotFound, 0, ""},
		{400, `{"error":"The requested model 'x' is not supported by any provider you have enabled."}`, nil, schemas.NotFound, 0, ""},
		{400, `{"error":["Error in 'inputs': Invalid image"]}`, nil, schemas.InvalidRequest, 0, "Error in 'inputs': Invalid image"},
		{401, `{"error":"Invalid username or password."}`, nil, schemas.Auth, 0, ""},
		{402, `{"error":"You have exceeded your monthly included credits for Inference Providers."}`, nil, schemas.QuotaExhausted, 0, ""},
		{403, `{"error":"Model requires a Pro subscription"}`, nil, schemas.Permission, 0, ""},
		{403, `{"reason":"NOT_ENOUGH_BALANCE","message":"not enough balance"}`, nil, schemas.QuotaExhausted, 0, ""},
		{404, `Not Found`, nil, schemas.NotFound, 0, "Not Found"},
		{413, `{"error":"Input validation error: 'inputs' must have less than 512 tokens. Given: 1004","error_type":"Validation"}`, nil, schemas.ContextLength, 0, ""},
		{422, `Failed to deserialize the JSON body into the target type`, nil, schemas.InvalidRequest, 0, ""},
		{422, "{\"error\":\"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 1512.\",\"error_type\":\"validation\"}", nil, schemas.ContextLength, 0, ""},
		{422, `{"error":"Input validation error: 'temperature' must be strictly positive","error_type":"validation"}`, nil, schemas.InvalidRequest, 0, ""},
		{424, `{"error":"Request failed during generation: CUDA out of memory","error_type":"generation"}`, nil, schemas.Internal, 0, ""},
		{429, `{"error":"Model is overloaded","error_type":"overloaded"}`, nil, schemas.Overloaded, 0, ""},
		{429, `{"error":"Rate limit reached. Please log in or use a HF access token"}`, nil, schemas.RateLimited, 0, ""},
		{500, `{"error":"Incomplete generation","error_type":"incomplete_generation"}`, nil, schemas.Internal, 0, ""},
		{503, `{"error":"Model acme/m is currently loading","estimated_time":20.5}`, nil, schemas.Unavailable, 20500, ""},
		{503, `{"error":"Model acme/m is currently loading","estimated_time":20.5}`, map[string]string{"Retry-After": "3"}, schemas.Unavailable, 3000, ""},
		{503, `{"error":"overloaded"}`, nil, schemas.Overloaded, 0, ""},
		{503, `{"error":"unhealthy","error_type":"healthcheck"}`, nil, schemas.Unavailable, 0, ""},
		{503, ``, map[string]string{"X-Error-Message": "Model is overloaded, please wait", "X-Error-Code": "ModelOverloaded"}, schemas.Overloaded, 0, "Model is overloaded, please wait"},
	}
	for _, server := range []string{"router", "tgi", "tei"} {
		a := newAdapter(t, server)
		for _, tt := range tests {
			_, err := reply{tt.status, "application/json", tt.body, tt.headers}.decode(a, embedCall(), nil)
			f := schemas.AsFailure(err)
			if f == nil || f.Code != tt.code || f.RetryAfterMS != tt.retryMS || f.Message == "" || tt.message != "" && f.Message != tt.message {
				t.Errorf("%d %s: %+v, want %s, %d ms, %q", tt.status, tt.body, f, tt.code, tt.retryMS, tt.message)
			}
		}
	}
}

// TestAdviceToWaitWithAnAnswerIsIgnored: the router was recorded sending
// Retry-After with answers.
func TestAdviceToWaitWithAnAnswerIsIgnored(t *testing.T) {
	t.Parallel()
	wait := map[string]string{"Retry-After": "30"}
	a := newAdapter(t, "router")
	if _, err := (reply{200, "application/json", `[0.5]`, wait}).decode(a, embedCall(), nil); err != nil {
		t.Error(err)
	}
	_, err := reply{200, "application/json", `{"error":"Model acme/m is currently loading"}`, wait}.decode(a, embedCall(), nil)
	if f := schemas.AsFailure(err); f == nil || f.Code != schemas.Unavailable || f.RetryAfterMS != 0 {
		t.Errorf("%+v, want unavailable without advice", f)
	}
}

package openai_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/schemas"
)

func TestFailuresAreClassifiedByStatusCodeAndType(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status          int
		typ, code, text string
		want            schemas.Code
	}{
		{400, "invalid_request_error", "context_length_exceeded", "", schemas.ContextLength},
		{400, "BadRequestError", "400", "This model's maximum context length is 4096 tokens", schemas.ContextLength},
		{400, "exceed_context_size_error", "400", "", schemas.ContextLength},
		{400, "invalid_request_error", "content_policy_violation", "", schemas.ContentFiltered},
		{400, "invalid_request_error", "unsupported_value", "", schemas.InvalidRequest},
		{400, "invalid_request_error", "model_not_found", "", schemas.NotFound},
		{401, "invalid_request_error", "invalid_api_key", "", schemas.Auth},
		{403, "invalid_request_error", "", "", schemas.Permission},
		{404, "invalid_request_error", "model_not_found", "", schemas.NotFound},
		{408, "", "", "", schemas.Timeout},
		{409, "", "", "", schemas.Conflict},
		{413, "", "", "", schemas.PayloadTooLarge},
		{422, "", "", "", schemas.InvalidRequest},
		{429, "requests", "rate_limit_exceeded", "", schemas.RateLimited},
		{429, "rate_limit_error", "slow_down", "", schemas.RateLimited},
		{429, "insufficient_quota", "insufficient_quota", "", schemas.QuotaExhausted},
		{429, "insufficient_quota", "project_spend_limit_exceeded", "", schemas.QuotaExhausted},
		{500, "server_error", "", "", schemas.Internal},
		{424, "generation", "", "Request failed during generation", schemas.Internal},
		{429, "overloaded", "", "Model is overloaded", schemas.Overloaded},
		{422, "validation", "", "", schemas.InvalidRequest},
		{429, "", "", "You exceeded your current quota, please check your plan", schemas.QuotaExhausted},
		{400, "image_generation_user_error", "moderation_blocked", "", schemas.ContentFiltered},
		{501, "not_supported_error", "501", "", schemas.Internal},
		{502, "", "", "", schemas.Unavailable},
		{503, "service_unavailable_error", "server_is_overloaded", "", schemas.Overloaded},
		{503, "server_error", "", "That model is currently overloaded with other requests.", schemas.Overloaded},
		{503, "unavailable_error", "503", "Loading model", schemas.Unavailable},
		{504, "", "", "", schemas.Timeout},
		// In a stream the status is 200 and says nothing.
		{200, "service_unavailable_error", "server_is_overloaded", "", schemas.Overloaded},
		{200, "insufficient_quota", "insufficient_quota", "", schemas.QuotaExhausted},
		{200, "invalid_request_error", "", "", schemas.InvalidRequest},
		{200, "BadRequestError", "400", "", schemas.InvalidRequest},
		{200, "InternalServerError", "500", "", schemas.Internal},
		{200, "x", "429", "", schemas.RateLimited},
		{200, "", "invalid_image_format", "", schemas.InvalidRequest},
		{200, "", "", "", schemas.Internal},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.status, tt.typ, tt.code), func(t *testing.T) {
			x := &providertest.Exchange{}
			x.Response.Status = tt.status
			x.Response.Body = fmt.Sprintf(`{"error":{"message":%q,"type":%q,"code":%q}}`, tt.text, tt.typ, tt.code)
			if x.Stream = tt.status == http.StatusOK; x.Stream {
				x.Response.Body = "data: " + x.Response.Body + "\n\ndata: [DONE]\n\n"
			}
			_, f, _ := providertest.Replay(t, newProvider, x)
			if f == nil || f.Code != tt.want {
				t.Errorf("failure %+v, want %s", f, tt.want)
			}
		})
	}
}

func TestStreamsOfCompatibleServersAreRead(t *testing.T) {
	t.Parallel()
	chunk := func(s string) string { return "data: {\"choices\":[" + s + "]}\n\n" }
	const done = "data: [DONE]\n\n"
	tests := []struct {
		name, body string
		want       schemas.Code
		texts      []string
		calls      int
	}{
		{
			"two choices interleaved", chunk(`{"index":1,"delta":{"content":"b"}}`) + chunk(`{"index":0,"delta":{"content":"a"}}`) +
				chunk(`{"index":0,"delta":{},"finish_reason":"stop"},{"index":1,"delta":{"content":"c"},"finish_reason":"length"}`) + done,
			schemas.OK,
			[]string{"a", "bc"},
			0,
		},
		{
			"one of two choices without a finish", chunk(`{"index":1,"delta":{"content":"b"}}`) +
				chunk(`{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}`) + done,
			schemas.StreamInterrupted, nil, 0,
		},
		{
			"tool calls without index, whole, with an object as arguments",
			chunk(`{"delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":{"x":1}}},{"function":{"name":"g"}}]},"finish_reason":"stop"}`) + done,
			schemas.OK,
			[]string{""},
			2,
		},
		{
			"tool calls that all have index 0",
			chunk(`{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}}`) +
				chunk(`{"delta":{"tool_calls":[{"index":0,"id":"b","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}`) + done,
			schemas.OK,
			[]string{""},
			2,
		},
		{"only [DONE]", done, schemas.StreamInterrupted, nil, 0},
		{"no [DONE]", chunk(`{"delta":{"content":"a"},"finish_reason":"stop"}`), schemas.StreamInterrupted, nil, 0},
		{"no blank line behind [DONE]", chunk(`{"delta":{"content":"a"},"finish_reason":"stop"}`) + "data: [DONE]", schemas.OK, []string{"a"}, 0},
		{"an error of one word", "event: error\ndata: {\"error\":\"Unauthorized\"}\n\n" + done, schemas.Internal, nil, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := &providertest.Exchange{Stream: true}
			x.Response.Status, x.Response.Body = http.StatusOK, tt.body
			res, f, _ := providertest.Replay(t, newProvider, x)
			if tt.want != schemas.OK {
				if f == nil || f.Code != tt.want {
					t.Errorf("failure %+v, want %s", f, tt.want)
				}
				return
			}
			if f != nil || len(res.Choices) != len(tt.texts) {
				t.Fatalf("failure %+v, answer %+v", f, res)
			}
			calls := 0
			for i, c := range res.Choices {
				if c.Message.Text() != tt.texts[i] {
					t.Errorf("choice %d says %q, want %q", i, c.Message.Text(), tt.texts[i])
				}
				for _, p := range c.Message.Parts {
					if p.ToolCall != nil {
						calls++
						if p.ToolCall.ID == "" {
							t.Error("a tool call has no id")
						}
					}
				}
				if calls > 0 && c.Finish.Reason != schemas.FinishToolCalls {
					t.Errorf("finish %+v, want tool_calls", c.Finish)
				}
			}
			if calls != tt.calls || res.Usage.Source != schemas.UsageEstimated {
				t.Errorf("%d calls, usage %+v, want %d and an estimate", calls, res.Usage, tt.calls)
			}
		})
	}
}

func TestAMessageOrHeadersSayWhenToAskAgain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		text    string
		headers map[string]string
		want    int64
	}{
		{"Please try again in 26.604s. Visit …", nil, 26604},
		{"Please try again in 174ms.", nil, 174},
		{"Please try again in 6m0s.", nil, 360000},
		{"Please try again in 1h2m3s.", nil, 3723000},
		{"Please retry after 7 seconds.", nil, 7000},
		{"Please try again in 999999h.", nil, 86400000},
		{"Please try again in a while.", nil, 0},
		{"Please try again in 2s.", map[string]string{"Retry-After": "5"}, 5000},
		{"", map[string]string{"X-Ratelimit-Remaining-Requests": "0", "X-Ratelimit-Reset-Requests": "6m0s", "X-Ratelimit-Remaining-Tokens": "9", "X-Ratelimit-Reset-Tokens": "9h"}, 360000},
	}
	for _, tt := range tests {
		x := &providertest.Exchange{}
		x.Response.Status, x.Response.Headers = http.StatusTooManyRequests, tt.headers
		x.Response.Body = fmt.Sprintf(`{"error":{"message":%q,"type":"tokens","code":"rate_limit_exceeded"}}`, tt.text)
		_, f, _ := providertest.Replay(t, newProvider, x)
		if f == nil || f.Code != schemas.RateLimited || f.RetryAfterMS != tt.want {
			t.Errorf("%q %v: %+v, want %d ms", tt.text, tt.headers, f, tt.want)
		}
	}
}

package wire

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

func TestRateLimitHeadersOfEveryVendorAreRead(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	in := now.Add
	tests := []struct {
		name string
		h    http.Header
		want RateLimit
	}{
		{"OpenAI", header(
			"x-ratelimit-limit-requests", "5000", "x-ratelimit-remaining-requests", "4999", "x-ratelimit-reset-requests", "12ms",
			"x-ratelimit-limit-tokens", "160000", "x-ratelimit-remaining-tokens", "100", "x-ratelimit-reset-tokens", "6m0s",
		), RateLimit{Window{5000, 0, 4999, in(12 * time.Millisecond)}, Window{160000, 0, 100, in(6 * time.Minute)}}},
		{"OpenAI, used up: a twentieth is back after a twentieth of the time", header(
			"x-ratelimit-limit-requests", "60", "x-ratelimit-remaining-requests", "0", "x-ratelimit-reset-requests", "1m0s",
		), RateLimit{Requests: Window{60, 0, 0, in(3 * time.Second)}}},
		{"Azure", header(
			"x-ratelimit-limit-requests", "10", "x-ratelimit-remaining-requests", "7", "x-ratelimit-reset-requests", "9", "x-ratelimit-renewalperiod-requests", "10",
			"x-ratelimit-limit-tokens", "1000", "x-ratelimit-remaining-tokens", "-1", "x-ratelimit-reset-tokens", "-1",
		), RateLimit{Window{10, 10 * time.Second, 7, in(9 * time.Second)}, Window{Limit: 1000}}},
		{"Anthropic", header(
			"anthropic-ratelimit-requests-limit", "50", "anthropic-ratelimit-requests-remaining", "0", "anthropic-ratelimit-requests-reset", "2026-11-23T12:00:30Z",
			"anthropic-ratelimit-input-tokens-limit", "40000", "anthropic-ratelimit-input-tokens-remaining", "39000", "anthropic-ratelimit-input-tokens-reset", "2026-11-23T12:00:02Z",
		), RateLimit{Window{50, 0, 0, in(30 * time.Second)}, Window{40000, 0, 39000, in(2 * time.Second)}}},
		{"Together", header(
			"x-ratelimit-limit", "10", "x-ratelimit-remaining", "9", "x-ratelimit-reset", "1",
			"x-tokenlimit-limit", "3000", "x-tokenlimit-remaining", "2990", "x-tokenlimit-reset", "1",
		), RateLimit{Window{10, time.Second, 9, in(time.Second)}, Window{3000, time.Second, 2990, in(time.Second)}}},
		{"Replicate", header("ratelimit-remaining", "3", "ratelimit-reset", "17"), RateLimit{Requests: Window{Remaining: 3, ResetAt: in(17 * time.Second)}}},
		{"Cohere's trial keys", header("x-trial-endpoint-call-limit", "40", "x-trial-endpoint-call-remaining", "39"), RateLimit{Requests: Window{Limit: 40}}},
		{"Hugging Face", header(
			"ratelimit", `"api";r=489;t=55`, "ratelimit-policy", `"fixed window";"api";q=500;w=300`,
		), RateLimit{Requests: Window{500, 5 * time.Minute, 489, in(55 * time.Second)}}},
		{"a reset in the past is now", header(
			"anthropic-ratelimit-requests-limit", "50", "anthropic-ratelimit-requests-remaining", "3", "anthropic-ratelimit-requests-reset", "2020-01-01T00:00:00Z",
		), RateLimit{Requests: Window{50, 0, 3, now}}},
	}
	for _, tt := range tests {
		got, ok := ReadRateLimit(tt.h, now)
		if diff := cmp.Diff(tt.want, got); !ok || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, ok, diff)
		}
	}
	for name, h := range map[string]http.Header{"nothing": {}, "nonsense": header("x-ratelimit-limit-requests", "many", "ratelimit-policy", ";;=")} {
		if got, ok := ReadRateLimit(h, now); ok {
			t.Errorf("%s says %+v", name, got)
		}
	}
}

func FuzzReadRateLimit(f *testing.F) {
	f.Add("x-ratelimit-reset-tokens", "6m0s", "x-ratelimit-remaining-tokens", "1")
	f.Add("anthropic-ratelimit-tokens-reset", "2026-11-23T12:00:02Z", "anthropic-ratelimit-tokens-remaining", "0")
	f.Add("ratelimit", `"a";r=1;t=1e300`, "ratelimit-policy", `"a";q=9223372036854775807;w=9223372036854775807`)
	f.Add("x-ratelimit-reset", "NaN", "x-ratelimit-remaining", "5")
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		r, _ := ReadRateLimit(header(a, b, c, d), now)
		for _, w := range []Window{r.Requests, r.Tokens} {
			if w.Limit < 0 || w.Remaining < 0 || w.Per < 0 || w.Per > longest {
				t.Errorf("%+v", w)
			}
			if !w.ResetAt.IsZero() && (w.ResetAt.Before(now) || w.ResetAt.After(now.Add(longest))) {
				t.Errorf("resets at %s", w.ResetAt)
			}
		}
	})
}

package wire_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

func TestEventsOfAnySizeUpToTheLimitAreRead(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 20<<20) // an image on one line
	got, err := events(t, strings.NewReader("data: a\n\ndata: "+big+"\n\ndata: b\n\n"), 0)
	if err != nil || len(got) != 3 || len(got[1].Data) != len(big) {
		t.Errorf("%d events, error %v, want 3", len(got), err)
	}
	for _, s := range []string{"data: " + big + "\n\n", strings.Repeat("data: x\n", 1<<20) + "\n", ": " + big} {
		if _, err := events(t, strings.NewReader(s), 64<<10); !errors.Is(err, wire.ErrEventTooLarge) {
			t.Errorf("error %v for %.20q…, want ErrEventTooLarge", err, s)
		}
	}
}

func TestAnEventWithoutItsEndIsMarked(t *testing.T) {
	t.Parallel()
	r := wire.NewEventReader(strings.NewReader("data: [DONE]"), 0)
	ev, err := r.Next()
	if err != nil || !ev.Cut || string(ev.Data) != "[DONE]" {
		t.Errorf("event %+v, error %v", ev, err)
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("error %v, want EOF", err)
	}
}

func TestAdviceCountsOnlyWithErrorsThatPass(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name      string
		status    int
		headers   map[string]string
		wait      time.Duration
		forbidden bool
	}{
		{"on an answer", 200, map[string]string{"Retry-After": "20", "X-Should-Retry": "false"}, 0, false},
		{"seconds", 429, map[string]string{"Retry-After": "1.5"}, 1500 * time.Millisecond, false},
		{"milliseconds first", 503, map[string]string{"Retry-After-Ms": "20", "Retry-After": "1"}, 20 * time.Millisecond, false},
		{"no milliseconds", 429, map[string]string{"Retry-After-Ms": "0", "Retry-After": "1"}, time.Second, false},
		{"a date", 429, map[string]string{"Retry-After": "Mon, 23 Nov 2026 12:01:00 GMT"}, time.Minute, false},
		{"a date gone by", 429, map[string]string{"Retry-After": "Mon, 23 Nov 2026 11:00:00 GMT"}, 0, false},
		{"nonsense", 429, map[string]string{"Retry-After": "soon", "Retry-After-Ms": "NaN"}, 0, false},
		{"for ever", 429, map[string]string{"Retry-After": "1e300"}, 31 * 24 * time.Hour, false},
		{"forbidden", 500, map[string]string{"X-Should-Retry": "false"}, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{}
			for k, v := range tt.headers {
				h.Set(k, v)
			}
			if wait, forbidden := wire.RetryAfter(h, tt.status, now); wait != tt.wait || forbidden != tt.forbidden {
				t.Errorf("got %v, %v, want %v, %v", wait, forbidden, tt.wait, tt.forbidden)
			}
		})
	}
}

func TestErrorsOfAllShapesAreUnderstood(t *testing.T) {
	t.Parallel()
	tests := []struct {
		body string
		want wire.ErrorBody
	}{
		{`{"error":{"message":"m","type":"t","param":"p","code":"c"}}`, wire.ErrorBody{Message: "m", Type: "t", Param: "p", Code: "c"}},
		{`{"error":{"message":"m","type":"BadRequestError","param":null,"code":400}}`, wire.ErrorBody{Message: "m", Type: "BadRequestError", Code: "400"}},
		{`{"type":"error","error":{"type":"t","message":"m","details":{"error_code":"c"}},"request_id":"r"}`, wire.ErrorBody{Message: "m", Type: "t", Code: "c", RequestID: "r"}},
		{`{"error":"m","error_type":"overloaded"}`, wire.ErrorBody{Message: "m", Type: "overloaded"}},
		{`[{"error":{"message":"m","status":"INVALID_ARGUMENT","code":400}}]`, wire.ErrorBody{Message: "m", Type: "INVALID_ARGUMENT", Code: "400"}},
		{`{"detail":[{"msg":"m"}]}`, wire.ErrorBody{Message: "m"}},
		{`{"errors":["m"]}`, wire.ErrorBody{Message: "m"}},
		{`{"message":"m"}`, wire.ErrorBody{Message: "m"}},
		{"upstream gone\n", wire.ErrorBody{Message: "upstream gone"}},
		{"<html>m</html>", wire.ErrorBody{}},
		{`{"error":[`, wire.ErrorBody{Message: `{"error":[`}},
		{"", wire.ErrorBody{}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, wire.ParseError([]byte(tt.body))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.body, diff)
		}
	}
}

// A vendor says its usage when a stream begins and again at its end. If the
// stream breaks in between, the first numbers know nothing of the output.
func TestUsageOfABrokenAnswerCountsWhatWasSaid(t *testing.T) {
	t.Parallel()
	a := wire.NewAnswer(nil)
	a.Use(schemas.Usage{InputTokens: 50, OutputTokens: 1, Source: schemas.UsageReported})
	a.Text(0, strings.Repeat("four", 10))
	f := a.Interrupted(&schemas.Request{}, io.ErrUnexpectedEOF)
	want := &schemas.Usage{InputTokens: 50, OutputTokens: 10, Source: schemas.UsageEstimated}
	if diff := cmp.Diff(want, f.Usage); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
}

package openai

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// other is a vendor that copies the API but has its own ways in all of it.
func other(t *testing.T) *Adapter {
	t.Helper()
	c := Defaults
	c.BaseURL, c.APIKey = "https://other.example/v1", "key"
	a, err := NewAdapter(c, Variant{
		Name: "other", Operations: []schemas.Operation{schemas.OpChat}, KeyHeader: "X-Key", RequestID: "X-Trace",
		Words: map[string]schemas.Code{"tired": schemas.Overloaded},
		Address: func(path string, call provider.Call) (*url.URL, error) {
			return url.Parse("https://other.example/" + call.Model + "/" + path)
		},
		Header: func(h http.Header, _ provider.Call) error { h.Set("X-More", "yes"); return nil },
		Fields: func(b []byte, _ provider.Call) ([]byte, error) {
			return jsontext.AppendStringField(b, "safety", "low"), nil
		},
		Interpret: func(f *schemas.Failure, _ http.Header) {
			if f.HTTPStatus == http.StatusTeapot {
				f.Code = schemas.Conflict
			}
		},
		Usage:    func(u *schemas.Usage, _ []byte) { u.InputTokens *= 10 },
		Response: func(res *schemas.Response, h http.Header) { res.Warnings = append(res.Warnings, h.Get("X-Warn")) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func traced() http.Header {
	return http.Header{"Content-Type": {"application/json"}, "X-Trace": {"t-1"}, "X-Warn": {"careful"}}
}

func TestAVariantHasItsOwnWays(t *testing.T) {
	t.Parallel()
	a := other(t)
	call := provider.Call{Model: "m", Request: &schemas.Request{
		Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "x")},
		Ext:      map[string]json.RawMessage{"other": json.RawMessage(`{"extra":1}`), "openai": json.RawMessage(`{"wrong":1}`)},
	}}
	req, err := a.Encode(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	if req.URL.String() != "https://other.example/m/chat/completions" || req.Header.Get("X-Key") != "key" ||
		req.Header.Get("Authorization") != "" || req.Header.Get("X-More") != "yes" {
		t.Errorf("asked %s with %v", req.URL, req.Header)
	}
	if s := string(body); !strings.Contains(s, `"safety":"low"`) || !strings.Contains(s, `"extra":1`) || strings.Contains(s, "wrong") {
		t.Errorf("body %s", s)
	}
	res, err := decode(a, call, 200, traced(), `{"choices":[{"message":{"content":"y"},"finish_reason":"stop"}],"usage":{"prompt_tokens":2,"completion_tokens":1}}`, nil)
	if err != nil || res.Usage.InputTokens != 20 || res.UpstreamReqID != "t-1" || len(res.Warnings) != 1 || res.Warnings[0] != "careful" {
		t.Errorf("answer %+v, %v", res, err)
	}
	for _, tt := range []struct {
		status int
		body   string
		want   schemas.Code
	}{
		{400, `{"error":{"code":"tired"}}`, schemas.Overloaded},
		{429, `{"error":{"code":"insufficient_quota"}}`, schemas.QuotaExhausted},
		{http.StatusTeapot, `{}`, schemas.Conflict},
	} {
		_, err := decode(a, call, tt.status, traced(), tt.body, nil)
		if f, ok := errors.AsType[*schemas.Failure](err); !ok || f.Code != tt.want || f.UpstreamRequestID != "t-1" {
			t.Errorf("%d %s: %+v, want %s", tt.status, tt.body, err, tt.want)
		}
	}
	call.Request.Op = schemas.OpEmbed
	if _, err := a.Encode(t.Context(), call); schemas.AsFailure(err).Code != schemas.Unsupported {
		t.Errorf("an operation that the variant lacks: %v", err)
	}
}

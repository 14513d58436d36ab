package wire

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// Limits on what is read and kept of an error body, in bytes.
const (
	maxErrorBody    = 256 << 10
	maxErrorMessage = 2 << 10
	maxErrorWord    = 200
)

// ErrorBody is what a vendor says of an error, whatever shape it says it in.
type ErrorBody struct {
	Message, Type, Code, Param string
	RequestID                  string
}

// errorShape covers the shapes in CANONICAL.md section 7.2. All fields are raw,
// so that no surprising type hides the others.
type errorShape struct {
	Error     json.RawMessage `json:"error"`
	Errors    json.RawMessage `json:"errors"`
	Detail    json.RawMessage `json:"detail"`
	Details   json.RawMessage `json:"details"`
	Message   json.RawMessage `json:"message"`
	Msg       json.RawMessage `json:"msg"`
	Title     json.RawMessage `json:"title"`
	Type      json.RawMessage `json:"type"`
	ErrorType json.RawMessage `json:"error_type"`
	Code      json.RawMessage `json:"code"`
	ErrorCode json.RawMessage `json:"error_code"`
	Status    json.RawMessage `json:"status"`
	Param     json.RawMessage `json:"param"`
	Reason    json.RawMessage `json:"reason"`
	RequestID json.RawMessage `json:"request_id"`
}

// ParseError reads an error body: the key error as object, string or list, else
// detail, message, errors or title, else plain text. HTML tells nothing.
func ParseError(body []byte) ErrorBody {
	body = bytes.TrimSpace(body)
	var e ErrorBody
	switch {
	case json.Valid(body):
		e.take(body, 0)
	case len(body) > 0 && body[0] != '<':
		e.Message = clip(string(body), maxErrorMessage)
	}
	return e
}

// take fills what is still empty in e from raw and reports whether raw told
// anything.
func (e *ErrorBody) take(raw json.RawMessage, depth int) bool {
	if len(raw) == 0 || depth > 4 {
		return false
	}
	switch raw[0] {
	case '"':
		return set(&e.Message, raw, maxErrorMessage)
	case '[':
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil {
			return false
		}
		for _, item := range list[:min(len(list), 4)] {
			if e.take(item, depth+1) {
				return true
			}
		}
		return false
	case '{':
		var s errorShape
		if json.Unmarshal(raw, &s) != nil {
			return false
		}
		return e.takeShape(&s, depth)
	}
	return false
}

func (e *ErrorBody) takeShape(s *errorShape, depth int) bool {
	told := e.take(s.Error, depth+1)
	if e.Code == "" {
		var inner errorShape
		if len(s.Details) > 0 && s.Details[0] == '{' && json.Unmarshal(s.Details, &inner) == nil {
			told = set(&e.Code, inner.ErrorCode, maxErrorWord) || told
		}
	}
	for _, f := range []struct {
		to  *string
		raw json.RawMessage
	}{
		{&e.Message, s.Message},
		{&e.Message, s.Msg},
		{&e.Code, s.Code},
		{&e.Code, s.ErrorCode},
		{&e.Code, s.Reason},
		{&e.Type, s.ErrorType},
		{&e.Type, s.Type},
		{&e.Type, s.Status},
		{&e.Param, s.Param},
		{&e.RequestID, s.RequestID},
	} {
		limit := maxErrorWord
		if f.to == &e.Message {
			limit = maxErrorMessage
		}
		if *f.to == "" && set(f.to, f.raw, limit) {
			told = true
		}
	}
	for _, raw := range []json.RawMessage{s.Detail, s.Errors, s.Title} {
		if e.Message == "" {
			told = e.take(raw, depth+1) || told
		}
	}
	return told
}

// set puts a JSON string or number into to.
func set(to *string, raw json.RawMessage, limit int) bool {
	if len(raw) == 0 || raw[0] == '{' || raw[0] == '[' || raw[0] == 't' || raw[0] == 'f' {
		return false
	}
	s := jsontext.Text(raw)
	if s == "" {
		return false
	}
	*to = clip(s, limit)
	return true
}

// clip cuts s to at most limit bytes without splitting a character.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return strings.ToValidUTF8(s, "\ufffd")
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return strings.ToValidUTF8(s[:limit], "\ufffd") + "…"
}

// Refusal reads the body of an answer with an error status and returns the
// failure with everything but its code filled in, which is the status's default:
// the vendor's own words are for the adapter to interpret. requestID names the
// header with the vendor's id of the request. secret, if not empty, is taken out
// of whatever the vendor quotes.
func Refusal(res *http.Response, requestID, secret string) *schemas.Failure {
	// A broken body is read as far as it goes: the status says the most.
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxErrorBody))
	f := Told(ParseError(body), secret)
	f.Code = CodeOf(res.StatusCode)
	f.HTTPStatus = res.StatusCode
	f.Phase = schemas.PhaseHeaders
	if id := res.Header.Get(requestID); id != "" {
		f.UpstreamRequestID = clip(id, maxErrorWord)
	}
	wait, forbidden := RetryAfter(res.Header, res.StatusCode, time.Now())
	f.RetryAfterMS, f.NoRetry = wait.Milliseconds(), forbidden
	if f.Message == "" {
		f.Message = "the provider answered with status " + strconv.Itoa(res.StatusCode)
	}
	return f
}

// Told returns a failure with the vendor's words and no code yet.
func Told(e ErrorBody, secret string) *schemas.Failure {
	hide := func(s string) string {
		if secret == "" {
			return s
		}
		return strings.ReplaceAll(s, secret, "[redacted]")
	}
	return &schemas.Failure{
		Message: hide(e.Message), Param: hide(e.Param), UpstreamRequestID: hide(e.RequestID),
		VendorCode: hide(e.Code), VendorType: hide(e.Type),
	}
}

// CodeOf returns what a status means where the vendor's words say nothing else
// (CANONICAL.md section 7.2).
func CodeOf(status int) schemas.Code {
	switch status {
	case http.StatusUnauthorized:
		return schemas.Auth
	case http.StatusPaymentRequired:
		return schemas.QuotaExhausted
	case http.StatusForbidden:
		return schemas.Permission
	case http.StatusNotFound, http.StatusGone:
		return schemas.NotFound
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return schemas.Timeout
	case http.StatusConflict:
		return schemas.Conflict
	case http.StatusRequestEntityTooLarge:
		return schemas.PayloadTooLarge
	case http.StatusTooManyRequests:
		return schemas.RateLimited
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return schemas.Unavailable
	case 529: // overloaded; not in any RFC
		return schemas.Overloaded
	}
	switch {
	case status >= 500:
		return schemas.Internal
	case status >= 400:
		return schemas.InvalidRequest
	default: // a redirect: the address in the configuration is not the API's
		return schemas.Unavailable
	}
}

// maxRetryAfter bounds advice, so that nonsense does not overflow.
const maxRetryAfter = 31 * 24 * time.Hour

// RetryAfter returns when the vendor wants to be asked again, 0 where it does
// not say, and whether it forbids asking again. The headers count with 408, 409,
// 429 and 5xx only: vendors were seen sending retry-after with answers
// (CANONICAL.md section 7.3).
func RetryAfter(h http.Header, status int, now time.Time) (wait time.Duration, forbidden bool) {
	if status != http.StatusRequestTimeout && status != http.StatusConflict &&
		status != http.StatusTooManyRequests && status < 500 {
		return 0, false
	}
	forbidden = h.Get("X-Should-Retry") == "false"
	if wait = scaled(h.Get("Retry-After-Ms"), time.Millisecond); wait > 0 {
		return wait, forbidden
	}
	after := h.Get("Retry-After")
	if wait = scaled(after, time.Second); wait > 0 {
		return wait, forbidden
	}
	if t, err := http.ParseTime(after); err == nil {
		return min(max(t.Sub(now), 0), maxRetryAfter), forbidden
	}
	return 0, forbidden
}

func scaled(s string, unit time.Duration) time.Duration {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsNaN(f) || f <= 0 {
		return 0
	}
	if f >= float64(maxRetryAfter/unit) {
		return maxRetryAfter
	}
	return time.Duration(f * float64(unit))
}

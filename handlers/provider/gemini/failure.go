package gemini

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// codes maps Google's canonical statuses to ours (google/rpc/code.proto). In a
// stream, where the HTTP status is 200, they are all there is.
var codes = map[string]schemas.Code{
	"INVALID_ARGUMENT":    schemas.InvalidRequest,
	"FAILED_PRECONDITION": schemas.QuotaExhausted, // billing is not enabled
	"OUT_OF_RANGE":        schemas.InvalidRequest,
	"UNAUTHENTICATED":     schemas.Auth,
	"PERMISSION_DENIED":   schemas.Permission,
	"NOT_FOUND":           schemas.NotFound,
	"ALREADY_EXISTS":      schemas.Conflict,
	"ABORTED":             schemas.Conflict,
	"RESOURCE_EXHAUSTED":  schemas.RateLimited,
	"CANCELLED":           schemas.Cancelled,
	"UNIMPLEMENTED":       schemas.Unsupported,
	"INTERNAL":            schemas.Internal,
	"UNKNOWN":             schemas.Internal,
	"DATA_LOSS":           schemas.Internal,
	"UNAVAILABLE":         schemas.Overloaded,
	"DEADLINE_EXCEEDED":   schemas.Timeout,
}

// statuses are the canonical statuses by number, which long jobs have in place of
// their names.
var statuses = []string{
	"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
	"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
	"INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
}

// reasons maps the reasons of google.rpc.ErrorInfo, which say more than the
// status: a bad key has status 400.
var reasons = map[string]schemas.Code{
	"API_KEY_INVALID":               schemas.Auth,
	"API_KEY_EXPIRED":               schemas.Auth,
	"ACCESS_TOKEN_EXPIRED":          schemas.Auth,
	"CREDENTIALS_MISSING":           schemas.Auth,
	"ACCESS_TOKEN_TYPE_UNSUPPORTED": schemas.Auth,
	"BILLING_DISABLED":              schemas.QuotaExhausted,
}

// status is google.rpc.Status, with what this adapter reads of its details.
type status struct {
	Code    jsontext.Count `json:"code"`
	Message string         `json:"message"`
	Status  string         `json:"status"`
	Details []struct {
		Reason     string `json:"reason"`     // of ErrorInfo
		RetryDelay string `json:"retryDelay"` // of RetryInfo
		Violations []struct {
			QuotaID     string `json:"quotaId"` // of QuotaFailure
			QuotaMetric string `json:"quotaMetric"`
			Description string `json:"description"`
		} `json:"violations"`
	} `json:"details"`
}

// refused reads an answer with an error status.
func (a *adapter) refused(res *http.Response) *schemas.Failure {
	const most = 256 << 10
	// A broken body is read as far as it goes: the status says the most.
	body, _ := io.ReadAll(io.LimitReader(res.Body, most))
	read := *res
	read.Body = io.NopCloser(bytes.NewReader(body))
	return a.interpret(wire.Refusal(&read, "X-Request-Id", a.config.APIKey.Reveal()), body)
}

// told reads an error that came with HTTP status 200.
func (a *adapter) told(body []byte) *schemas.Failure {
	f := wire.Told(wire.ParseError(body), a.config.APIKey.Reveal())
	f.Phase = schemas.PhaseBody
	f.Code = schemas.Internal
	if n, err := strconv.Atoi(f.VendorCode); err == nil && n >= http.StatusBadRequest {
		f.Code = wire.CodeOf(n)
	}
	return a.interpret(f, body)
}

// interpret sets the code of f, which holds the default of its HTTP status, by
// what the vendor says in body.
func (a *adapter) interpret(f *schemas.Failure, body []byte) *schemas.Failure {
	s := statusOf(body)
	if n := int(s.Code); s.Status == "" && n > 0 && n < len(statuses) {
		s.Status = statuses[n]
	}
	if code, known := codes[s.Status]; known {
		f.Code, f.VendorType, f.VendorCode = code, s.Status, s.Status
	}
	daily, quota, wait := false, false, time.Duration(0)
	for i := range s.Details {
		d := &s.Details[i]
		if d.Reason != "" {
			f.VendorCode = hidden(d.Reason, a.config.APIKey.Reveal())
		}
		if code, known := reasons[d.Reason]; known {
			f.Code = code
		}
		for _, v := range d.Violations {
			quota = true
			daily = daily || lasting(v.QuotaID+" "+v.QuotaMetric+" "+v.Description)
		}
		if delay, err := time.ParseDuration(d.RetryDelay); err == nil {
			wait = delay
		}
	}
	switch f.Code {
	case schemas.RateLimited:
		f.Code = a.exhausted(f.Message, daily, quota || wait > 0)
	case schemas.InvalidRequest, schemas.QuotaExhausted:
		f.Code = worded(f.Code, f.Message)
	}
	if wait == 0 {
		wait = advised(f.Message)
	}
	const most = 31 * 24 * time.Hour
	if f.RetryAfterMS == 0 && wait > 0 && (f.HTTPStatus == 0 || f.HTTPStatus == http.StatusTooManyRequests || f.HTTPStatus >= 500) {
		f.RetryAfterMS = min(wait, most).Milliseconds()
	}
	return f
}

func hidden(s, secret string) string {
	if secret == "" {
		return s
	}
	return strings.ReplaceAll(s, secret, "[redacted]")
}

// statusOf finds the status in a body: {"error":…}, a list with it, or bare.
func statusOf(body []byte) status {
	body = bytes.TrimSpace(body)
	if len(body) > 0 && body[0] == '[' {
		var list []json.RawMessage
		if json.Unmarshal(body, &list) == nil && len(list) > 0 {
			body = list[0]
		}
	}
	var outer struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &outer) == nil && len(outer.Error) > 0 {
		body = outer.Error
	}
	var s status
	_ = json.Unmarshal(body, &s) // a field of a surprising type leaves the rest as it is
	return s
}

// lasting reports whether a quota is one that waiting a minute does not refill.
func lasting(quota string) bool {
	quota = strings.ToLower(quota)
	for _, word := range []string{"perday", "per_day", "per day", "permonth", "per_month", "per month", "daily", "monthly"} {
		if strings.Contains(quota, word) {
			return true
		}
	}
	return false
}

// exhausted tells the causes of RESOURCE_EXHAUSTED apart: a quota for a day, one
// for a minute, or, without any details, capacity that all customers of Vertex AI
// share.
func (a *adapter) exhausted(message string, daily, detailed bool) schemas.Code {
	text := strings.ToLower(message)
	switch {
	case daily || lasting(text), strings.Contains(text, "spending cap"), strings.Contains(text, "spend cap"),
		strings.Contains(text, "credits are depleted"):
		return schemas.QuotaExhausted
	case detailed, strings.Contains(text, "quota"):
		return schemas.RateLimited
	case a.vertex, strings.Contains(text, "try again later"), strings.Contains(text, "provisioned throughput"):
		return schemas.Overloaded
	}
	return schemas.RateLimited
}

// worded refines a code by the message, where the status is the same for causes
// that want different remedies.
func worded(code schemas.Code, message string) schemas.Code {
	text := strings.ToLower(message)
	has := func(words ...string) bool {
		for _, word := range words {
			if !strings.Contains(text, word) {
				return false
			}
		}
		return true
	}
	switch {
	case has("token count", "exceed"), has("context", "too long"), has("prompt is too long"), has("exceeds", "context window"):
		return schemas.ContextLength
	case has("payload size", "exceed"), has("request", "too large"):
		return schemas.PayloadTooLarge
	case has("api key not"), has("api key", "expired"), has("api key", "invalid"):
		return schemas.Auth
	case has("location is not supported"), has("region", "not supported"):
		return schemas.Permission
	case has("responsible ai"), has("usage guidelines"), has("safety", "blocked"):
		return schemas.ContentFiltered
	}
	return code
}

// advised returns the wait that a message names, as in "Please retry in 48.9s.".
func advised(message string) time.Duration {
	_, rest, found := strings.Cut(message, "retry in ")
	if !found {
		return 0
	}
	word, _, _ := strings.Cut(rest, " ")
	d, err := time.ParseDuration(strings.TrimRight(word, ".,"))
	if err != nil {
		return 0
	}
	return d
}

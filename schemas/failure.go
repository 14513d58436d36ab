package schemas

import (
	"errors"
	"time"
)

// Code names why a request was not answered. Codes travel in results, events
// and metric labels, so the set is small and closed: add, never rename.
type Code string

// What a provider can do wrong (CANONICAL.md section 7.1), and what only the
// gateway does.
const (
	InvalidRequest    Code = "invalid_request"
	Unsupported       Code = "unsupported"
	ContextLength     Code = "context_length"
	PayloadTooLarge   Code = "payload_too_large"
	Auth              Code = "auth"
	Permission        Code = "permission"
	NotFound          Code = "not_found"
	ContentFiltered   Code = "content_filtered"
	RateLimited       Code = "rate_limited"
	QuotaExhausted    Code = "quota_exhausted"
	Overloaded        Code = "overloaded"
	Unavailable       Code = "unavailable"
	Timeout           Code = "timeout"
	Internal          Code = "internal"
	Network           Code = "network"
	StreamInterrupted Code = "stream_interrupted"
	MalformedResponse Code = "malformed_response"
	Conflict          Code = "conflict"
	Cancelled         Code = "cancelled"
	Expired           Code = "expired"
	Unroutable        Code = "unroutable"
	BudgetExceeded    Code = "budget_exceeded"
	OutcomeUnknown    Code = "outcome_unknown"
)

// OK is the outcome of an attempt or request that was answered. It stands where
// a Code stands in events.
const OK Code = "ok"

// Scope says what must rest after a failure.
type Scope string

// The scopes.
const (
	ScopeRequest  Scope = "request"  // nothing rests: the request itself is at fault
	ScopeKey      Scope = "key"      // the credential
	ScopeModel    Scope = "model"    // this model at this provider
	ScopeEndpoint Scope = "endpoint" // this endpoint
)

// Policy is what the gateway does about a failure. See the table in
// CANONICAL.md section 7.1.
type Policy struct {
	RetrySame  int   // how often at most the same target is asked again
	Fallback   bool  // whether another target may be asked
	Breaker    bool  // whether it counts against the endpoint's health
	Scope      Scope // what cools down
	HTTPStatus int   // what an HTTP client of Sira sees
	Later      bool  // whether a later round (retry topics) may help
}

// policies maps each code to its policy.
var policies = map[Code]Policy{
	InvalidRequest:    {Scope: ScopeRequest, HTTPStatus: 400},
	Unsupported:       {Fallback: true, Scope: ScopeRequest, HTTPStatus: 400},
	ContextLength:     {Fallback: true, Scope: ScopeRequest, HTTPStatus: 400},
	PayloadTooLarge:   {Fallback: true, Scope: ScopeRequest, HTTPStatus: 413},
	Auth:              {Fallback: true, Scope: ScopeKey, HTTPStatus: 502},
	Permission:        {Fallback: true, Scope: ScopeKey, HTTPStatus: 502},
	NotFound:          {Fallback: true, Scope: ScopeModel, HTTPStatus: 502},
	ContentFiltered:   {Scope: ScopeRequest, HTTPStatus: 400},
	RateLimited:       {RetrySame: 2, Fallback: true, Scope: ScopeKey, HTTPStatus: 429, Later: true},
	QuotaExhausted:    {Fallback: true, Scope: ScopeKey, HTTPStatus: 429, Later: true},
	Overloaded:        {RetrySame: 1, Fallback: true, Breaker: true, Scope: ScopeEndpoint, HTTPStatus: 503, Later: true},
	Unavailable:       {RetrySame: 1, Fallback: true, Breaker: true, Scope: ScopeEndpoint, HTTPStatus: 503, Later: true},
	Timeout:           {Fallback: true, Breaker: true, Scope: ScopeEndpoint, HTTPStatus: 504, Later: true},
	Internal:          {RetrySame: 1, Fallback: true, Breaker: true, Scope: ScopeEndpoint, HTTPStatus: 502, Later: true},
	Network:           {RetrySame: 1, Fallback: true, Breaker: true, Scope: ScopeEndpoint, HTTPStatus: 502, Later: true},
	StreamInterrupted: {RetrySame: 1, Fallback: true, Breaker: true, Scope: ScopeEndpoint, HTTPStatus: 502, Later: true},
	MalformedResponse: {RetrySame: 1, Fallback: true, Breaker: true, Scope: ScopeEndpoint, HTTPStatus: 502, Later: true},
	Conflict:          {RetrySame: 1, Scope: ScopeRequest, HTTPStatus: 409, Later: true},
	Cancelled:         {Scope: ScopeRequest, HTTPStatus: 499},
	Expired:           {Scope: ScopeRequest, HTTPStatus: 504},
	Unroutable:        {Scope: ScopeRequest, HTTPStatus: 404},
	BudgetExceeded:    {Scope: ScopeRequest, HTTPStatus: 402},
	OutcomeUnknown:    {Scope: ScopeRequest, HTTPStatus: 502},
}

// Policy returns what to do about c. An unknown code is treated as internal.
func (c Code) Policy() Policy {
	if p, ok := policies[c]; ok {
		return p
	}
	return policies[Internal]
}

// Known reports whether c is one of the codes above.
func (c Code) Known() bool {
	_, ok := policies[c]
	return ok
}

// Phase says how far a call to a provider got before it failed.
type Phase string

// The phases, in order.
const (
	PhaseLocal   Phase = "local"   // nothing was sent
	PhaseConnect Phase = "connect" // no connection: nothing was sent
	PhaseSent    Phase = "sent"    // sent, no answer: the outcome at the provider is unknown
	PhaseHeaders Phase = "headers" // a status came
	PhaseBody    Phase = "body"    // the answer began, no output was passed on
	PhaseOutput  Phase = "output"  // output was passed on
)

// Failure is an outcome, not an accident: the request was read and tried, and
// this is why it has no answer. It is an error, so stages simply return it.
type Failure struct {
	Code              Code   `json:"code" avro:"code"`
	Message           string `json:"message,omitempty" avro:"message"` // for the requester; may quote a vendor, so it is never logged
	Param             string `json:"param,omitempty" avro:"param"`     // the field at fault
	Provider          string `json:"provider,omitempty" avro:"provider"`
	HTTPStatus        int    `json:"http_status,omitempty" avro:"http_status"` // the provider's; 0: none came
	VendorCode        string `json:"vendor_code,omitempty" avro:"vendor_code"`
	VendorType        string `json:"vendor_type,omitempty" avro:"vendor_type"`
	UpstreamRequestID string `json:"upstream_request_id,omitempty" avro:"upstream_request_id"`
	Phase             Phase  `json:"phase,omitempty" avro:"phase"`
	RetryAfterMS      int64  `json:"retry_after_ms,omitempty" avro:"retry_after_ms"` // 0: the provider named none
	NoRetry           bool   `json:"no_retry,omitempty" avro:"no_retry"`             // the provider forbids asking again (x-should-retry: false)
	Usage             *Usage `json:"usage,omitempty" avro:"usage"`                   // what was used before it failed, if known
	cause             error
}

// Fail returns a Failure with the given code that wraps cause, which may be
// nil. The cause is for errors.Is and errors.As; only the message is sent to
// the requester.
func Fail(code Code, message string, cause error) *Failure {
	return &Failure{Code: code, Message: message, cause: cause}
}

// Error names the code and, where there is one, the vendor's; never the
// message, which may hold content of the request.
func (f *Failure) Error() string {
	s := string(f.Code)
	if f.VendorCode != "" {
		s += " (" + f.VendorCode + ")"
	}
	return s
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.cause }

// RetryAfter returns the provider's advice, or 0.
func (f *Failure) RetryAfter() time.Duration {
	return time.Duration(f.RetryAfterMS) * time.Millisecond
}

// AsFailure returns the Failure in err's chain. Any other error is the
// gateway's own fault and becomes internal.
func AsFailure(err error) *Failure {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*Failure](err); ok {
		return f
	}
	return Fail(Internal, "the gateway could not handle the request", err)
}

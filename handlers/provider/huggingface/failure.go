package huggingface

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// words maps the codes and types of errors to ours: TGI's error_type and what the
// router says.
var words = map[string]schemas.Code{
	"overloaded":            schemas.Overloaded, // TGI's 429: its queue is full
	"validation":            schemas.InvalidRequest,
	"generation":            schemas.Internal,
	"incomplete_generation": schemas.Internal,
	"healthcheck":           schemas.Unavailable,
	"unhealthy":             schemas.Unavailable, // TEI
	"backend":               schemas.Internal,    // TEI
	"tokenizer":             schemas.InvalidRequest,
	"model_not_supported":   schemas.NotFound,
	"model_not_found":       schemas.NotFound,
	"not_enough_balance":    schemas.QuotaExhausted,
}

// texts are what errors without a code say. The first that is found counts. They
// are in lower case.
var texts = []struct {
	text string
	code schemas.Code
}{
	{"`inputs` tokens + `max_new_tokens` must be", schemas.ContextLength},
	{"`inputs` must have less than", schemas.ContextLength},
	{"maximum context length", schemas.ContextLength},
	{"prompt is too long", schemas.ContextLength},
	{"tokens (max", schemas.ContextLength}, // TEI
	{"must have less than", schemas.ContextLength},
	{"not supported by any provider", schemas.NotFound},
	{"monthly included credits", schemas.QuotaExhausted},
	{"not_enough_balance", schemas.QuotaExhausted},
	{"is overloaded", schemas.Overloaded},
	{"is currently loading", schemas.Unavailable},
}

// interpret sets the code of f, which holds the default of its status, by what
// the vendor says.
func interpret(f *schemas.Failure) {
	for _, word := range []string{f.VendorCode, f.VendorType} {
		if code, known := words[strings.ToLower(word)]; known {
			f.Code = code
			break
		}
	}
	message := strings.ToLower(f.Message)
	if strings.TrimSpace(message) == "overloaded" && f.Code != schemas.Auth {
		f.Code = schemas.Overloaded
		return
	}
	switch f.Code {
	case schemas.InvalidRequest, schemas.Internal, schemas.Unavailable, schemas.PayloadTooLarge, schemas.Permission:
	default:
		return
	}
	for _, t := range texts {
		if strings.Contains(message, t.text) {
			f.Code = t.code
			return
		}
	}
}

// interpretInStream has the last word on failures of answers in OpenAI's form,
// refusals aside.
func (a *Adapter) interpretInStream(f *schemas.Failure, _ http.Header) {
	switch f.Code {
	case schemas.Network, schemas.StreamInterrupted, schemas.MalformedResponse, schemas.Cancelled:
	default:
		interpret(f)
	}
}

// Limits on what is read of an error, in bytes.
const (
	maxErrorBody = 256 << 10
	maxErrorText = 2 << 10
)

// refusal reads an answer that is none. Partners' errors pass through, so it may
// be in any shape, and for some only the headers tell.
func (a *Adapter) refusal(res *http.Response) *schemas.Failure {
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxErrorBody)) // broken or not, the status says the most
	again := *res
	again.Body = io.NopCloser(bytes.NewReader(body))
	f := wire.Refusal(&again, requestID, a.config.APIKey.Reveal())
	if said := res.Header.Get("X-Error-Message"); said != "" && wire.ParseError(body).Message == "" {
		f.Message = wire.Told(wire.ErrorBody{Message: clip(said)}, a.config.APIKey.Reveal()).Message
	}
	if code := res.Header.Get("X-Error-Code"); code != "" && f.VendorCode == "" {
		f.VendorCode = wire.Told(wire.ErrorBody{Code: clip(code)}, a.config.APIKey.Reveal()).VendorCode
	}
	interpret(f)
	if f.RetryAfterMS == 0 && f.Code == schemas.Unavailable {
		f.RetryAfterMS = estimated(body)
	}
	return f
}

func clip(s string) string {
	if len(s) > maxErrorText {
		s = strings.ToValidUTF8(s[:maxErrorText], "")
	}
	return s
}

// estimated returns how long a model that is being loaded will still take, in
// milliseconds.
func estimated(body []byte) int64 {
	var e struct {
		Seconds float64 `json:"estimated_time"`
	}
	const most = 24 * 3600
	if json.Unmarshal(body, &e) != nil || math.IsNaN(e.Seconds) || e.Seconds <= 0 {
		return 0
	}
	return int64(min(e.Seconds, most) * 1000)
}

// told reads an error that came with status 200.
func (a *Adapter) told(body []byte) *schemas.Failure {
	f := wire.Told(wire.ParseError(body), a.config.APIKey.Reveal())
	f.Code, f.Phase = late(f), schemas.PhaseBody
	if f.Message == "" {
		f.Message = "the provider reported an error without saying which"
	}
	interpret(f)
	return f
}

// lateWords are the codes and types of errors that come with status 200, which
// otherwise would tell.
var lateWords = map[string]schemas.Code{
	"invalid_request_error": schemas.InvalidRequest,
	"BadRequestError":       schemas.InvalidRequest,
	"authentication_error":  schemas.Auth,
	"invalid_api_key":       schemas.Auth,
	"not_found_error":       schemas.NotFound,
	"NotFoundError":         schemas.NotFound,
	"rate_limit_exceeded":   schemas.RateLimited,
	"rate_limit_error":      schemas.RateLimited,
	"too_many_requests":     schemas.RateLimited,
}

// late is the default for an error that came with status 200: by its words, or by
// the status that some partners give as code.
func late(f *schemas.Failure) schemas.Code {
	if n, err := strconv.Atoi(f.VendorCode); err == nil && n >= http.StatusBadRequest && n < 600 {
		return wire.CodeOf(n)
	}
	for _, word := range []string{f.VendorCode, f.VendorType} {
		if code, known := lateWords[word]; known {
			return code
		}
	}
	return schemas.Internal
}

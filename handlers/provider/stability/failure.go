package stability

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// names maps the vendor's names of errors to ours, where they say more than the
// status.
var names = map[string]schemas.Code{
	"content_moderation":   schemas.ContentFiltered, // with 403, which else is about rights
	"content_filtered":     schemas.ContentFiltered,
	"invalid_prompts":      schemas.ContentFiltered, // v1
	"unauthorized":         schemas.Auth,
	"payment_required":     schemas.QuotaExhausted,
	"insufficient_balance": schemas.QuotaExhausted, // v1, with 429
	"insufficient_credits": schemas.QuotaExhausted,
	"permission_denied":    schemas.Permission,
	"not_found":            schemas.NotFound,
	"payload_too_large":    schemas.PayloadTooLarge,
	"rate_limit_exceeded":  schemas.RateLimited,
}

// rateLimited is how long the vendor refuses a key that was too fast; it sends no
// header that says so.
const rateLimited = 60_000 // ms

// maxErrorBody bounds what is read of an error, in bytes.
const maxErrorBody = 256 << 10

// refusal reads an answer that is none.
func (a *Adapter) refusal(res *http.Response) *schemas.Failure {
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxErrorBody)) // broken or not, the status says the most
	again := *res
	again.Body = io.NopCloser(bytes.NewReader(body))
	secret := a.config.APIKey.Reveal()
	f := wire.Refusal(&again, requestID, secret)
	var e struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	if json.Unmarshal(body, &e) == nil && len(e.Name) < 200 && len(e.ID) < 200 {
		told := wire.Told(wire.ErrorBody{Code: e.Name, RequestID: e.ID}, secret)
		f.VendorCode = told.VendorCode
		if f.UpstreamRequestID == "" {
			f.UpstreamRequestID = told.UpstreamRequestID
		}
	}
	if code, known := names[f.VendorCode]; known {
		f.Code = code
	} else if f.Code == schemas.Permission && strings.Contains(strings.ToLower(f.Message), "content moderation") {
		f.Code = schemas.ContentFiltered
	}
	if f.Code == schemas.RateLimited && f.RetryAfterMS == 0 {
		f.RetryAfterMS = rateLimited
	}
	return f
}

// requestID is the header with the vendor's id of the HTTP request.
const requestID = "X-Request-Id"

// failed is the failure of work that ended without a picture to give. What was
// filtered is billed like any other.
func failed(code schemas.Code, message, word string, usage schemas.Usage) *schemas.Failure {
	f := schemas.Fail(code, message, nil)
	f.Phase, f.VendorCode = schemas.PhaseBody, word
	if code == schemas.ContentFiltered {
		f.Usage = &usage
	}
	return f
}

package azure

import (
	"net/http"
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// words are the codes that Azure has besides OpenAI's, where they say more than
// the status.
var words = map[string]schemas.Code{
	"DeploymentNotFound":           schemas.NotFound,
	"RateLimitReached":             schemas.RateLimited,
	"Timeout":                      schemas.Timeout,
	"ResponsibleAIPolicyViolation": schemas.ContentFiltered,
	"NoCapacity":                   schemas.Overloaded,
	"EngineOverloaded":             schemas.Overloaded,
	"ServiceUnavailable":           schemas.Unavailable,
	"InternalServerError":          schemas.Internal,
}

// interpret knows what only the words around a code tell.
func interpret(f *schemas.Failure, h http.Header) {
	if f.UpstreamRequestID == "" {
		f.UpstreamRequestID = h.Get("X-Request-Id")
	}
	message := strings.ToLower(f.Message)
	switch {
	case filtered(f.VendorCode):
		f.Code = schemas.ContentFiltered
	case f.HTTPStatus == http.StatusNotFound && strings.Contains(message, "resource not found"):
		f.Code = schemas.InvalidRequest // the path or the API's version is wrong: no other model helps
	case f.Code == schemas.RateLimited &&
		(strings.Contains(message, "high demand") || strings.Contains(message, "temporarily unable to process")):
		f.Code = schemas.Overloaded // capacity, and not the quota
	}
}

// filtered knows the spellings of a refusal by the content filter:
// content_filter, contentFilter, content_policy_violation, ….
func filtered(code string) bool {
	c := strings.ReplaceAll(strings.ToLower(code), "_", "")
	return strings.Contains(c, "contentfilter") || strings.Contains(c, "contentpolicy")
}

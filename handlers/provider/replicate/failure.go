package replicate

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// words are what the vendor and its models say in the text of an error: there
// are no codes to go by but a few inside the text. The first that is found
// counts. They are in lower case.
var words = []struct {
	text string
	code schemas.Code
}{
	{"nsfw", schemas.ContentFiltered},
	{"(e005)", schemas.ContentFiltered},
	{"flagged", schemas.ContentFiltered},
	{"sensitive content", schemas.ContentFiltered},
	{"content policy", schemas.ContentFiltered},
	{"moderation", schemas.ContentFiltered},
	{"safety filter", schemas.ContentFiltered},
	{"safety checker", schemas.ContentFiltered},
	{"safety system", schemas.ContentFiltered},
	{"copyright restrictions", schemas.ContentFiltered},

	{"out of memory", schemas.Internal},

	{"context length", schemas.ContextLength},
	{"context window", schemas.ContextLength},
	{"prompt is too long", schemas.ContextLength},
	{"prompt length", schemas.ContextLength},
	{"input is too long", schemas.ContextLength},
	{"maximum number of tokens", schemas.ContextLength},

	{"insufficient credit", schemas.QuotaExhausted},
	{"spend limit", schemas.QuotaExhausted},
	{"throttled", schemas.RateLimited},
	{"rate limit", schemas.RateLimited},

	{"high demand", schemas.Overloaded},
	{"(e003)", schemas.Overloaded},
	{"overloaded", schemas.Overloaded},
	{"at capacity", schemas.Overloaded},
	{"temporarily unavailable", schemas.Unavailable},
	{"(e004)", schemas.Unavailable},
	{"timed out", schemas.Timeout},
	{"timeout", schemas.Timeout},
	{"input validation failed", schemas.InvalidRequest},
	{"invalid input", schemas.InvalidRequest},
	{"(e006)", schemas.InvalidRequest},
}

// meaning returns what a text says, "" where it says nothing that is known.
func meaning(message string) schemas.Code {
	m := strings.ToLower(message)
	for _, w := range words {
		if strings.Contains(m, w.text) {
			return w.code
		}
	}
	return ""
}

// vendorCode is a code inside the text of an error.
var vendorCode = regexp.MustCompile(`\bE\d{3,5}\b`)

// resets is where a refusal says, in its text only, when to ask again.
var resets = regexp.MustCompile(`resets in ~?(\d+(?:\.\d+)?)\s*(ms|s|m|h)`)

// interpret sets the code of f, which holds the default of its status, by what
// the vendor says, where the status leaves that open.
func interpret(f *schemas.Failure) *schemas.Failure {
	said := meaning(f.Message)
	switch f.Code {
	case schemas.Internal, schemas.Unavailable:
		if said != "" {
			f.Code = said
		}
	case schemas.InvalidRequest: // its text quotes the request: only what no field is called counts
		if said == schemas.ContentFiltered || said == schemas.ContextLength || said == schemas.QuotaExhausted {
			f.Code = said
		}
	}
	f.VendorCode = vendorCode.FindString(f.Message)
	if f.RetryAfterMS == 0 && f.Code == schemas.RateLimited {
		f.RetryAfterMS = told(f.Message)
	}
	return f
}

// told reads when a rate limit resets, in milliseconds.
func told(message string) int64 {
	m := resets.FindStringSubmatch(message)
	if m == nil {
		return 0
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil || n > 1e6 {
		return 0
	}
	return int64(n * map[string]float64{"ms": 1, "s": 1e3, "m": 6e4, "h": 3.6e6}[m[2]])
}

// refusal reads an answer that is none.
func (a *Adapter) refusal(res *http.Response) *schemas.Failure {
	f := interpret(wire.Refusal(res, requestID, a.config.APIKey.Reveal()))
	if f.RetryAfterMS == 0 && f.Code == schemas.RateLimited {
		if n, err := strconv.ParseInt(res.Header.Get("Ratelimit-Reset"), 10, 32); err == nil && n > 0 {
			f.RetryAfterMS = 1000 * n
		}
	}
	return f
}

// requestID is the header with the vendor's id of the HTTP request: the only one
// that it sends is its content network's.
const requestID = "Cf-Ray"

// broke is the failure of a prediction that came to a bad end; message is the
// model's own.
func (a *Adapter) broke(code schemas.Code, message, fallback string) *schemas.Failure {
	const limit = 2 << 10
	if len(message) > limit {
		message = strings.ToValidUTF8(message[:limit], "")
	}
	f := wire.Told(wire.ErrorBody{Message: message}, a.config.APIKey.Reveal())
	f.Code, f.Phase = code, schemas.PhaseBody
	if f.Message == "" {
		f.Message = fallback
	}
	return f
}

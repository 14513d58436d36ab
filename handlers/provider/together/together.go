// Package together speaks the API of Together AI: OpenAI's dialect with
// differences, and pictures, films, sound and reranking in its own. The wire facts
// are in Together's published openapi.yaml and were checked against recorded
// exchanges.
package together

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/openai"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// vendor is the key of this adapter's own fields in Ext.
const vendor = "together"

// Entry offers this provider as kind "together".
var Entry provider.Entry = catalog.Define(vendor, Defaults, New)

// Defaults are the settings for Together itself.
var Defaults = Config{BaseURL: "https://api.together.ai/v1"}

// Config says where the API is.
type Config struct {
	BaseURL string            `json:"base_url"`
	APIKey  catalog.Secret    `json:"api_key"`
	Headers map[string]string `json:"headers"` // sent with every call
}

// Validate reports the settings that cannot work.
func (c *Config) Validate() error {
	return errors.Join(
		wire.CheckBase(c.BaseURL, "https://api.together.ai/v1"),
		wire.CheckKey(c.APIKey.Reveal()),
		wire.CheckHeaders(c.Headers),
	)
}

// New returns a provider that asks the API at c.BaseURL. It can also be probed.
func New(c Config, env catalog.Env) (provider.Provider, error) {
	a, err := newAdapter(c)
	if err != nil {
		return nil, err
	}
	return provider.OverHTTP(a, env.HTTP), nil
}

// adapter implements [provider.JobAdapter] and [provider.ProbeEncoder].
type adapter struct {
	*openai.Adapter
	secret string // never to be quoted
}

func newAdapter(c Config) (*adapter, error) {
	a, err := openai.NewAdapter(openai.Config{
		BaseURL: c.BaseURL, APIKey: c.APIKey, Headers: c.Headers,
		MaxTokensField: "max_tokens", TopK: true, DeveloperAsSystem: true, MediaURL: true,
		NoStreamUsage: true, // it comes with the finish, unasked
	}, openai.Variant{
		Name: vendor, RequestID: requestID, Words: words, Fields: fields, Interpret: interpret,
		Operations: []schemas.Operation{
			schemas.OpChat, schemas.OpComplete, schemas.OpEmbed, schemas.OpTranscribe, schemas.OpModels,
			schemas.OpFileGet, schemas.OpFileList, schemas.OpFileDelete,
		},
	})
	return &adapter{a, c.APIKey.Reveal()}, err
}

// words are the vendor's own error types and codes.
var words = map[string]schemas.Code{
	"credit_limit":        schemas.QuotaExhausted,
	"model_not_available": schemas.NotFound, // on shared hardware
}

// requestID is the header with the vendor's id of the HTTP request, which its own
// client takes as well.
const requestID = "Cf-Ray"

// Encode implements [provider.Adapter].
func (a *adapter) Encode(ctx context.Context, call provider.Call) (*http.Request, error) {
	switch call.Request.Operation() {
	case schemas.OpChat, schemas.OpComplete:
		call, _, err := plain(call)
		if err != nil {
			return nil, err
		}
		return a.Adapter.Encode(ctx, call)
	case schemas.OpEmbed:
		if call.Request.Embed.Dimensions != nil {
			return nil, wire.Unsupported("embed.dimensions", "are the model's own at this provider")
		}
	case schemas.OpRerank:
		return a.post(ctx, call, "rerank", rerank)
	case schemas.OpImage, schemas.OpImageEdit:
		return a.post(ctx, call, "images/generations", image)
	case schemas.OpSpeech:
		return a.post(ctx, call, "audio/speech", speech)
	case schemas.OpVideo:
		return a.post(ctx, call, pathVideos, video)
	case schemas.OpTranscribe:
		return a.transcribe(ctx, call)
	case schemas.OpFileUpload:
		return a.upload(ctx, call)
	}
	return a.Adapter.Encode(ctx, call)
}

func (a *adapter) post(
	ctx context.Context, call provider.Call, path string, body func(provider.Call) ([]byte, error),
) (*http.Request, error) {
	b, err := body(call)
	if err != nil {
		return nil, err
	}
	return a.Post(ctx, call, path, b)
}

// extended lays the fields that the requester has for this vendor over body.
func extended(body []byte, req *schemas.Request, fixed ...string) ([]byte, error) {
	if ext := req.Ext[vendor]; len(ext) > 0 {
		return wire.Overlay(body, "ext."+vendor, ext, fixed...)
	}
	return body, nil
}

// Decode implements [provider.Adapter].
func (a *adapter) Decode(res *http.Response, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	op := call.Request.Operation()
	if res.StatusCode/100 != 2 {
		return nil, a.Refusal(res)
	}
	if !call.Request.Stream {
		emit = nil
	}
	switch op {
	case schemas.OpChat:
		return a.chat(res, call, emit)
	case schemas.OpRerank:
		out, err := a.ranks(res, call)
		return a.Sign(res, out, err)
	case schemas.OpVideo:
		out, err := a.film(res, call)
		return a.Sign(res, out, err)
	case schemas.OpSpeech:
		return a.speech(res, call, emit)
	}
	out, err := a.Adapter.Decode(res, call, emit)
	if err != nil {
		return nil, err
	}
	switch op {
	case schemas.OpImage, schemas.OpImageEdit:
		painted(out, call)
	case schemas.OpTranscribe:
		out.Model = call.Model // which the answer does not say
	}
	return out, nil
}

// interpret has the last word on a failure. The vendor's meanings of statuses are
// in its guide to error codes.
func interpret(f *schemas.Failure, h http.Header) {
	told := f.VendorCode != "" || f.VendorType != "" // by the API and not something before it
	switch {
	case f.HTTPStatus == http.StatusForbidden && told && !denied(f.Message):
		f.Code = schemas.ContextLength // input and max_tokens are above the model's
	case f.HTTPStatus == http.StatusServiceUnavailable && told:
		f.Code = schemas.Overloaded
	case f.HTTPStatus >= 520 && f.HTTPStatus <= 523: // of Cloudflare
		f.Code = schemas.Unavailable
	case f.HTTPStatus == 524:
		f.Code = schemas.Timeout
	}
	if f.Code == schemas.RateLimited && f.RetryAfterMS == 0 {
		if n, err := strconv.ParseInt(h.Get("X-Ratelimit-Reset"), 10, 64); err == nil && n > 0 && n <= longestReset {
			f.RetryAfterMS = n * 1000
		}
	}
}

// longestReset is up to what number a reset header tells seconds.
const longestReset = 3600

// denied knows a missing right by the message alone.
func denied(message string) bool {
	m := strings.ToLower(message)
	for _, text := range []string{"permission", "not allowed", "not authorized", "access"} {
		if strings.Contains(m, text) {
			return true
		}
	}
	return false
}

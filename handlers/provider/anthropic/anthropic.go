// Package anthropic speaks Anthropic's messages API. The wire facts are in the
// vendor's SDK (github.com/anthropics/anthropic-sdk-go) and its page on errors,
// and were checked against recorded exchanges.
package anthropic

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// vendor is the key of this adapter's own fields in Ext.
const vendor = "anthropic"

// Entry offers this provider as kind "anthropic".
var Entry provider.Entry = catalog.Define(vendor, Defaults, New)

// Defaults are the settings for Anthropic itself.
var Defaults = Config{
	BaseURL:          "https://api.anthropic.com",
	Version:          "2023-06-01",
	DefaultMaxTokens: 4096,
}

// Config says where the API is and who asks.
type Config struct {
	BaseURL string            `json:"base_url"` // without /v1
	APIKey  catalog.Secret    `json:"api_key"`  // may be empty where a proxy adds it
	Version string            `json:"version"`  // of the API, for the header anthropic-version
	Headers map[string]string `json:"headers"`  // sent with every call, such as anthropic-beta
	// DefaultMaxTokens is the limit on output of requests that name none: the API
	// demands one.
	DefaultMaxTokens int64 `json:"default_max_tokens"`
}

// Validate reports the settings that cannot work.
func (c *Config) Validate() error {
	if c.DefaultMaxTokens <= 0 {
		return errors.New("default_max_tokens is not positive: write a limit such as 4096")
	}
	return errors.Join(
		wire.CheckBase(c.BaseURL, "https://api.anthropic.com"),
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

type adapter struct {
	config   Config
	messages *url.URL
	models   *url.URL
	header   http.Header // of every request
}

func newAdapter(c Config) (*adapter, error) {
	messages, err := wire.Endpoint(c.BaseURL, "v1/messages")
	if err != nil {
		return nil, err
	}
	models, err := wire.Endpoint(c.BaseURL, "v1/models")
	if err != nil {
		return nil, err
	}
	dialect := map[string]string{"Anthropic-Version": c.Version, "X-Api-Key": c.APIKey.Reveal()}
	return &adapter{config: c, messages: messages, models: models, header: wire.Header(dialect, c.Headers)}, nil
}

// Encode implements [provider.Adapter].
func (a *adapter) Encode(ctx context.Context, call provider.Call) (*http.Request, error) {
	if op := call.Request.Operation(); op != schemas.OpChat {
		return nil, wire.Unsupported("op", "is not offered by this provider")
	}
	body, err := a.body(call)
	if err != nil {
		return nil, err
	}
	h := maps.Clone(a.header)
	if call.IdempotencyKey != "" {
		h[wire.IdempotencyKey] = []string{call.IdempotencyKey}
	}
	return wire.Post(ctx, a.messages, h, body), nil
}

// EncodeProbe implements [provider.ProbeEncoder]: listing models costs nothing.
func (a *adapter) EncodeProbe(ctx context.Context) (*http.Request, error) {
	return wire.Get(ctx, a.models, maps.Clone(a.header)), nil
}

// requestID is the header with the vendor's id of the HTTP request.
const requestID = "Request-Id"

// Decode implements [provider.Adapter].
func (a *adapter) Decode(res *http.Response, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	if res.StatusCode/100 != 2 {
		return nil, interpret(wire.Refusal(res, requestID, a.config.APIKey.Reveal()))
	}
	if !call.Request.Stream {
		emit = nil
	}
	answer, err := a.read(res, call.Request, wire.NewAnswer(emit))
	if err != nil {
		f := schemas.AsFailure(err)
		f.HTTPStatus = res.StatusCode
		if f.UpstreamRequestID == "" {
			f.UpstreamRequestID = res.Header.Get(requestID)
		}
		return nil, f
	}
	answer.UpstreamReqID = res.Header.Get(requestID)
	answer.Warnings = unsaid(call.Request)
	return answer, nil
}

func (a *adapter) read(res *http.Response, req *schemas.Request, answer *wire.Answer) (*schemas.Response, error) {
	r := reader{answer: answer, req: req, secret: a.config.APIKey.Reveal()}
	form, body := wire.Open(res, req.Stream)
	switch form {
	case wire.Events:
		return r.stream(body)
	case wire.JSON: // also in answer to a request for a stream, from proxies that can't
		return r.whole(body, res.ContentLength)
	}
	return nil, wire.Malformed("its content type is neither JSON nor an event stream", nil)
}

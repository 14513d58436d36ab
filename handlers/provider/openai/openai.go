// Package openai speaks the chat completions API of OpenAI and of the many
// servers that copy it. The wire facts are in the API's specification
// (github.com/openai/openai-openapi) and were checked against recorded
// exchanges.
package openai

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
const vendor = "openai"

// Entry offers this provider as kind "openai".
var Entry provider.Entry = catalog.Define(vendor, Defaults, New)

// Defaults are the settings for OpenAI itself. Vendors that copy its API start
// from them.
var Defaults = Config{
	BaseURL:        "https://api.openai.com/v1",
	MaxTokensField: "max_completion_tokens",
	EndUserField:   "safety_identifier",
}

// Config says where the API is and which dialect of it is spoken there.
type Config struct {
	BaseURL      string            `json:"base_url"`
	APIKey       catalog.Secret    `json:"api_key"` // may be empty: servers of one's own often want none
	Organization string            `json:"organization"`
	Project      string            `json:"project"`
	Headers      map[string]string `json:"headers"` // sent with every call

	// MaxTokensField is the name of the limit on output: max_completion_tokens at
	// OpenAI, max_tokens at most others.
	MaxTokensField string `json:"max_tokens_field"`
	// EndUserField is where the end user's id goes; empty: nowhere.
	EndUserField string `json:"end_user_field"`
	// TopK sends top_k, which OpenAI itself refuses.
	TopK bool `json:"top_k"`
	// DeveloperAsSystem sends developer messages as system messages, for chat
	// templates that know no developer.
	DeveloperAsSystem bool `json:"developer_as_system"`
	// FlattenText joins the text parts of a message, for servers that want strings.
	FlattenText bool `json:"flatten_text"`
	// NoStreamUsage leaves stream_options out, for servers that refuse it. The
	// usage of streams is then estimated.
	NoStreamUsage bool `json:"no_stream_usage"`
	// DoneOptional accepts a stream that ends without [DONE] after every choice has
	// finished.
	DoneOptional bool `json:"done_optional"`
}

// Validate reports the settings that cannot work.
func (c *Config) Validate() error {
	if c.MaxTokensField == "" {
		return errors.New("max_tokens_field is empty: write max_completion_tokens or max_tokens")
	}
	return errors.Join(
		wire.CheckBase(c.BaseURL, "https://api.openai.com/v1"),
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
	config Config
	chat   *url.URL
	models *url.URL
	header http.Header // of every request
}

func newAdapter(c Config) (*adapter, error) {
	chat, err := wire.Endpoint(c.BaseURL, "chat/completions")
	if err != nil {
		return nil, err
	}
	models, err := wire.Endpoint(c.BaseURL, "models")
	if err != nil {
		return nil, err
	}
	dialect := map[string]string{"OpenAI-Organization": c.Organization, "OpenAI-Project": c.Project}
	if c.APIKey != "" {
		dialect["Authorization"] = "Bearer " + c.APIKey.Reveal()
	}
	return &adapter{config: c, chat: chat, models: models, header: wire.Header(dialect, c.Headers)}, nil
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
	return wire.Post(ctx, a.chat, h, body), nil
}

// EncodeProbe implements [provider.ProbeEncoder]: listing models costs nothing.
func (a *adapter) EncodeProbe(ctx context.Context) (*http.Request, error) {
	return wire.Get(ctx, a.models, maps.Clone(a.header)), nil
}

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
	answer.Warnings = a.unsaid(call.Request)
	return answer, nil
}

// requestID is the header with the vendor's id of the HTTP request.
const requestID = "X-Request-Id"

func (a *adapter) read(res *http.Response, req *schemas.Request, answer *wire.Answer) (*schemas.Response, error) {
	form, body := wire.Open(res, req.Stream)
	switch form {
	case wire.Events:
		return a.stream(body, req, answer)
	case wire.JSON: // also in answer to a request for a stream: some servers can't
		return a.whole(body, res.ContentLength, req, answer)
	}
	return nil, wire.Malformed("its content type is neither JSON nor an event stream", nil)
}

// Package ai21 speaks the API of AI21 Labs: chats with Jamba in OpenAI's dialect,
// text only, and the older API that completes a prompt. The wire facts are in
// AI21's reference and its Python client, and were checked against recorded
// exchanges.
package ai21

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/openai"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// vendor is the key of this adapter's own fields in Ext.
const vendor = "ai21"

// Entry offers this provider as kind "ai21".
var Entry provider.Entry = catalog.Define(vendor, Defaults, New)

// Defaults are the settings for AI21 itself. AI21 has announced another platform;
// what that is like is for the configuration to say.
var Defaults = Config{BaseURL: "https://api.ai21.com/studio/v1", MaxTokens: 4096}

// Config says where the API is and what it takes there.
type Config struct {
	BaseURL string            `json:"base_url"`
	APIKey  catalog.Secret    `json:"api_key"`
	Headers map[string]string `json:"headers"` // sent with every call
	// MaxTokens is the highest limit on output that is accepted; 0: any.
	MaxTokens int64 `json:"max_tokens"`
	// StreamTools streams answers to requests with tools. AI21 itself refuses that;
	// the answer then comes at once and is passed on as a stream.
	StreamTools bool `json:"stream_tools"`
	// JSONSchema sends schemas of answers, which AI21 itself does not know.
	JSONSchema bool `json:"json_schema"`
}

// Validate reports the settings that cannot work.
func (c *Config) Validate() error {
	if c.MaxTokens < 0 {
		return errors.New("max_tokens is negative: write 0 for any")
	}
	return errors.Join(
		wire.CheckBase(c.BaseURL, "https://api.ai21.com/studio/v1"),
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
	*openai.Adapter
	config Config
}

func newAdapter(c Config) (*adapter, error) {
	a, err := openai.NewAdapter(openai.Config{
		BaseURL: c.BaseURL, APIKey: c.APIKey, Headers: c.Headers,
		MaxTokensField: "max_tokens", DeveloperAsSystem: true, FlattenText: true,
		NoStreamUsage: true, // it comes with the last chunk, unasked
	}, openai.Variant{
		Name: vendor, RequestID: "Request-Id", Interpret: interpret, Operations: []schemas.Operation{schemas.OpChat, schemas.OpModels},
	})
	return &adapter{a, c}, err
}

// Encode implements [provider.Adapter].
func (a *adapter) Encode(ctx context.Context, call provider.Call) (*http.Request, error) {
	switch call.Request.Operation() {
	case schemas.OpComplete:
		body, err := complete(call)
		if err != nil {
			return nil, err
		}
		if strings.ContainsAny(call.Model, "/?#%") || call.Model == "" || strings.HasPrefix(call.Model, ".") {
			return nil, wire.Invalid("model", "is no name that can stand in an address")
		}
		return a.Post(ctx, call, call.Model+"/complete", body)
	case schemas.OpChat:
		call, _, err := a.plain(call)
		if err != nil {
			return nil, err
		}
		if len(call.Request.Tools) > 0 && !a.config.StreamTools {
			call.Request.Stream = false
		}
		return a.Adapter.Encode(ctx, call)
	}
	return a.Adapter.Encode(ctx, call)
}

// Decode implements [provider.Adapter].
func (a *adapter) Decode(res *http.Response, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	op := call.Request.Operation()
	switch {
	case res.StatusCode/100 != 2:
		return nil, a.Refusal(res)
	case op == schemas.OpComplete:
		if !call.Request.Stream {
			emit = nil
		}
		out, err := a.completed(res, call, emit)
		return a.Sign(res, out, err)
	case op != schemas.OpChat:
		return a.Adapter.Decode(res, call, emit)
	}
	sent, warnings, err := a.plain(call)
	if err != nil {
		return nil, err
	}
	if len(sent.Request.Tools) > 0 && !a.config.StreamTools && res.Header.Get("Content-Type") == "" {
		whole := *res // which nobody calls a stream
		whole.Header = res.Header.Clone()
		whole.Header.Set("Content-Type", "application/json")
		res = &whole
	}
	if emit != nil {
		emit = named(emit, call.Model)
	}
	out, err := a.Adapter.Decode(res, sent, emit)
	if err != nil {
		return nil, err
	}
	if out.Model == "" { // as AI21 leaves it
		out.Model = call.Model
	}
	out.Warnings = append(out.Warnings, warnings...)
	return out, nil
}

// named returns an emit that says in front of a stream which model answers.
func named(emit provider.Emit, model string) provider.Emit {
	return func(c schemas.Chunk) error {
		if c.Type == schemas.ChunkStart && c.Model == "" {
			c.Model = model
		}
		return emit(c)
	}
}

// interpret has the last word on a failure.
func interpret(f *schemas.Failure, _ http.Header) {
	m := strings.ToLower(f.Message)
	switch {
	case f.HTTPStatus == http.StatusBadRequest && (strings.Contains(m, "authentication") || strings.Contains(m, "api token")):
		f.Code = schemas.Auth
	case f.HTTPStatus == http.StatusForbidden && (strings.Contains(m, "trial") || strings.Contains(m, "credit") || strings.Contains(m, "quota")):
		f.Code = schemas.QuotaExhausted
	case f.Code == schemas.InvalidRequest && tooLong(m):
		f.Code = schemas.ContextLength
	case f.HTTPStatus == http.StatusFailedDependency || f.HTTPStatus == 530: // the model, or what it depends on
		f.Code = schemas.Internal
	case f.HTTPStatus == http.StatusServiceUnavailable && strings.Contains(m, "overload"):
		f.Code = schemas.Overloaded
	}
}

// tooLong knows a prompt that is too long by the message, which is all there is.
func tooLong(message string) bool {
	for _, text := range []string{"context length", "context window", "too long", "too many tokens", "maximum number of tokens", "token limit"} {
		if strings.Contains(message, text) {
			return true
		}
	}
	return false
}

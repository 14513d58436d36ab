// Package openai speaks the API of OpenAI and of the many servers that copy it:
// chats through chat completions or responses, legacy completions, embeddings,
// images, speech, transcription, moderation, video, files and models. The wire
// facts are in the API's specification (github.com/openai/openai-openapi) and
// were checked against recorded exchanges. Vendors that differ in more than a
// [Config] can say have a [Variant].
//
// What a requester gives under Ext for this vendor is laid over the request's
// body (in forms: added as fields), or over the message or the function that has
// it; a tool whose Ext names another type than function is sent as that Ext.
package openai

import (
	"errors"
	"fmt"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// kind is this provider's name in the configuration and the key of its own
// fields in Ext.
const kind = "openai"

// Entry offers this provider as kind "openai".
var Entry provider.Entry = catalog.Define(kind, Defaults, New)

// Defaults are the settings for OpenAI itself. Vendors that copy its API start
// from them.
var Defaults = Config{
	BaseURL:        "https://api.openai.com/v1",
	MaxTokensField: "max_completion_tokens",
	EndUserField:   "safety_identifier",
	PromptCache:    true,
	API:            apiChat,
}

// The APIs for chats.
const (
	apiChat      = "chat"
	apiResponses = "responses"
)

// Config says where the API is and which dialect of it is spoken there.
type Config struct {
	BaseURL      string            `json:"base_url"`
	APIKey       catalog.Secret    `json:"api_key"` // may be empty: servers of one's own often want none
	Organization string            `json:"organization"`
	Project      string            `json:"project"`
	Headers      map[string]string `json:"headers"` // sent with every call

	// API is what chats go through: chat (chat completions) or responses, which
	// alone takes reasoning back and runs tools of OpenAI's own.
	API string `json:"api"`
	// Store lets the responses API keep answers, so that later requests may refer to
	// them. Without it reasoning travels encrypted in the messages.
	Store bool `json:"store"`
	// Background has the responses API answer in its own time, as a job.
	Background bool `json:"background"`

	// MaxTokensField is the name of the limit on output: max_completion_tokens at
	// OpenAI, max_tokens at most others.
	MaxTokensField string `json:"max_tokens_field"`
	// EndUserField is where the end user's id goes; empty: nowhere.
	EndUserField string `json:"end_user_field"`
	// PromptCache sends prompt_cache_key and prompt_cache_options.
	PromptCache bool `json:"prompt_cache"`
	// TopK sends top_k, min_p and repetition_penalty, which OpenAI itself refuses.
	TopK bool `json:"top_k"`
	// DeveloperAsSystem sends developer messages as system messages, for chat
	// templates that know no developer.
	DeveloperAsSystem bool `json:"developer_as_system"`
	// FlattenText joins the text parts of a message, for servers that want strings.
	FlattenText bool `json:"flatten_text"`
	// MediaURL sends films, and sounds by address, as parts video_url and audio_url,
	// as vLLM and Together take them.
	MediaURL bool `json:"media_url"`
	// Embedding is the form in which vectors travel: float or base64, which is
	// smaller. Empty leaves it to the provider.
	Embedding string `json:"embedding_format"`
	// NoStreamUsage leaves stream_options out, for servers that refuse it. The
	// usage of streams is then estimated.
	NoStreamUsage bool `json:"no_stream_usage"`
	// ThinkTags takes what stands between <think> and </think> at the beginning of a
	// text for reasoning, which servers of open models often leave to the reader.
	ThinkTags bool `json:"think_tags"`
	// DoneOptional accepts a stream that ends without [DONE] after every choice has
	// finished.
	DoneOptional bool `json:"done_optional"`
}

// Validate reports the settings that cannot work.
func (c *Config) Validate() error {
	if c.MaxTokensField == "" {
		return errors.New("max_tokens_field is empty: write max_completion_tokens or max_tokens")
	}
	if c.API != "" && c.API != apiChat && c.API != apiResponses {
		return fmt.Errorf("api is %q: write chat or responses", c.API)
	}
	if c.Background && c.API != apiResponses {
		return errors.New("background is for the responses API: write api: responses")
	}
	if c.Embedding != "" && c.Embedding != "float" && c.Embedding != "base64" {
		return fmt.Errorf("embedding_format is %q: write float or base64", c.Embedding)
	}
	return errors.Join(
		wire.CheckBase(c.BaseURL, "https://api.openai.com/v1"),
		wire.CheckKey(c.APIKey.Reveal()),
		wire.CheckHeaders(c.Headers),
	)
}

// New returns a provider that asks the API at c.BaseURL. It can also be probed.
func New(c Config, env catalog.Env) (provider.Provider, error) {
	a, err := NewAdapter(c, Variant{Name: kind})
	if err != nil {
		return nil, err
	}
	return provider.OverHTTP(a, env.HTTP), nil
}

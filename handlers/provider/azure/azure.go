// Package azure speaks Azure OpenAI: OpenAI's API with other addresses, other
// credentials, a content filter that talks, and errors of its own. The facts are
// from Microsoft's documentation (MicrosoftDocs/azure-ai-docs) and were checked
// against recorded exchanges.
package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/openai"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// kind is this provider's name in the configuration and the key of its own
// fields in Ext.
const kind = "azure_openai"

// Entry offers this provider as kind "azure_openai".
var Entry provider.Entry = catalog.Define(kind, Defaults, New)

// Defaults are the settings for the v1 API.
var Defaults = Config{
	Config: openai.Config{
		MaxTokensField: "max_completion_tokens",
		EndUserField:   "user",
		PromptCache:    true,
		API:            "chat",
	},
	Surface: v1,
}

// The surfaces on which Azure offers its models.
const (
	v1          = "v1"          // …/openai/v1/chat/completions, the deployment in the body
	deployments = "deployments" // …/openai/deployments/NAME/chat/completions?api-version=…
	foundry     = "models"      // …/models/chat/completions?api-version=…, for models of other makers
)

// Versions of the dated surfaces: the last that are stable.
const (
	datedVersion   = "2024-10-21"
	foundryVersion = "2024-05-01-preview"
)

// example is a base URL as it is to be written.
const example = "https://RESOURCE.openai.azure.com"

// Config says where the resource is and how to get in. The model of a request is
// the name of a deployment. base_url is the resource's host, with or without
// /openai/v1 behind it.
type Config struct {
	openai.Config

	// Surface is v1, deployments (the dated API) or models (Foundry).
	Surface string `json:"surface"`
	// APIVersion is the date of the API; empty: none on v1, else the last that is
	// stable.
	APIVersion string `json:"api_version"`
	// Token is a bearer token of Entra ID, in place of api_key. It lasts for about an
	// hour: see Entra for tokens that are renewed.
	Token catalog.Secret `json:"token"`
	// Entra fetches and renews bearer tokens for an application, in place of api_key.
	Entra *Entra `json:"entra"`
	// Spillover is the deployment that takes what a provisioned one cannot.
	Spillover string `json:"spillover_deployment"`
}

// maxHeaders is how many headers of one's own Azure takes before it answers with
// status 431, less those that are sent anyway.
const maxHeaders = 10 - 3

// Validate reports the settings that cannot work.
func (c *Config) Validate() error {
	credentials := 0
	for _, given := range []bool{c.APIKey != "", c.Token != "", c.Entra != nil} {
		if given {
			credentials++
		}
	}
	switch {
	case c.BaseURL == "":
		return errors.New("base_url is missing: write the resource's address, like " + example)
	case c.Surface != v1 && c.Surface != deployments && c.Surface != foundry:
		return fmt.Errorf("surface is %q: write v1, deployments or models", c.Surface)
	case credentials > 1:
		return errors.New("api_key, token and entra are given together: keep one")
	case len(c.Headers) > maxHeaders:
		return fmt.Errorf("headers has %d entries: Azure refuses more than 10 in all, keep at most %d", len(c.Headers), maxHeaders)
	case c.API == "responses" && c.Surface == foundry:
		return errors.New("api is responses, which surface models has not: write surface: v1")
	}
	if c.Entra != nil {
		if err := c.Entra.validate(); err != nil {
			return err
		}
	}
	return errors.Join(wire.CheckBase(c.BaseURL, example), wire.CheckKey(c.Token.Reveal()), c.Config.Validate())
}

// New returns a provider that asks the resource at c.BaseURL. It can also be
// probed.
func New(c Config, env catalog.Env) (provider.Provider, error) {
	var tokens TokenSource
	if c.Token != "" {
		tokens = fixed(c.Token)
	}
	if c.Entra != nil {
		tokens = c.Entra.source(env.HTTP)
	}
	return NewWithTokens(c, tokens, env)
}

// TokenSource gives the bearer token for a call. It is asked for each, by many
// calls at once, and answers from memory while a token is good.
type TokenSource interface {
	Token(ctx context.Context) (string, error)
}

type fixed catalog.Secret

// Token implements [TokenSource].
func (f fixed) Token(context.Context) (string, error) { return catalog.Secret(f).Reveal(), nil }

// NewWithTokens is New for a program that has tokens of Entra ID from elsewhere.
// tokens may be nil: then the key counts.
func NewWithTokens(c Config, tokens TokenSource, env catalog.Env) (provider.Provider, error) {
	a, err := newAdapter(c)
	if err != nil {
		return nil, err
	}
	client := env.HTTP
	if tokens != nil {
		client = authorized(client, tokens)
	}
	return provider.OverHTTP(a, client), nil
}

func newAdapter(c Config) (*openai.Adapter, error) {
	place, err := newPlace(&c)
	if err != nil {
		return nil, err
	}
	if c.Surface != v1 { // which alone knows the newer fields
		c.PromptCache = false
	}
	return openai.NewAdapter(c.Config, openai.Variant{
		Name:       kind,
		Operations: offered,
		KeyHeader:  "api-key",
		RequestID:  "Apim-Request-Id",
		Words:      words,
		Address:    place.address,
		Header: func(h http.Header, _ provider.Call) error {
			h.Del("OpenAI-Organization")
			h.Del("OpenAI-Project")
			if c.Spillover != "" {
				h.Set("X-Ms-Spillover-Deployment", c.Spillover)
			}
			return nil
		},
		Interpret: interpret,
		Response:  complete,
	})
}

// offered are the operations that Azure has. Moderation is done by its filter.
var offered = []schemas.Operation{
	schemas.OpChat, schemas.OpComplete, schemas.OpEmbed, schemas.OpImage, schemas.OpImageEdit, schemas.OpSpeech,
	schemas.OpTranscribe, schemas.OpVideo, schemas.OpCountTokens, schemas.OpModels,
	schemas.OpFileUpload, schemas.OpFileGet, schemas.OpFileList, schemas.OpFileDelete,
}

// complete adds what Azure says in headers: the tier that was billed, and the
// deployment that answered where it is not the one that was asked.
func complete(res *schemas.Response, h http.Header) {
	if res.UpstreamReqID == "" {
		res.UpstreamReqID = h.Get("X-Request-Id")
	}
	if tier := h.Get("Azureai-Processed-Tier"); tier != "" && res.Usage.Tier == "" {
		res.Usage.Tier = tier
	}
	if h.Get("X-Ms-Is-Spilled-Over") != "true" {
		return
	}
	b := jsontext.AppendStringField([]byte{'{'}, "deployment", h.Get("X-Ms-Deployment-Name"))
	b = jsontext.AppendStringField(b, "spillover_from", h.Get("X-Ms-Spillover-From-Deployment"))
	if res.Ext == nil {
		res.Ext = make(map[string]json.RawMessage, 1)
	}
	res.Ext[kind] = append(b, '}')
}

// Package huggingface speaks to what Hugging Face offers: the router, which is
// OpenAI's API in front of many partners, with the vendor's own pipelines behind
// it, and dedicated endpoints that run TGI (text generation) or TEI (embeddings
// and rerankings). Endpoints that run vLLM, SGLang or llama.cpp speak OpenAI's API
// and nothing else: they are of kind openai. The wire facts are in the vendor's
// hub-docs and in TGI's OpenAPI, and were checked against recorded exchanges.
package huggingface

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/openai"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// vendor is the key of this adapter's own fields in Ext.
const vendor = "huggingface"

// Entry offers this provider as kind "huggingface".
var Entry provider.Entry = catalog.Define(vendor, Defaults, New)

// Defaults are the settings for the router.
var Defaults = Config{
	BaseURL:      "https://router.huggingface.co/v1",
	InferenceURL: "https://router.huggingface.co/hf-inference",
	Server:       serverRouter,
	API:          apiChat,
	Embeddings:   embedPipeline,
}

// What answers at the base URL.
const (
	serverRouter = "router"
	serverTGI    = "tgi"
	serverTEI    = "tei"
)

// The APIs for chats, in OpenAI's form.
const (
	apiChat      = "chat"
	apiResponses = "responses"
)

// How embeddings are asked for at the router.
const (
	embedPipeline = "pipeline"
	embedOpenAI   = "openai"
)

// Config says where the API is, what it is, and who asks.
type Config struct {
	// BaseURL is the router's, with /v1, or an endpoint's, without. For the
	// embeddings of one partner it may be the partner's address at the router.
	BaseURL string            `json:"base_url"`
	APIKey  catalog.Secret    `json:"api_key"` // may be empty for public endpoints
	Headers map[string]string `json:"headers"` // sent with every call
	// BillTo is the organization that pays for the router; empty: the key's owner.
	BillTo string `json:"bill_to"`
	// Server is what runs at BaseURL: router, tgi or tei.
	Server string `json:"server"`
	// InferenceURL is where the vendor's own pipelines are, for what the router has
	// no OpenAI form of.
	InferenceURL string `json:"inference_url"`
	// API is what chats go through at the router and at TGI: chat (chat completions)
	// or responses.
	API string `json:"api"`
	// Embeddings at the router go through the vendor's pipeline, or in OpenAI's form
	// to the partner at BaseURL: pipeline or openai.
	Embeddings string `json:"embeddings"`
	// ScaleUpSeconds is how long an endpoint that sleeps may hold a call while it
	// starts; 0 lets it refuse at once.
	ScaleUpSeconds int64 `json:"scale_up_seconds"`
}

// Validate reports the settings that cannot work.
func (c *Config) Validate() error {
	var errs []error
	switch c.Server {
	case serverRouter, serverTGI, serverTEI:
	default:
		errs = append(errs, fmt.Errorf("server is %q: write router, tgi or tei", c.Server))
	}
	if c.API != apiChat && c.API != apiResponses {
		errs = append(errs, fmt.Errorf("api is %q: write chat or responses", c.API))
	}
	if c.Embeddings != embedPipeline && c.Embeddings != embedOpenAI {
		errs = append(errs, fmt.Errorf("embeddings is %q: write pipeline or openai", c.Embeddings))
	}
	if c.ScaleUpSeconds < 0 {
		errs = append(errs, errors.New("scale_up_seconds is negative: write 0 for no wait"))
	}
	if c.Server == serverRouter {
		if err := wire.CheckBase(c.InferenceURL, Defaults.InferenceURL); err != nil {
			errs = append(errs, fmt.Errorf("inference_url: %w", err))
		}
	}
	return errors.Join(append(errs,
		wire.CheckBase(c.BaseURL, Defaults.BaseURL),
		wire.CheckKey(c.APIKey.Reveal()),
		wire.CheckHeaders(c.Headers),
		wire.CheckHeaders(map[string]string{"X-HF-Bill-To": c.BillTo}),
	)...)
}

// New returns a provider that asks the API at c.BaseURL. It can also be probed.
func New(c Config, env catalog.Env) (provider.Provider, error) {
	a, err := NewAdapter(c)
	if err != nil {
		return nil, err
	}
	return provider.OverHTTP(a, env.HTTP), nil
}

// Adapter is Hugging Face's [provider.Adapter]. It can also word a probe.
type Adapter struct {
	openai    *openai.Adapter // for what is asked in OpenAI's form
	config    Config
	base      *url.URL
	inference *url.URL
	header    http.Header // of every request that is not in OpenAI's form
}

// NewAdapter returns the adapter for the API at c.BaseURL. The caller has
// validated c.
func NewAdapter(c Config) (*Adapter, error) {
	extra := maps.Clone(c.Headers)
	if extra == nil {
		extra = make(map[string]string)
	}
	if c.BillTo != "" {
		extra["X-HF-Bill-To"] = c.BillTo
	}
	chat := openai.Config{
		BaseURL: c.BaseURL, APIKey: c.APIKey, Headers: extra, API: c.API, MaxTokensField: "max_tokens", DeveloperAsSystem: true,
		DoneOptional: true, // TGI before version 2.1 and some partners end without
	}
	if c.Server != serverRouter {
		chat.BaseURL = strings.TrimSuffix(c.BaseURL, "/") + "/v1"
		if c.ScaleUpSeconds > 0 {
			extra["X-Scale-Up-Timeout"] = strconv.FormatInt(c.ScaleUpSeconds, 10)
		}
	}
	a := &Adapter{config: c}
	v := openai.Variant{Name: vendor, RequestID: requestID, Interpret: a.interpretInStream}
	if c.Server == serverTGI {
		v.Fields = grammarField
	}
	var err error
	if a.openai, err = openai.NewAdapter(chat, v); err != nil {
		return nil, err
	}
	if a.base, err = wire.Endpoint(c.BaseURL, ""); err != nil {
		return nil, err
	}
	if a.inference, err = wire.Endpoint(c.InferenceURL, ""); err != nil {
		return nil, err
	}
	dialect := map[string]string{}
	if c.APIKey != "" {
		dialect["Authorization"] = "Bearer " + c.APIKey.Reveal()
	}
	a.header = wire.Header(dialect, extra)
	return a, nil
}

// requestID is the header with the vendor's id of the HTTP request.
const requestID = "X-Request-Id"

// likeOpenAI reports whether an operation is asked for in OpenAI's form.
func (a *Adapter) likeOpenAI(op schemas.Operation) bool {
	switch op {
	case schemas.OpChat:
		return a.config.Server != serverTEI
	case schemas.OpEmbed:
		return a.config.Server == serverRouter && a.config.Embeddings == embedOpenAI
	}
	return false
}

// Encode implements [provider.Adapter].
func (a *Adapter) Encode(ctx context.Context, call provider.Call) (*http.Request, error) {
	op := call.Request.Operation()
	switch {
	case a.likeOpenAI(op):
		if a.config.Server == serverTGI {
			call = ungrammared(call)
		}
		return a.openai.Encode(ctx, call)
	case op == schemas.OpModels:
		return wire.Get(ctx, a.models(), maps.Clone(a.header)), nil
	case op == schemas.OpCountTokens && a.config.Server == serverTGI:
		return a.encodeCount(ctx, call)
	case a.config.Server == serverTEI:
		return a.encodeTEI(ctx, call)
	case op == schemas.OpComplete:
		return a.encodeGenerate(ctx, call)
	case a.config.Server == serverTGI:
		return nil, wire.Unsupported("op", "is not offered by this endpoint: TGI only generates text")
	}
	return a.encodePipeline(ctx, call)
}

func (a *Adapter) models() *url.URL {
	if a.config.Server == serverRouter {
		return a.base.JoinPath("models")
	}
	return a.base.JoinPath("v1/models")
}

// EncodeProbe implements [provider.ProbeEncoder]: the list of models and an
// endpoint's health cost nothing.
func (a *Adapter) EncodeProbe(ctx context.Context) (*http.Request, error) {
	u := a.models()
	if a.config.Server != serverRouter {
		u = a.base.JoinPath("health")
	}
	return wire.Get(ctx, u, maps.Clone(a.header)), nil
}

// post returns a request that is not in OpenAI's form.
func (a *Adapter) post(ctx context.Context, call provider.Call, u *url.URL, body []byte) (*http.Request, error) {
	if ext := call.Request.Ext[vendor]; len(ext) > 0 {
		var err error
		if body, err = wire.Overlay(body, "ext."+vendor, ext, "inputs", "stream", "query", "texts"); err != nil {
			return nil, err
		}
	}
	h := maps.Clone(a.header)
	if call.IdempotencyKey != "" {
		h[wire.IdempotencyKey] = []string{call.IdempotencyKey}
	}
	return wire.Post(ctx, u, h, body), nil
}

// Decode implements [provider.Adapter].
func (a *Adapter) Decode(res *http.Response, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	if res.StatusCode/100 != 2 {
		return nil, a.refusal(res)
	}
	op := call.Request.Operation()
	if a.likeOpenAI(op) {
		return a.openai.Decode(res, call, emit)
	}
	if !call.Request.Stream || op != schemas.OpComplete {
		emit = nil
	}
	answer, err := a.read(res, call, emit)
	if err != nil {
		f := schemas.AsFailure(err)
		f.HTTPStatus = res.StatusCode
		if f.UpstreamRequestID == "" {
			f.UpstreamRequestID = res.Header.Get(requestID)
		}
		return nil, f
	}
	answer.UpstreamReqID = res.Header.Get(requestID)
	if answer.Model == "" && op != schemas.OpModels {
		answer.Model = call.Model
	}
	answer.Warnings = append(answer.Warnings, unsaid(call.Request, a.config.Server)...)
	return answer, nil
}

func (a *Adapter) read(res *http.Response, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	switch op := call.Request.Operation(); op {
	case schemas.OpModels:
		return a.readModels(res)
	case schemas.OpComplete:
		return a.readGenerate(res, call, wire.NewAnswer(emit))
	case schemas.OpCountTokens:
		return a.readCount(res)
	case schemas.OpEmbed:
		return a.readEmbeddings(res, call.Request)
	case schemas.OpRerank:
		return a.readRanks(res, call.Request)
	case schemas.OpTranscribe:
		return a.readTranscript(res)
	case schemas.OpImage, schemas.OpImageEdit:
		return a.readMedia(res, "image/", "images")
	case schemas.OpSpeech:
		return a.readMedia(res, "audio/", "")
	}
	return nil, wire.Unsupported("op", "is not offered by this provider")
}

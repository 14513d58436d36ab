// Package cohere speaks Cohere's own API: chat, embeddings, reranking and speech
// recognition in version 2, and version 1 for what only that one has or for
// servers that know nothing newer. The wire facts are in Cohere's published
// cohere-openapi.yaml and were checked against recorded exchanges.
package cohere

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
const vendor = "cohere"

// Entry offers this provider as kind "cohere".
var Entry provider.Entry = catalog.Define(vendor, Defaults, New)

// Defaults are the settings for Cohere itself.
var Defaults = Config{BaseURL: "https://api.cohere.com", API: v2}

// The versions of the API.
const (
	v1 = "v1"
	v2 = "v2"
)

// Config says where the API is and which version of it is spoken there. What
// Cohere's compatibility API answers at /compatibility/v1 is for kind openai.
type Config struct {
	BaseURL string            `json:"base_url"` // without the version
	APIKey  catalog.Secret    `json:"api_key"`
	Headers map[string]string `json:"headers"` // sent with every call
	// API is v2 or v1, for chat, embed and rerank. Listing models, tokenizing and
	// completion are v1 in either case, transcription is v2.
	API string `json:"api"`
	// SafetyMode is CONTEXTUAL, STRICT or OFF; empty leaves it to Cohere. A request
	// may set its own in ext.cohere.safety_mode.
	SafetyMode string `json:"safety_mode"`
}

// Validate reports the settings that cannot work.
func (c *Config) Validate() error {
	if c.API != v1 && c.API != v2 {
		return errors.New("api is neither v1 nor v2: write v2")
	}
	switch c.SafetyMode {
	case "", "CONTEXTUAL", "STRICT", "OFF":
	default:
		return errors.New("safety_mode is unknown: write CONTEXTUAL, STRICT or OFF, or leave it out")
	}
	return errors.Join(
		wire.CheckBase(c.BaseURL, "https://api.cohere.com"),
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
	urls   map[string]*url.URL // by path; never changed
	header http.Header         // of every request
}

// The paths below the base URL.
const (
	pathChat       = "v2/chat"
	pathChat1      = "v1/chat"
	pathGenerate   = "v1/generate"
	pathEmbed      = "v2/embed"
	pathEmbed1     = "v1/embed"
	pathRerank     = "v2/rerank"
	pathRerank1    = "v1/rerank"
	pathModels     = "v1/models"
	pathTokenize   = "v1/tokenize"
	pathTranscribe = "v2/audio/transcriptions"
)

func newAdapter(c Config) (*adapter, error) {
	a := &adapter{config: c, urls: make(map[string]*url.URL)}
	for _, path := range []string{
		pathChat, pathChat1, pathGenerate, pathEmbed, pathEmbed1, pathRerank, pathRerank1, pathModels, pathTokenize, pathTranscribe,
	} {
		u, err := wire.Endpoint(c.BaseURL, path)
		if err != nil {
			return nil, err
		}
		a.urls[path] = u
	}
	dialect := map[string]string{"X-Client-Name": "sira"}
	if c.APIKey != "" {
		dialect["Authorization"] = "Bearer " + c.APIKey.Reveal()
	}
	a.header = wire.Header(dialect, c.Headers)
	return a, nil
}

// Encode implements [provider.Adapter].
func (a *adapter) Encode(ctx context.Context, call provider.Call) (*http.Request, error) {
	var path string
	var body []byte
	var err error
	old := a.config.API == v1
	switch call.Request.Operation() {
	case schemas.OpChat:
		if path = pathChat; old {
			path = pathChat1
			body, err = a.chat1(call)
		} else {
			body, err = a.chat(call)
		}
	case schemas.OpComplete:
		path = pathGenerate
		body, err = generate(call)
	case schemas.OpEmbed:
		if path = pathEmbed; old {
			path = pathEmbed1
		}
		body, err = embed(call, old)
	case schemas.OpRerank:
		if path = pathRerank; old {
			path = pathRerank1
		}
		body, err = rerank(call, old)
	case schemas.OpCountTokens:
		path = pathTokenize
		body, err = tokenize(call)
	case schemas.OpTranscribe:
		return a.transcribe(ctx, call)
	case schemas.OpModels:
		return a.list(ctx, "1000"), nil
	default:
		return nil, wire.Unsupported("op", "is not offered by this provider")
	}
	if err != nil {
		return nil, err
	}
	return wire.Post(ctx, a.urls[path], maps.Clone(a.header), body), nil
}

// EncodeProbe implements [provider.ProbeEncoder]: listing a model costs nothing.
func (a *adapter) EncodeProbe(ctx context.Context) (*http.Request, error) {
	return a.list(ctx, "1"), nil
}

// list returns the request for up to so many models; a thousand is the limit.
func (a *adapter) list(ctx context.Context, size string) *http.Request {
	u := *a.urls[pathModels]
	u.RawQuery = "page_size=" + size
	return wire.Get(ctx, &u, maps.Clone(a.header))
}

// Decode implements [provider.Adapter].
func (a *adapter) Decode(res *http.Response, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	if res.StatusCode/100 != 2 {
		return nil, interpret(wire.Refusal(res, requestID, a.config.APIKey.Reveal()))
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
	if w := res.Header.Get("X-API-Warning"); w != "" {
		answer.Warnings = append(answer.Warnings, wire.Told(wire.ErrorBody{Message: w}, a.config.APIKey.Reveal()).Message)
	}
	answer.Warnings = append(answer.Warnings, a.unsaid(call.Request)...)
	return answer, nil
}

// requestID is the header with the vendor's id of the HTTP request.
const requestID = "X-Debug-Trace-Id"

func (a *adapter) read(res *http.Response, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	op := call.Request.Operation()
	if op == schemas.OpChat || op == schemas.OpComplete {
		if !call.Request.Stream {
			emit = nil
		}
		r := &reader{
			req: call.Request, answer: wire.NewAnswer(emit), secret: a.config.APIKey.Reveal(), model: call.Model,
			old: op == schemas.OpComplete || a.config.API == v1,
		}
		return r.read(res)
	}
	if form, _ := wire.Open(res, false); form != wire.JSON {
		return nil, wire.Malformed("its content type is not JSON", nil)
	}
	body, err := wire.ReadAll(res.Body, res.ContentLength)
	if err != nil {
		return nil, err
	}
	return a.atOnce(op, body, call)
}

// Package anthropic speaks Anthropic's messages API, as Anthropic itself offers it
// and as Vertex AI does. The wire facts are in the vendor's SDK
// (github.com/anthropics/anthropic-sdk-go) and its page on errors, and were
// checked against recorded exchanges.
package anthropic

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// vendor is the key of this adapter's own fields in Ext.
const vendor = "anthropic"

// Entry offers this provider as kind "anthropic".
var Entry provider.Entry = catalog.Define(vendor, Defaults, New)

// Defaults are the settings for Anthropic itself. With a project they are those
// for Vertex AI at its global address.
var Defaults = Config{
	Version:          "2023-06-01",
	Location:         "global",
	DefaultMaxTokens: 4096,
}

// Config says where the API is and who asks. With a project it is Vertex AI's
// form of the API.
type Config struct {
	// BaseURL is the API's address without /v1; empty: Anthropic's own, or that of
	// Vertex AI at the location.
	BaseURL string `json:"base_url"`
	// APIKey is Anthropic's key, or the OAuth access token for Vertex AI, which
	// expires after an hour. It may be empty where a proxy adds it.
	APIKey   catalog.Secret    `json:"api_key"`
	Version  string            `json:"version"`  // of the API, for the header anthropic-version
	Project  string            `json:"project"`  // of Vertex AI
	Location string            `json:"location"` // of Vertex AI, such as us-east5, eu or global
	Headers  map[string]string `json:"headers"`  // sent with every call, such as anthropic-beta
	// DefaultMaxTokens is the limit on output of requests that name none: the API
	// demands one. What a request allows for thinking is added to it.
	DefaultMaxTokens int64 `json:"default_max_tokens"`
}

// Validate reports the settings that cannot work.
func (c *Config) Validate() error {
	switch {
	case c.DefaultMaxTokens <= 0:
		return errors.New("default_max_tokens is not positive: write a limit such as 4096")
	case c.Project != "" && (c.Location == "" || strings.ContainsAny(c.Project+c.Location, "/?# ")):
		return errors.New("project and location are not names: write them like my-project and us-east5")
	}
	return errors.Join(
		wire.CheckBase(c.address(), "https://api.anthropic.com"),
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
	vertex   bool
	base     *url.URL
	messages *url.URL
	header   http.Header // of every request
}

func newAdapter(c Config) (*adapter, error) {
	base, err := wire.Endpoint(c.address(), "")
	if err != nil {
		return nil, err
	}
	a := &adapter{config: c, vertex: c.Project != "", base: base, messages: base.JoinPath("v1/messages")}
	dialect := map[string]string{"Anthropic-Version": c.Version, "X-Api-Key": c.APIKey.Reveal()}
	if a.vertex {
		dialect = map[string]string{}
		if c.APIKey != "" {
			dialect["Authorization"] = "Bearer " + c.APIKey.Reveal()
		}
	}
	a.header = wire.Header(dialect, c.Headers)
	return a, nil
}

// Encode implements [provider.Adapter].
func (a *adapter) Encode(ctx context.Context, call provider.Call) (*http.Request, error) {
	switch op := call.Request.Operation(); op {
	case schemas.OpChat:
		return a.chat(ctx, call)
	case schemas.OpCountTokens:
		return a.countTokens(ctx, call)
	case schemas.OpModels:
		return a.get(ctx, a.modelList("1000")), nil
	case schemas.OpComplete, schemas.OpFileUpload, schemas.OpFileGet, schemas.OpFileList, schemas.OpFileDelete:
		switch {
		case a.vertex:
			return nil, wire.Unsupported("op", "is not offered by Vertex AI, only by Anthropic itself")
		case op == schemas.OpComplete:
			return a.complete(ctx, call)
		}
		return a.file(ctx, call)
	}
	return nil, wire.Unsupported("op", "is not offered by this provider")
}

// chat returns the request for an answer, whole or streamed.
func (a *adapter) chat(ctx context.Context, call provider.Call) (*http.Request, error) {
	body, err := a.body(call)
	if err != nil {
		return nil, err
	}
	u := a.messages
	if a.vertex {
		verb := "rawPredict"
		if call.Request.Stream {
			verb = "streamRawPredict"
		}
		if u, err = a.method(call.Model, verb); err != nil {
			return nil, err
		}
	}
	return a.post(ctx, u, call, body), nil
}

func (a *adapter) post(ctx context.Context, u *url.URL, call provider.Call, body []byte) *http.Request {
	return wire.Post(ctx, u, a.headerOf(call), body)
}

func (a *adapter) headerOf(call provider.Call) http.Header {
	h := maps.Clone(a.header)
	if call.IdempotencyKey != "" {
		h[wire.IdempotencyKey] = []string{call.IdempotencyKey}
	}
	return h
}

func (a *adapter) get(ctx context.Context, u *url.URL) *http.Request {
	return wire.Get(ctx, u, maps.Clone(a.header))
}

// EncodeProbe implements [provider.ProbeEncoder]: listing models costs nothing.
func (a *adapter) EncodeProbe(ctx context.Context) (*http.Request, error) {
	return a.get(ctx, a.modelList("1")), nil
}

// requestID is the header with the vendor's id of the HTTP request.
const requestID = "Request-Id"

// Decode implements [provider.Adapter].
func (a *adapter) Decode(res *http.Response, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	if res.StatusCode/100 != 2 {
		return nil, a.refused(res)
	}
	if !call.Request.Stream {
		emit = nil
	}
	answer, err := a.decode(res, call, emit)
	if err != nil {
		f := schemas.AsFailure(err)
		f.HTTPStatus = res.StatusCode
		f.Phase = cmp.Or(f.Phase, schemas.PhaseBody)
		f.UpstreamRequestID = cmp.Or(f.UpstreamRequestID, res.Header.Get(requestID))
		return nil, f
	}
	answer.UpstreamReqID = res.Header.Get(requestID)
	answer.Model = cmp.Or(answer.Model, call.Model)
	answer.Warnings = append(answer.Warnings, unsaid(call.Request)...)
	return answer, nil
}

func (a *adapter) decode(res *http.Response, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	switch call.Request.Operation() {
	case schemas.OpCountTokens:
		return a.counts(res)
	case schemas.OpComplete:
		return a.completed(res, call.Request, wire.NewAnswer(emit))
	case schemas.OpModels:
		return a.listed(res)
	case schemas.OpFileUpload, schemas.OpFileGet, schemas.OpFileList, schemas.OpFileDelete:
		return a.filed(res, call.Request)
	}
	return a.answered(res, call.Request, wire.NewAnswer(emit))
}

// answered reads the answer to a chat.
func (a *adapter) answered(res *http.Response, req *schemas.Request, answer *wire.Answer) (*schemas.Response, error) {
	r := reader{answer: answer, req: req, secret: a.config.APIKey.Reveal()}
	form, body := open(res, req.Stream)
	switch form {
	case wire.Events:
		return r.stream(body)
	case wire.JSON: // also in answer to a request for a stream, from proxies that can't
		return r.whole(body, res.ContentLength)
	}
	return nil, formless()
}

// open is [wire.Open], but looks at an answer that does not say what it is.
func open(res *http.Response, stream bool) (wire.Form, io.Reader) {
	if res.Header.Get("Content-Type") != "" {
		return wire.Open(res, stream)
	}
	r := bufio.NewReader(res.Body)
	for {
		switch b, err := r.Peek(1); {
		case err == nil && bytes.Contains([]byte(" \r\n\t"), b):
			_, _ = r.Discard(1)
		case err == nil && b[0] == '{' || err != nil && !stream:
			return wire.JSON, r
		default:
			return wire.Events, r
		}
	}
}

// formless is the failure for an answer whose form is unknown.
func formless() *schemas.Failure {
	return wire.Malformed("its content type is neither JSON nor an event stream", nil)
}

// object reads an answer that is one JSON object into to, and refuses one that is
// an error with the status of a success. It returns the bytes.
func (a *adapter) object(res *http.Response, to any) ([]byte, error) {
	if form, _ := wire.Open(res, false); form != wire.JSON {
		return nil, wire.Malformed("its content type is not JSON", nil)
	}
	body, err := wire.ReadAll(res.Body, res.ContentLength)
	if err != nil {
		return nil, err
	}
	var refusal struct {
		Kind  text            `json:"type"`
		Error json.RawMessage `json:"error"`
	}
	if err := json.Unmarshal(body, &refusal); err != nil {
		return nil, wire.Malformed("it is not a JSON object", err)
	}
	if refusal.Kind == "error" || len(refusal.Error) > 0 && string(refusal.Error) != "null" {
		return nil, told(body, a.config.APIKey.Reveal())
	}
	if err := json.Unmarshal(body, to); err != nil {
		return nil, wire.Malformed("it is not JSON as agreed", err)
	}
	return body, nil
}

// text is a string, or the JSON of what is there in its place.
type text string

// UnmarshalJSON decodes b.
func (s *text) UnmarshalJSON(b []byte) error {
	c := jsontext.NewCursor(b)
	*s = text(c.Text())
	return nil
}

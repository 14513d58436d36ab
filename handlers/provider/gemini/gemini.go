// Package gemini speaks Google's Gemini API, both as AI Studio offers it and as
// Vertex AI does. The wire facts are in the vendor's SDK
// (google.golang.org/genai) and its pages on generateContent, and were checked
// against recorded exchanges.
package gemini

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// vendor is the key of this adapter's own fields in Ext.
const vendor = "gemini"

// Entry offers this provider as kind "gemini".
var Entry provider.Entry = catalog.Define(vendor, Defaults, New)

// Defaults are the settings for AI Studio. With a project they are those for
// Vertex AI at its global address.
var Defaults = Config{Location: "global"}

// Config says where the API is and who asks. With a project it is Vertex AI's,
// else AI Studio's.
type Config struct {
	// BaseURL is the API's address with its version; empty: that of AI Studio, or
	// that of Vertex AI at the location.
	BaseURL string `json:"base_url"`
	// APIKey is AI Studio's key, or the OAuth access token for Vertex AI, which
	// expires after an hour. It may be empty where a proxy adds it.
	APIKey       catalog.Secret    `json:"api_key"`
	Project      string            `json:"project"`       // of Vertex AI
	Location     string            `json:"location"`      // of Vertex AI, such as europe-west4, eu or global
	QuotaProject string            `json:"quota_project"` // billed in place of the token's project
	Headers      map[string]string `json:"headers"`       // sent with every call
}

// Validate reports the settings that cannot work.
func (c *Config) Validate() error {
	if c.Project != "" && (c.Location == "" || strings.ContainsAny(c.Project+c.Location, "/?# ")) {
		return errors.New("project and location are not names: write them like my-project and europe-west4")
	}
	return errors.Join(
		wire.CheckBase(c.address(), "https://generativelanguage.googleapis.com/v1beta"),
		wire.CheckKey(c.APIKey.Reveal()),
		wire.CheckHeaders(c.Headers),
	)
}

func (c *Config) vertex() bool { return c.Project != "" }

// address returns BaseURL or what stands for it when it is empty.
func (c *Config) address() string {
	switch {
	case c.BaseURL != "":
		return c.BaseURL
	case !c.vertex():
		return "https://generativelanguage.googleapis.com/v1beta"
	case c.Location == "global":
		return "https://aiplatform.googleapis.com/v1"
	case c.Location == "us" || c.Location == "eu":
		return "https://aiplatform." + c.Location + ".rep.googleapis.com/v1"
	}
	return "https://" + c.Location + "-aiplatform.googleapis.com/v1"
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
	vertex bool
	base   *url.URL    // its path has no slash at the end
	header http.Header // of every request
}

var _ provider.JobAdapter = (*adapter)(nil)

func newAdapter(c Config) (*adapter, error) {
	base, err := url.Parse(c.address())
	if err != nil {
		return nil, errors.New("reading base_url: it is no address")
	}
	base.Path = strings.TrimRight(base.Path, "/")
	dialect := map[string]string{"X-Goog-User-Project": c.QuotaProject}
	switch {
	case c.APIKey == "":
	case c.vertex():
		dialect["Authorization"] = "Bearer " + c.APIKey.Reveal()
	default:
		dialect["X-Goog-Api-Key"] = c.APIKey.Reveal()
	}
	return &adapter{config: c, vertex: c.vertex(), base: base, header: wire.Header(dialect, c.Headers)}, nil
}

// Encode implements [provider.Adapter].
func (a *adapter) Encode(ctx context.Context, call provider.Call) (*http.Request, error) {
	if strings.Contains(call.Model, "..") || strings.HasPrefix(call.Model, "/") {
		return nil, wire.Invalid("model", "is no name of a model")
	}
	switch call.Request.Operation() {
	case schemas.OpChat:
		return a.chat(ctx, call)
	case schemas.OpCountTokens:
		return a.countTokens(ctx, call)
	case schemas.OpEmbed:
		return a.embed(ctx, call)
	case schemas.OpImage, schemas.OpImageEdit:
		return a.image(ctx, call)
	case schemas.OpSpeech:
		return a.speech(ctx, call)
	case schemas.OpTranscribe:
		return a.transcribe(ctx, call)
	case schemas.OpVideo:
		return a.video(ctx, call)
	case schemas.OpModels:
		return a.get(ctx, a.modelList("1000")), nil
	case schemas.OpFileUpload, schemas.OpFileGet, schemas.OpFileList, schemas.OpFileDelete:
		return a.file(ctx, call)
	}
	return nil, wire.Unsupported("op", "is not offered by this provider")
}

// EncodeProbe implements [provider.ProbeEncoder]: listing models costs nothing.
func (a *adapter) EncodeProbe(ctx context.Context) (*http.Request, error) {
	return a.get(ctx, a.modelList("1")), nil
}

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
		return nil, f
	}
	answer.Model = cmp.Or(answer.Model, call.Model)
	answer.Warnings = append(answer.Warnings, a.unsaid(call)...)
	return answer, nil
}

func (a *adapter) decode(res *http.Response, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	switch call.Request.Operation() {
	case schemas.OpCountTokens:
		return a.counted(res)
	case schemas.OpEmbed:
		return a.embedded(res, call.Request)
	case schemas.OpImage, schemas.OpImageEdit:
		return a.painted(res, call, emit)
	case schemas.OpSpeech:
		return a.spoken(res, call.Request, emit)
	case schemas.OpTranscribe:
		return a.transcribed(res, call.Request, emit)
	case schemas.OpVideo:
		return a.filmed(res, call.Request)
	case schemas.OpModels:
		return a.listed(res)
	case schemas.OpFileUpload, schemas.OpFileGet, schemas.OpFileList, schemas.OpFileDelete:
		return a.filed(res, call.Request)
	}
	return a.answered(res, call.Request, emit)
}

// method returns the address of a method of a model.
func (a *adapter) method(model, verb string) *url.URL {
	return a.at(a.resource(model) + ":" + verb)
}

// resource returns the path of a model. Names with a slash are paths already.
func (a *adapter) resource(model string) string {
	model, short := strings.CutPrefix(model, "models/")
	short = short || !strings.Contains(model, "/")
	switch {
	case !a.vertex && short:
		return "models/" + model
	case !a.vertex || strings.HasPrefix(model, "projects/"):
		return model
	case short:
		model = "publishers/google/models/" + model
	}
	return "projects/" + a.config.Project + "/locations/" + a.config.Location + "/" + model
}

// at returns the address of a path below the base URL.
func (a *adapter) at(path string) *url.URL {
	u := *a.base
	u.Path += "/" + path
	return &u
}

func (a *adapter) post(ctx context.Context, u *url.URL, call provider.Call, body []byte) *http.Request {
	h := maps.Clone(a.header)
	if call.IdempotencyKey != "" {
		h[wire.IdempotencyKey] = []string{call.IdempotencyKey}
	}
	return wire.Post(ctx, u, h, body)
}

func (a *adapter) get(ctx context.Context, u *url.URL) *http.Request {
	return wire.Get(ctx, u, maps.Clone(a.header))
}

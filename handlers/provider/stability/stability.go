// Package stability speaks Stability AI's API for pictures and what goes with
// them: v2beta for generation, edits, upscaling, control, film, sound and 3D, and
// v1 for the older engines. There are no chats. The wire facts are in clients made
// from the vendor's OpenAPI (github.com/aj-foster/open-api-generator) and, for v1,
// in the vendor's own (github.com/Stability-AI/platform), whose examples were
// checked.
package stability

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

// vendor is the key of this adapter's own fields in Ext: they are sent as fields
// of the form, but for endpoint, which names where a picture is edited, such as
// edit/erase, upscale/fast or control/sketch.
const vendor = "stability"

// Entry offers this provider as kind "stability".
var Entry provider.Entry = catalog.Define(vendor, Defaults, New)

// Defaults are the settings for Stability AI itself.
var Defaults = Config{
	BaseURL:         "https://api.stability.ai",
	MaxRequestBytes: 10 << 20,
	PollMS:          10_000,
}

// Config says where the API is and who asks.
type Config struct {
	BaseURL string            `json:"base_url"` // without the version
	APIKey  catalog.Secret    `json:"api_key"`
	Headers map[string]string `json:"headers"` // sent with every call, such as stability-client-id
	// JSON asks for pictures as base64 in JSON, which is a third larger, for proxies
	// that pass nothing else.
	JSON bool `json:"json"`
	// MaxRequestBytes is the vendor's limit: what is larger is not sent. 0: none.
	MaxRequestBytes int64 `json:"max_request_bytes"`
	// PollMS is the advice on when to ask for a job again; the vendor wants no less
	// than ten seconds.
	PollMS int64 `json:"poll_ms"`
}

// Validate reports the settings that cannot work.
func (c *Config) Validate() error {
	var errs []error
	if c.MaxRequestBytes < 0 {
		errs = append(errs, errors.New("max_request_bytes is negative: write 0 for no limit"))
	}
	if c.PollMS < 0 {
		errs = append(errs, errors.New("poll_ms is negative: write a time such as 10000"))
	}
	return errors.Join(append(errs,
		wire.CheckBase(c.BaseURL, Defaults.BaseURL),
		wire.CheckKey(c.APIKey.Reveal()),
		wire.CheckHeaders(c.Headers),
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

// Adapter is Stability's [provider.JobAdapter]. It can also word a probe. A job
// is known to the key only that began it.
type Adapter struct {
	config Config
	base   *url.URL
	header http.Header // of every request
}

// NewAdapter returns the adapter for the API at c.BaseURL.
func NewAdapter(c Config) (*Adapter, error) {
	base, err := wire.Endpoint(c.BaseURL, "")
	if err != nil {
		return nil, err
	}
	dialect := map[string]string{}
	if c.APIKey != "" {
		dialect["Authorization"] = "Bearer " + c.APIKey.Reveal()
	}
	return &Adapter{config: c, base: base, header: wire.Header(dialect, c.Headers)}, nil
}

// Encode implements [provider.Adapter].
func (a *Adapter) Encode(ctx context.Context, call provider.Call) (*http.Request, error) {
	if call.Request.Operation() == schemas.OpModels {
		return a.get(ctx, "v1/engines/list", "application/json"), nil
	}
	p, err := placeOf(call)
	if err != nil {
		return nil, err
	}
	var req *http.Request
	switch {
	case p.engine == "":
		req, err = a.encodeForm(ctx, call, p)
	case p.kind == engineText:
		req, err = a.encodeEngineText(ctx, call, p)
	default:
		req, err = a.encodeEngineForm(ctx, call, p)
	}
	if err != nil {
		return nil, err
	}
	if limit := a.config.MaxRequestBytes; limit > 0 && req.ContentLength > limit {
		return nil, &schemas.Failure{
			Code: schemas.PayloadTooLarge, Phase: schemas.PhaseLocal,
			Message: "the request is above this provider's size limit: send smaller pictures",
		}
	}
	if call.IdempotencyKey != "" {
		req.Header[wire.IdempotencyKey] = []string{call.IdempotencyKey}
	}
	return req, nil
}

func (a *Adapter) get(ctx context.Context, path, accept string) *http.Request {
	h := maps.Clone(a.header)
	h.Set("Accept", accept)
	return wire.Get(ctx, a.base.JoinPath(path), h)
}

// EncodeProbe implements [provider.ProbeEncoder]: asking for the balance costs
// nothing and shows whether the key is good.
func (a *Adapter) EncodeProbe(ctx context.Context) (*http.Request, error) {
	return a.get(ctx, "v1/user/balance", "application/json"), nil
}

// EncodePoll implements [provider.JobAdapter].
func (a *Adapter) EncodePoll(ctx context.Context, call provider.Call, job schemas.Job) (*http.Request, error) {
	p, err := placeOf(call)
	if err != nil {
		return nil, err
	}
	if !plainID(job.ID) || p.results == "" {
		return nil, wire.Invalid("job.id", "is no id of this provider")
	}
	return a.get(ctx, p.results+job.ID, a.accept(p)), nil
}

// EncodeCancel implements [provider.JobAdapter]: the vendor has no such request.
func (a *Adapter) EncodeCancel(context.Context, provider.Call, schemas.Job) (*http.Request, error) {
	return nil, nil //nolint:nilnil // as the interface has it
}

// plainID reports whether an id can stand in a path as it is.
func plainID(id string) bool {
	for i := range len(id) {
		if c := id[i]; (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return id != ""
}

// accept returns the form in which the answer is wanted: always to be said.
func (a *Adapter) accept(p *place) string {
	if a.config.JSON && p.makes != "model/" { // models come as they are only
		return "application/json"
	}
	if p.makes == "model/" {
		return "model/gltf-binary"
	}
	return p.makes + "*"
}

// Package replicate speaks Replicate's predictions API. Every model there has
// inputs of its own, so which field takes the prompt is configuration (see
// [Template]), and every call is a job: the answer to the creation is an answer
// only if the model was quick, else a job to follow. The wire facts are in the
// vendor's OpenAPI and its Go client (github.com/replicate/replicate-go) and were
// checked against recorded exchanges.
package replicate

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// vendor is the key of this adapter's own fields in Ext: they are laid over the
// model's input.
const vendor = "replicate"

// Entry offers this provider as kind "replicate".
var Entry provider.Entry = catalog.Define(vendor, Defaults, New)

// Defaults are the settings for Replicate itself.
var Defaults = Config{
	BaseURL: "https://api.replicate.com/v1",
	PollMS:  500, // what the vendor's own clients do
}

// Config says where the API is, who asks, and what the models' inputs are called.
type Config struct {
	BaseURL string            `json:"base_url"`
	APIKey  catalog.Secret    `json:"api_key"`
	Headers map[string]string `json:"headers"` // sent with every call
	// WaitSeconds holds the creation of a prediction open for a quick answer, up to
	// 60; 0 doesn't. Streams never wait.
	WaitSeconds int64 `json:"wait_seconds"`
	// PollMS is the advice on when to ask for a running prediction again. One that
	// is still starting may be asked for half as often.
	PollMS int64 `json:"poll_ms"`
	// StreamHosts are the hosts, or the ends of their names, that a stream may be
	// read from with the credential; empty means the vendor's own.
	StreamHosts []string `json:"stream_hosts"`
	// Models holds a template for each model or pattern of models, such as meta/*.
	// The name that fits best counts: the model itself, then the longest pattern.
	Models map[string]Template `json:"models"`
}

// maxWait is the vendor's limit for the header Prefer, in seconds.
const maxWait = 60

// Validate reports the settings that cannot work.
func (c *Config) Validate() error {
	var errs []error
	if c.WaitSeconds < 0 || c.WaitSeconds > maxWait {
		errs = append(errs, errors.New("wait_seconds is out of range: write 1 to 60, or 0 for no wait"))
	}
	if c.PollMS < 0 {
		errs = append(errs, errors.New("poll_ms is negative: write a time such as 500"))
	}
	for name, t := range c.Models {
		if err := t.validate(); err != nil {
			errs = append(errs, fmt.Errorf("models: %s: %w", name, err))
		}
	}
	return errors.Join(append(errs,
		wire.CheckBase(c.BaseURL, "https://api.replicate.com/v1"),
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

// Adapter is Replicate's [provider.JobAdapter]. It can also word a probe.
type Adapter struct {
	config    Config
	base      *url.URL
	header    http.Header // of every request
	templates templates
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
	if len(c.StreamHosts) == 0 {
		c.StreamHosts = []string{".replicate.com", ".replicate.net"}
	}
	return &Adapter{
		config: c, base: base, header: wire.Header(dialect, c.Headers), templates: newTemplates(c.Models),
	}, nil
}

// trusted reports whether the credential may be sent to u.
func (a *Adapter) trusted(u *url.URL) bool {
	if u.Host == a.base.Host && u.Scheme == a.base.Scheme {
		return true
	}
	if u.Scheme != "https" || u.User != nil {
		return false
	}
	for _, host := range a.config.StreamHosts {
		name := u.Hostname()
		if name == host || strings.HasPrefix(host, ".") && strings.HasSuffix(name, host) {
			return true
		}
	}
	return false
}

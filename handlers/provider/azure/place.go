package azure

import (
	"cmp"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// place knows the addresses of a resource.
type place struct {
	base    *url.URL // of the surface, without the deployment
	surface string
	query   string
}

// newPlace takes a resource's address as people copy it: the bare host, or with
// the path of a surface behind it.
func newPlace(c *Config) (*place, error) {
	u, err := url.Parse(c.BaseURL)
	if err != nil {
		return nil, errors.New("reading base_url: it is no address")
	}
	path := strings.TrimRight(u.Path, "/")
	for _, end := range []string{"/openai/v1", "/openai", "/models"} {
		path = strings.TrimSuffix(path, end)
	}
	u.Path, u.RawPath = cmp.Or(path, "/"), ""
	p := &place{surface: c.Surface}
	version := c.APIVersion
	switch c.Surface {
	case deployments:
		p.base, version = u.JoinPath("openai"), cmp.Or(version, datedVersion)
	case foundry:
		p.base, version = u.JoinPath("models"), cmp.Or(version, foundryVersion)
	default:
		p.base = u.JoinPath("openai", "v1")
	}
	if version != "" {
		p.query = url.Values{"api-version": {version}}.Encode()
	}
	return p, nil
}

// behind are the paths that stand behind a deployment on the dated surface; the
// others belong to the account.
var behind = []string{
	"chat/completions", "completions", "embeddings", "audio/speech", "audio/transcriptions", "audio/translations",
	"images/generations", "images/edits",
}

// address implements the hook of [openai.Variant].
func (p *place) address(path string, call provider.Call) (*url.URL, error) {
	u := p.base
	switch {
	case p.surface == foundry && path == "models":
		path = "info"
	case p.surface == deployments && slices.Contains(behind, path):
		if call.Model == "" || call.Model == "." || call.Model == ".." {
			return nil, wire.Invalid("model", "is no name of a deployment")
		}
		u = u.JoinPath("deployments", url.PathEscape(call.Model))
	case p.surface != v1 && call.Request.Operation() == schemas.OpVideo:
		return nil, wire.Unsupported("op", "is offered on surface v1 only")
	}
	u = u.JoinPath(path)
	u.RawQuery = p.query
	return u, nil
}

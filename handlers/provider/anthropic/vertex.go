package anthropic

import (
	"net/url"
	"strings"

	"github.com/sira-ai/sira/handlers/provider/wire"
)

// vertexVersion is the version of the API in requests to Vertex AI.
const vertexVersion = "vertex-2023-10-16"

// address returns BaseURL or what stands for it when it is empty.
func (c *Config) address() string {
	switch {
	case c.BaseURL != "":
		return c.BaseURL
	case c.Project == "":
		return "https://api.anthropic.com"
	case c.Location == "global":
		return "https://aiplatform.googleapis.com"
	case c.Location == "us" || c.Location == "eu":
		return "https://aiplatform." + c.Location + ".rep.googleapis.com"
	}
	return "https://" + c.Location + "-aiplatform.googleapis.com"
}

// method returns the address of a method of a model at Vertex AI.
func (a *adapter) method(model, verb string) (*url.URL, error) {
	if model == "" || strings.ContainsAny(model, "/?#") {
		return nil, wire.Invalid("model", "is no name of a model such as claude-sonnet-4-5@20250929")
	}
	return a.base.JoinPath("v1/projects", a.config.Project, "locations", a.config.Location,
		"publishers/anthropic/models", model+":"+verb), nil
}

// modelList returns the address of the models, so many at once.
func (a *adapter) modelList(size string) *url.URL {
	if a.vertex { // the models of a publisher are in no project, and not in v1
		u := a.base.JoinPath("v1beta1/publishers/anthropic/models")
		u.RawQuery = "pageSize=" + size
		return u
	}
	u := a.base.JoinPath("v1/models")
	u.RawQuery = "limit=" + size
	return u
}

package anthropic

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// countTokens asks how long a chat is. Vertex AI has a model of that name for it,
// which wants the other in the body.
func (a *adapter) countTokens(ctx context.Context, call provider.Call) (*http.Request, error) {
	body, err := a.counting(call)
	if err != nil {
		return nil, err
	}
	u := a.base.JoinPath("v1/messages/count_tokens")
	if a.vertex {
		if u, err = a.method("count-tokens", "rawPredict"); err != nil {
			return nil, err
		}
	}
	return a.post(ctx, u, call, body), nil
}

// counts reads the answer to countTokens.
func (a *adapter) counts(res *http.Response) (*schemas.Response, error) {
	var body struct {
		Input *jsontext.Count `json:"input_tokens"`
	}
	raw, err := a.object(res, &body)
	switch {
	case err != nil:
		return nil, err
	case body.Input == nil:
		return nil, wire.Malformed("it has no input_tokens", nil)
	}
	return &schemas.Response{Usage: schemas.Usage{
		InputTokens: int64(*body.Input), Source: schemas.UsageReported, Raw: raw,
	}}, nil
}

// model is a model as the vendor lists it; Vertex AI has no more than its name.
type model struct {
	ID      text           `json:"id"`
	Path    text           `json:"name"` // at Vertex AI
	Display text           `json:"display_name"`
	Created text           `json:"created_at"`
	Input   jsontext.Count `json:"max_input_tokens"`
	Output  jsontext.Count `json:"max_tokens"`
}

func (a *adapter) listed(res *http.Response) (*schemas.Response, error) {
	var body struct {
		Data      *[]model `json:"data"`
		Publisher []model  `json:"publisherModels"`
		More      bool     `json:"has_more"`
		Next      text     `json:"nextPageToken"`
	}
	if _, err := a.object(res, &body); err != nil {
		return nil, err
	}
	all := body.Publisher
	switch {
	case body.Data != nil:
		all = *body.Data
	case !a.vertex:
		return nil, wire.Malformed("it has no list of models", nil)
	}
	answer := &schemas.Response{Usage: schemas.Usage{Source: schemas.UsageNone}}
	for _, m := range all {
		id := string(m.ID)
		if id == "" {
			id = strings.TrimPrefix(string(m.Path), "publishers/anthropic/models/")
		}
		answer.Models = append(answer.Models, schemas.ModelInfo{
			ID: id, Name: string(m.Display), Owner: vendor, CreatedAt: moment(m.Created),
			ContextTokens: int64(m.Input), OutputTokens: int64(m.Output),
			Operations: []string{string(schemas.OpChat), string(schemas.OpCountTokens)},
		})
	}
	if body.More || body.Next != "" {
		answer.Warnings = append(answer.Warnings, "the provider has more models than one answer holds")
	}
	return answer, nil
}

// moment returns a time of day, or none where it is not one.
func moment(s text) time.Time {
	t, err := time.Parse(time.RFC3339, string(s))
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// counting returns the JSON of a count_tokens request: what a chat would send, as
// far as it is part of the prompt.
func (a *adapter) counting(call provider.Call) ([]byte, error) {
	b := make([]byte, 0, sizeOf(call.Request))
	b = append(b, '{')
	if a.vertex {
		b = jsontext.AppendString(jsontext.AppendField(b, "anthropic_version"), vertexVersion)
	}
	b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	b, err := a.prompt(b, call.Request)
	if err != nil {
		return nil, err
	}
	b = append(b, '}')
	ext := call.Request.Ext[vendor]
	if len(ext) == 0 {
		return b, nil
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(ext, &all) == nil {
		maps.DeleteFunc(all, func(name string, _ json.RawMessage) bool { return !slices.Contains(counted, name) })
		if ext, err = json.Marshal(all); err != nil {
			return nil, fmt.Errorf("leaving out of ext.%s what is not counted: %w", vendor, err)
		}
	}
	return wire.Overlay(b, "ext."+vendor, ext)
}

// counted are the fields of a requester's own that count_tokens takes.
var counted = []string{
	"cache_control", "context_management", "mcp_servers", "output_config", "output_format", "speed", "system", "thinking",
	"tool_choice", "tools",
}

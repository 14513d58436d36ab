package openai

import (
	"net/http"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// readModels reads a list of models. Together sends the list without an object
// around it; vLLM, llama.cpp and OpenRouter tell the length of the context.
func (a *Adapter) readModels(res *http.Response) (*schemas.Response, error) {
	body, err := a.object(res)
	if err != nil {
		return nil, err
	}
	out := &schemas.Response{Usage: schemas.Usage{Source: schemas.UsageNone}}
	c := jsontext.NewCursor(body)
	isList := c.Kind() == '['
	if isList {
		out.Models = models(&c)
	} else if c.Object() {
		for c.Key() {
			if string(c.Name()) == "data" {
				isList = c.Kind() == '['
				out.Models = models(&c)
			} else {
				c.Skip()
			}
		}
	}
	if err := c.End(); err != nil {
		return nil, wire.Malformed("it is not the JSON of models", err)
	}
	if !isList {
		return nil, wire.Malformed("it has no list of models", nil)
	}
	return out, nil
}

func models(c *jsontext.Cursor) []schemas.ModelInfo {
	var all []schemas.ModelInfo
	if !c.Array() {
		return nil
	}
	for c.Item() {
		var m schemas.ModelInfo
		if c.Object() {
			for c.Key() {
				modelField(c, &m)
			}
		}
		if m.ID != "" {
			all = append(all, m)
		}
	}
	return all
}

func modelField(c *jsontext.Cursor, m *schemas.ModelInfo) {
	switch string(c.Name()) {
	case "id":
		m.ID = c.Text()
	case "name", "display_name":
		m.Name = c.Text()
	case "owned_by", "organization":
		m.Owner = c.Text()
	case "created":
		m.CreatedAt = moment(c.Count())
	case "max_model_len", "context_length", "n_ctx_train":
		m.ContextTokens = c.Count()
	case "max_completion_tokens", "max_output_tokens":
		m.OutputTokens = c.Count()
	case "meta":
		if c.Object() {
			for c.Key() {
				if string(c.Name()) == "n_ctx_train" {
					m.ContextTokens = c.Count()
				} else {
					c.Skip()
				}
			}
		}
	default:
		c.Skip()
	}
}

package gemini

import (
	"bytes"
	"cmp"
	"encoding/json"
	"strings"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

func (w *writer) call(c *schemas.ToolCall) string {
	if c.Type == "custom" {
		return "is a call of a custom tool, which this provider does not have"
	}
	args := bytes.TrimSpace([]byte(c.Arguments))
	if len(args) == 0 {
		args = []byte("{}")
	}
	if args[0] != '{' || !json.Valid(args) {
		return "has arguments that are not a JSON object"
	}
	w.b = append(jsontext.AppendField(w.b, "functionCall"), '{')
	w.b = jsontext.AppendStringField(w.b, "id", theirs(c.ID))
	w.b = jsontext.AppendString(jsontext.AppendField(w.b, "name"), c.Name)
	w.b = append(jsontext.AppendRawField(w.b, "args", args), '}')
	return ""
}

// result appends what a tool returned: an object with the output or the error, or
// the object that the output itself is.
func (w *writer) result(r *schemas.ToolResult) string {
	if r == nil {
		return "has no tool_result"
	}
	name := cmp.Or(r.Name, w.called(r.CallID))
	if name == "" {
		return "answers a call that no message holds: set tool_result.name"
	}
	w.b = append(jsontext.AppendField(w.b, "functionResponse"), '{')
	w.b = jsontext.AppendStringField(w.b, "id", theirs(r.CallID))
	w.b = jsontext.AppendString(jsontext.AppendField(w.b, "name"), name)
	text := schemas.Message{Parts: r.Parts}.Text()
	w.b = jsontext.AppendField(w.b, "response")
	switch object := strings.TrimSpace(text); {
	case r.IsError:
		w.b = append(jsontext.AppendString(append(w.b, `{"error":`...), text), '}')
	case strings.HasPrefix(object, "{") && json.Valid([]byte(object)):
		w.b = append(w.b, object...)
	default:
		w.b = append(jsontext.AppendString(append(w.b, `{"output":`...), text), '}')
	}
	start := len(w.b)
	for k := range r.Parts {
		p := &r.Parts[k]
		if p.Kind == schemas.PartText {
			continue
		}
		if p.Media == nil {
			return "holds a part that is neither text nor media"
		}
		if len(w.b) == start {
			w.b = append(jsontext.AppendField(w.b, "parts"), '[')
		}
		w.b = append(jsontext.AppendItem(w.b), '{')
		if why := w.media(p.Media); why != "" {
			return "holds a part that " + why
		}
		w.b = append(w.b, '}')
	}
	if len(w.b) > start {
		w.b = append(w.b, ']')
	}
	w.b = append(w.b, '}')
	return ""
}

// called returns the name of the tool that a call was for.
func (w *writer) called(id string) string {
	for i := range w.req.Messages {
		for j := range w.req.Messages[i].Parts {
			if c := w.req.Messages[i].Parts[j].ToolCall; c != nil && c.ID == id {
				return c.Name
			}
		}
	}
	return ""
}

// minted is how the ids begin that this adapter gives to calls without one.
const minted = "sira_"

// theirs returns the id of a call as the vendor knows it.
func theirs(id string) string {
	if strings.HasPrefix(id, minted) {
		return ""
	}
	return id
}

package openai

import (
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// outputTypes are the types of the results of calls that are not of functions, by
// the calls' ids.
func outputTypes(req *schemas.Request) map[string]string {
	types := make(map[string]string)
	for i := range req.Messages {
		for j := range req.Messages[i].Parts {
			c := req.Messages[i].Parts[j].ToolCall
			switch {
			case c == nil:
			case c.Type == "custom":
				types[c.ID] = "custom_tool_call_output"
			case c.Type == "server" && (c.Name == computerCall || c.Name == localShellCall):
				types[c.ID] = c.Name + "_output"
			}
		}
	}
	return types
}

// Tools of OpenAI's that the requester runs.
const (
	computerCall   = "computer_call"
	localShellCall = "local_shell_call"
)

// itemWriter writes messages as items.
type itemWriter struct {
	a     *Adapter
	types map[string]string
}

func (w *itemWriter) message(b []byte, m *schemas.Message, i int) ([]byte, error) {
	if m.Role == schemas.RoleAssistant {
		return w.said(b, m, i)
	}
	rest := 0
	var err error
	for j := range m.Parts {
		if m.Parts[j].Kind != schemas.PartToolResult || m.Parts[j].ToolResult == nil {
			rest++
			continue
		}
		if b, err = w.result(b, m.Parts[j].ToolResult, field(i, j)); err != nil {
			return nil, err
		}
	}
	switch {
	case rest == 0 && len(m.Parts) > 0:
		return b, nil
	case m.Role == schemas.RoleTool:
		return nil, wire.Invalid(fmt.Sprintf("messages[%d]", i), "has role tool but parts that are no tool results")
	}
	role := m.Role
	if role == schemas.RoleDeveloper && w.a.config.DeveloperAsSystem {
		role = schemas.RoleSystem
	}
	b = append(jsontext.AppendItem(b), `{"role":`...)
	b = jsontext.AppendString(b, string(role))
	b = append(jsontext.AppendField(b, "content"), '[')
	for j := range m.Parts {
		if m.Parts[j].Kind == schemas.PartToolResult {
			continue
		}
		var why string
		if b, why = input(jsontext.AppendItem(b), &m.Parts[j]); why != "" {
			return nil, wire.Unsupported(field(i, j), why)
		}
	}
	return append(jsontext.AppendFields(append(b, ']'), m.Ext[w.a.variant.Name]), '}'), nil
}

// result appends the result of a tool, which may hold pictures and files here.
func (w *itemWriter) result(b []byte, r *schemas.ToolResult, name string) ([]byte, error) {
	typ := cmp.Or(w.types[r.CallID], "function_call_output")
	b = append(jsontext.AppendItem(b), `{"type":"`+typ+`","call_id":`...)
	b = jsontext.AppendString(b, r.CallID)
	b = jsontext.AppendField(b, "output")
	if typ == computerCall+"_output" && len(r.Parts) == 1 && r.Parts[0].Kind == schemas.PartImage {
		why := ""
		if b, why = screenshot(b, r.Parts[0].Media); why != "" {
			return nil, wire.Unsupported(name+".tool_result.parts[0]", why)
		}
		return append(b, '}'), nil
	}
	plainText := true
	for k := range r.Parts {
		plainText = plainText && r.Parts[k].Kind == schemas.PartText
	}
	if plainText {
		return append(jsontext.AppendString(b, schemas.Message{Parts: r.Parts}.Text()), '}'), nil
	}
	b = append(b, '[')
	for k := range r.Parts {
		var why string
		if b, why = input(jsontext.AppendItem(b), &r.Parts[k]); why != "" {
			return nil, wire.Unsupported(fmt.Sprintf("%s.tool_result.parts[%d]", name, k), why)
		}
	}
	return append(b, "]}"...), nil
}

// input appends a part of what the model is told.
func input(b []byte, p *schemas.Part) ([]byte, string) {
	m := p.Media
	switch p.Kind {
	case schemas.PartText:
		b = append(b, `{"type":"input_text","text":`...)
		return append(jsontext.AppendString(b, p.Text), '}'), ""
	case schemas.PartImage:
		b, why := pointed(append(b, `{"type":"input_image"`...), m)
		return append(jsontext.AppendStringField(b, "detail", m.Detail), '}'), why
	case schemas.PartFile:
		b = append(b, `{"type":"input_file"`...)
		switch {
		case len(m.Data) > 0:
			b = jsontext.AppendString(jsontext.AppendField(b, "filename"), cmp.Or(m.Name, "file"))
			b = jsontext.AppendBase64(jsontext.AppendField(b, "file_data"), "data:"+plain(withType(m).MIME)+";base64,", m.Data)
		case m.URL != "":
			b = jsontext.AppendString(jsontext.AppendField(b, "file_url"), m.URL)
		case m.FileID != "":
			b = jsontext.AppendString(jsontext.AppendField(b, "file_id"), m.FileID)
		default:
			return b, "is a claim check: give its data, URL or file id"
		}
		return append(b, '}'), ""
	case schemas.PartAudio:
		return inputAudio(b, m)
	}
	return b, "is of a kind that this provider does not take"
}

// screenshot appends what a computer shows.
func screenshot(b []byte, m *schemas.Media) ([]byte, string) {
	b, why := pointed(append(b, `{"type":"computer_screenshot"`...), m)
	return append(b, '}'), why
}

// pointed appends the field that says where a picture is.
func pointed(b []byte, m *schemas.Media) ([]byte, string) {
	switch {
	case len(m.Data) > 0:
		return jsontext.AppendBase64(jsontext.AppendField(b, "image_url"), "data:"+plain(withType(m).MIME)+";base64,", m.Data), ""
	case m.URL != "":
		return jsontext.AppendString(jsontext.AppendField(b, "image_url"), m.URL), ""
	case m.FileID != "":
		return jsontext.AppendString(jsontext.AppendField(b, "file_id"), m.FileID), ""
	}
	return b, "is a claim check: give its data, URL or file id"
}

// said appends what the assistant said, thought and called, item by item in
// order: reasoning must stand before what it led to.
func (w *itemWriter) said(b []byte, m *schemas.Message, i int) ([]byte, error) {
	for j := range m.Parts {
		p := &m.Parts[j]
		switch p.Kind {
		case schemas.PartText:
			b = append(jsontext.AppendItem(b), `{"type":"message","role":"assistant","content":[{"type":"output_text","annotations":[],"text":`...)
			b = append(jsontext.AppendString(b, p.Text), "}]}"...)
		case schemas.PartRefusal:
			b = append(jsontext.AppendItem(b), `{"type":"message","role":"assistant","content":[{"type":"refusal","refusal":`...)
			b = append(jsontext.AppendString(b, p.Text), "}]}"...)
		case schemas.PartReasoning:
			if w.a.returns(p.Reasoning) {
				b = reasoning(jsontext.AppendItem(b), p.Reasoning)
			}
		case schemas.PartToolCall:
			var why string
			if b, why = called(jsontext.AppendItem(b), p.ToolCall); why != "" {
				return nil, wire.Unsupported(field(i, j), why)
			}
		case schemas.PartImage: // which the model painted: its tool call stands beside it
		default:
			return nil, wire.Unsupported(field(i, j), "is of a kind that this provider does not take from an assistant")
		}
	}
	return b, nil
}

func reasoning(b []byte, r *schemas.Reasoning) []byte {
	b = append(b, `{"type":"reasoning","id":`...)
	b = jsontext.AppendString(b, r.ID)
	b = append(jsontext.AppendField(b, "summary"), '[')
	if r.Text != "" {
		b = append(b, `{"type":"summary_text","text":`...)
		b = append(jsontext.AppendString(b, r.Text), '}')
	}
	b = append(b, ']')
	return append(jsontext.AppendStringField(b, "encrypted_content", r.Signature), '}')
}

func called(b []byte, c *schemas.ToolCall) ([]byte, string) {
	switch c.Type {
	case "server":
		if !looksLikeJSON([]byte(c.Arguments)) || !json.Valid([]byte(c.Arguments)) {
			return b, "is a tool call that another provider ran itself"
		}
		return append(b, c.Arguments...), ""
	case "custom":
		b = append(b, `{"type":"custom_tool_call","call_id":`...)
		b = jsontext.AppendString(b, c.ID)
		b = jsontext.AppendString(jsontext.AppendField(b, "name"), c.Name)
		return append(jsontext.AppendString(jsontext.AppendField(b, "input"), c.Arguments), '}'), ""
	}
	b = append(b, `{"type":"function_call","call_id":`...)
	b = jsontext.AppendString(b, c.ID)
	b = jsontext.AppendString(jsontext.AppendField(b, "name"), c.Name)
	return append(jsontext.AppendString(jsontext.AppendField(b, "arguments"), c.Arguments), '}'), ""
}

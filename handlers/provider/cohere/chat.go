package cohere

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// chat returns the JSON of a chat request, version 2. It is written by hand: each
// request passes here.
func (a *adapter) chat(call provider.Call) ([]byte, error) {
	req := call.Request
	if err := beyond(req); err != nil {
		return nil, err
	}
	b := make([]byte, 0, sizeOf(req))
	b = append(b, '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	b = append(jsontext.AppendField(b, "messages"), '[')
	var err error
	for i := range req.Messages {
		if b, err = message(b, &req.Messages[i], i); err != nil {
			return nil, err
		}
	}
	b = append(b, ']')
	if b, err = tools(b, req); err != nil {
		return nil, err
	}
	b = documents(b, req.Documents)
	b = output(b, req.Output)
	b = sampling(b, req)
	b = thinking(b, req.Thinking)
	b = jsontext.AppendStringField(b, "safety_mode", a.config.SafetyMode)
	b = jsontext.AppendBoolField(b, "stream", &req.Stream)
	return extended(append(b, '}'), req, "model", "messages", "stream")
}

// extended lays the fields that the requester has for this vendor over body.
func extended(body []byte, req *schemas.Request, fixed ...string) ([]byte, error) {
	if ext := req.Ext[vendor]; len(ext) > 0 {
		return wire.Overlay(body, "ext."+vendor, ext, fixed...)
	}
	return body, nil
}

// What the API takes at most.
const (
	maxStops    = 5
	maxPictures = 20
	maxBytes    = 20 << 20 // of all pictures
)

// beyond says what of a chat neither version can express.
func beyond(req *schemas.Request) error {
	if s := req.Sampling; s != nil {
		switch {
		case s.N != nil && *s.N > 1:
			return wire.Unsupported("sampling.n", "is above 1: this provider gives one answer to a chat")
		case len(s.Stop) > maxStops:
			return wire.Unsupported("sampling.stop", fmt.Sprintf("has more than %d entries, which is what this provider takes", maxStops))
		}
	}
	pictures, size := 0, 0
	for i := range req.Messages {
		for j := range req.Messages[i].Parts {
			p := &req.Messages[i].Parts[j]
			if p.Kind != schemas.PartImage {
				continue
			}
			pictures++
			if size += len(p.Media.Data); pictures > maxPictures || size > maxBytes {
				return wire.Unsupported(field(i, j), fmt.Sprintf("is too much: this provider takes %d pictures of %d MB together", maxPictures, maxBytes>>20))
			}
		}
	}
	if o := req.Output; o != nil {
		for _, m := range o.Modalities {
			if m != "text" {
				return wire.Unsupported("output.modalities", "has "+m+": this provider answers in text")
			}
		}
	}
	return nil
}

// sizeOf guesses the length of the body, so that it rarely has to grow.
func sizeOf(req *schemas.Request) int {
	n := 256
	for i := range req.Messages {
		n += 64
		for j := range req.Messages[i].Parts {
			p := &req.Messages[i].Parts[j]
			n += 64 + len(p.Text)*17/16
			if p.Media != nil {
				n += 64 + len(p.Media.URL) + len(p.Media.Data)*4/3
			}
			if p.ToolCall != nil {
				n += 96 + len(p.ToolCall.Arguments)*5/4
			}
			if p.ToolResult != nil {
				n += 128
				for k := range p.ToolResult.Parts {
					n += len(p.ToolResult.Parts[k].Text) * 9 / 8
				}
			}
			if p.Reasoning != nil {
				n += len(p.Reasoning.Text) * 17 / 16
			}
		}
	}
	for i := range req.Tools {
		n += 96 + len(req.Tools[i].Description) + len(req.Tools[i].Parameters)
	}
	for i := range req.Documents {
		n += 96 + len(req.Documents[i].Text)*17/16
	}
	return n
}

func field(message, part int) string { return fmt.Sprintf("messages[%d].parts[%d]", message, part) }

// message appends a message, or several: each tool result is one of its own.
func message(b []byte, m *schemas.Message, i int) ([]byte, error) {
	rest := 0
	for j := range m.Parts {
		r := m.Parts[j].ToolResult
		if m.Parts[j].Kind != schemas.PartToolResult || r == nil {
			rest++
			continue
		}
		text, err := resultText(r, i, j)
		if err != nil {
			return nil, err
		}
		b = append(jsontext.AppendItem(b), `{"role":"tool","tool_call_id":`...)
		b = jsontext.AppendString(b, r.CallID)
		b = jsontext.AppendString(jsontext.AppendField(b, "content"), text)
		b = append(b, '}')
	}
	switch {
	case rest == 0 && len(m.Parts) > 0:
		return b, nil
	case m.Role == schemas.RoleTool:
		return nil, wire.Invalid(fmt.Sprintf("messages[%d]", i), "has role tool but parts that are no tool results")
	}
	role := m.Role
	if role == schemas.RoleDeveloper {
		role = schemas.RoleSystem
	}
	b = append(jsontext.AppendItem(b), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "role"), string(role))
	if role == schemas.RoleAssistant { // whose Ext is what we kept of an answer
		b, err := said(b, m, i)
		return append(b, '}'), err
	}
	b, err := content(b, m, i)
	return append(jsontext.AppendFields(b, m.Ext[vendor]), '}'), err
}

func resultText(r *schemas.ToolResult, i, j int) (string, error) {
	for k := range r.Parts {
		if r.Parts[k].Kind != schemas.PartText {
			return "", wire.Unsupported(field(i, j), "has a tool result that is not text")
		}
	}
	return schemas.Message{Parts: r.Parts}.Text(), nil
}

// content appends what a user or the system says: a string where one text is
// all, else a list.
func content(b []byte, m *schemas.Message, i int) ([]byte, error) {
	b = jsontext.AppendField(b, "content")
	if len(m.Parts) == 0 || len(m.Parts) == 1 && m.Parts[0].Kind == schemas.PartText {
		return jsontext.AppendString(b, m.Text()), nil
	}
	b = append(b, '[')
	for j := range m.Parts {
		p := &m.Parts[j]
		var why string
		switch p.Kind {
		case schemas.PartToolResult: // already a message of its own
			continue
		case schemas.PartText:
			b = append(jsontext.AppendItem(b), `{"type":"text","text":`...)
			b = append(jsontext.AppendString(b, p.Text), '}')
		case schemas.PartImage:
			b, why = image(jsontext.AppendItem(b), p.Media)
		default:
			why = "is of a kind that this provider does not take from a " + string(m.Role) + ": it takes text and images"
		}
		if why != "" {
			return nil, wire.Unsupported(field(i, j), why)
		}
	}
	return append(b, ']'), nil
}

// image appends a picture as the chat and the embed API take it.
func image(b []byte, m *schemas.Media) ([]byte, string) {
	b = append(b, `{"type":"image_url","image_url":{"url":`...)
	switch {
	case len(m.Data) > 0 && m.MIME == "":
		return b, "has data without a mime type"
	case len(m.Data) > 0:
		b = jsontext.AppendBase64(b, "data:"+plain(m.MIME)+";base64,", m.Data)
	case m.URL != "":
		b = jsontext.AppendString(b, m.URL)
	default:
		return b, "is an image by reference: give its data or URL"
	}
	b = jsontext.AppendStringField(b, "detail", m.Detail)
	return append(b, "}}"...), ""
}

// plain keeps of a media type what needs no escaping in JSON.
func plain(mime string) string {
	if i := strings.IndexFunc(mime, func(r rune) bool { return r <= ' ' || r == '"' || r == '\\' || r > '~' }); i >= 0 {
		return mime[:i]
	}
	return mime
}

// planID marks reasoning that was a tool_plan, so that it goes back as one.
const planID = "tool_plan"

// ours reports whether reasoning is this vendor's: it signs nothing.
func ours(r *schemas.Reasoning) bool { return r.Signature == "" && !r.Redacted }

// said appends what the assistant said earlier, its thinking included.
func said(b []byte, m *schemas.Message, i int) ([]byte, error) {
	var plan strings.Builder
	calls := 0
	list := []byte{'['}
	for j := range m.Parts {
		switch p := &m.Parts[j]; p.Kind {
		case schemas.PartText, schemas.PartRefusal:
			list = append(jsontext.AppendItem(list), `{"type":"text","text":`...)
			list = append(jsontext.AppendString(list, p.Text), '}')
		case schemas.PartReasoning:
			switch {
			case !ours(p.Reasoning) || p.Reasoning.Text == "":
			case p.Reasoning.ID == planID:
				plan.WriteString(p.Reasoning.Text)
			default:
				list = append(jsontext.AppendItem(list), `{"type":"thinking","thinking":`...)
				list = append(jsontext.AppendString(list, p.Reasoning.Text), '}')
			}
		case schemas.PartToolCall:
			calls++
		case schemas.PartToolResult:
		default:
			return nil, wire.Unsupported(field(i, j), "is of a kind that this provider does not take from an assistant")
		}
	}
	b = jsontext.AppendStringField(b, "tool_plan", plan.String())
	switch {
	case len(list) > 1 && justText(m):
		b = jsontext.AppendString(jsontext.AppendField(b, "content"), m.Text())
	case len(list) > 1:
		b = append(append(jsontext.AppendField(b, "content"), list...), ']')
	case calls == 0:
		b = append(jsontext.AppendField(b, "content"), `""`...)
	}
	if calls == 0 {
		return b, nil
	}
	return called(b, m), nil
}

// called appends the tool calls of m.
func called(b []byte, m *schemas.Message) []byte {
	b = append(jsontext.AppendField(b, "tool_calls"), '[')
	for j := range m.Parts {
		c := m.Parts[j].ToolCall
		if m.Parts[j].Kind != schemas.PartToolCall || c == nil {
			continue
		}
		b = append(jsontext.AppendItem(b), `{"type":"function","id":`...)
		b = jsontext.AppendString(b, c.ID)
		b = append(jsontext.AppendField(b, "function"), `{"name":`...)
		b = jsontext.AppendString(b, c.Name)
		b = jsontext.AppendString(jsontext.AppendField(b, "arguments"), c.Arguments)
		b = append(b, "}}"...)
	}
	return append(b, ']')
}

// justText reports whether one text is all that m has for its content.
func justText(m *schemas.Message) bool {
	texts := 0
	return !slices.ContainsFunc(m.Parts, func(p schemas.Part) bool {
		if p.Kind == schemas.PartText {
			texts++
		}
		return p.Kind == schemas.PartRefusal || texts > 1 ||
			p.Kind == schemas.PartReasoning && p.Reasoning.ID != planID && ours(p.Reasoning) && p.Reasoning.Text != ""
	})
}

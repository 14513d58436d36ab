package openai

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// body returns the JSON of a chat completions request. It is written by hand:
// each request passes here, and this takes one allocation.
func (a *Adapter) body(call provider.Call) ([]byte, error) {
	req := call.Request
	if len(req.Documents) > 0 {
		return nil, wire.Unsupported("documents", "are not taken by this provider: put them into a message")
	}
	b := make([]byte, 0, sizeOf(req))
	b = append(b, '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	b = append(jsontext.AppendField(b, "messages"), '[')
	var err error
	for i := range req.Messages {
		if b, err = a.message(b, &req.Messages[i], i); err != nil {
			return nil, err
		}
	}
	b = append(b, ']')
	if b, err = a.tools(b, req); err != nil {
		return nil, err
	}
	b = format(b, req.Output)
	b = modalities(b, req)
	b = a.sampling(b, req)
	b = logProbs(b, req.Sampling)
	if req.Thinking != nil {
		b = jsontext.AppendStringField(b, "reasoning_effort", req.Thinking.Effort)
	}
	b = jsontext.AppendIntField(b, a.config.MaxTokensField, req.MaxTokens)
	b = a.shared(b, req)
	if req.Stream {
		b = append(jsontext.AppendField(b, "stream"), "true"...)
		if !a.config.NoStreamUsage {
			b = append(jsontext.AppendField(b, "stream_options"), `{"include_usage":true}`...)
		}
	}
	return a.closed(b, call, "model", "messages", "stream", "stream_options")
}

// closed ends the JSON object of a body with what the variant and the requester
// add. Fields in fixed are not the requester's to set.
func (a *Adapter) closed(b []byte, call provider.Call, fixed ...string) ([]byte, error) {
	var err error
	if a.variant.Fields != nil {
		if b, err = a.variant.Fields(b, call); err != nil {
			return nil, err
		}
	}
	b = append(b, '}')
	if ext := call.Request.Ext[a.variant.Name]; len(ext) > 0 {
		return wire.Overlay(b, "ext."+a.variant.Name, ext, fixed...)
	}
	return b, nil
}

// sizeOf guesses the length of the body, so that it rarely has to grow.
func sizeOf(req *schemas.Request) int {
	n := 256
	for i := range req.Messages {
		n += 64
		for j := range req.Messages[i].Parts {
			p := &req.Messages[i].Parts[j]
			n += 48 + len(p.Text) + len(p.Text)/16
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
		}
	}
	for i := range req.Tools {
		n += 96 + len(req.Tools[i].Description) + len(req.Tools[i].Parameters)
	}
	if req.Output != nil {
		n += 96 + len(req.Output.Schema)
	}
	return n
}

// message appends a message, or several: each tool result is one of its own.
func (a *Adapter) message(b []byte, m *schemas.Message, i int) ([]byte, error) {
	rest := 0
	for j := range m.Parts {
		r := m.Parts[j].ToolResult
		if m.Parts[j].Kind != schemas.PartToolResult || r == nil {
			rest++
			continue
		}
		b = append(jsontext.AppendItem(b), `{"role":"tool","tool_call_id":`...)
		b = jsontext.AppendString(b, r.CallID)
		if k := slices.IndexFunc(r.Parts, func(p schemas.Part) bool { return p.Kind != schemas.PartText }); k >= 0 {
			return nil, wire.Unsupported(field(i, j), "has a tool result that is not text")
		}
		b = jsontext.AppendString(jsontext.AppendField(b, "content"), schemas.Message{Parts: r.Parts}.Text())
		b = append(b, '}')
	}
	switch {
	case rest == 0 && len(m.Parts) > 0:
		return b, nil
	case m.Role == schemas.RoleTool:
		return nil, wire.Invalid(fmt.Sprintf("messages[%d]", i), "has role tool but parts that are no tool results")
	}
	role := m.Role
	if role == schemas.RoleDeveloper && a.config.DeveloperAsSystem {
		role = schemas.RoleSystem
	}
	b = append(jsontext.AppendItem(b), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "role"), string(role))
	b = jsontext.AppendStringField(b, "name", m.Name)
	var err error
	if m.Role == schemas.RoleAssistant {
		b, err = a.said(b, m, i)
	} else {
		b, err = a.content(b, m, i)
	}
	return append(jsontext.AppendFields(b, m.Ext[a.variant.Name]), '}'), err
}

// content appends what a user or the system says: a string where one text is
// all, else a list.
func (a *Adapter) content(b []byte, m *schemas.Message, i int) ([]byte, error) {
	b = jsontext.AppendField(b, "content")
	if len(m.Parts) <= 1 || a.config.FlattenText {
		if !slices.ContainsFunc(m.Parts, func(p schemas.Part) bool { return p.Kind != schemas.PartText }) {
			return jsontext.AppendString(b, m.Text()), nil
		}
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
		case schemas.PartAudio:
			b, why = a.audio(jsontext.AppendItem(b), p.Media)
		case schemas.PartVideo:
			b, why = a.video(jsontext.AppendItem(b), p.Media)
		case schemas.PartFile:
			b, why = file(jsontext.AppendItem(b), p.Media)
		default:
			why = "is of a kind that this provider does not take from a " + string(m.Role)
		}
		if why != "" {
			return nil, wire.Unsupported(field(i, j), why)
		}
	}
	return append(b, ']'), nil
}

func field(message, part int) string { return fmt.Sprintf("messages[%d].parts[%d]", message, part) }

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
		return b, "is an image by file id: give its data or URL"
	}
	b = jsontext.AppendStringField(b, "detail", m.Detail)
	return append(b, "}}"...), ""
}

// byAddress appends a part of a type that vLLM and Together know.
func byAddress(b []byte, typ, url string) []byte {
	b = append(b, `{"type":"`+typ+`","`+typ+`":{"url":`...)
	return append(jsontext.AppendString(b, url), "}}"...)
}

func (a *Adapter) video(b []byte, m *schemas.Media) ([]byte, string) {
	switch {
	case !a.config.MediaURL:
		return b, "is a film, which this provider does not take"
	case m.URL != "":
		return byAddress(b, "video_url", m.URL), ""
	case len(m.Data) > 0 && m.MIME != "":
		b = append(b, `{"type":"video_url","video_url":{"url":`...)
		b = jsontext.AppendBase64(b, "data:"+plain(m.MIME)+";base64,", m.Data)
		return append(b, "}}"...), ""
	}
	return b, "is a film by file id or without a mime type: give its URL or data"
}

func (a *Adapter) audio(b []byte, m *schemas.Media) ([]byte, string) {
	if a.config.MediaURL && len(m.Data) == 0 && m.URL != "" {
		return byAddress(b, "audio_url", m.URL), ""
	}
	return inputAudio(b, m)
}

// inputAudio appends sound in the one form that is taken of it.
func inputAudio(b []byte, m *schemas.Media) ([]byte, string) {
	var format string
	switch m.MIME {
	case "audio/wav", "audio/x-wav", "audio/wave":
		format = "wav"
	case "audio/mpeg", "audio/mp3":
		format = "mp3"
	default:
		return b, "is sound that is neither audio/wav nor audio/mpeg"
	}
	if len(m.Data) == 0 {
		return b, "is sound by reference: give its data"
	}
	b = append(b, `{"type":"input_audio","input_audio":{"data":`...)
	b = jsontext.AppendBase64(b, "", m.Data)
	b = jsontext.AppendStringField(b, "format", format)
	return append(b, "}}"...), ""
}

func file(b []byte, m *schemas.Media) ([]byte, string) {
	b = append(b, `{"type":"file","file":{`...)
	switch {
	case len(m.Data) > 0 && m.MIME == "":
		return b, "has data without a mime type"
	case len(m.Data) > 0:
		b = jsontext.AppendStringField(b, "filename", m.Name)
		b = jsontext.AppendBase64(jsontext.AppendField(b, "file_data"), "data:"+plain(m.MIME)+";base64,", m.Data)
	case m.FileID != "":
		b = jsontext.AppendStringField(b, "file_id", m.FileID)
	default:
		return b, "is a file by URL: give its data or file id"
	}
	return append(b, "}}"...), ""
}

// plain keeps of a media type what needs no escaping in JSON.
func plain(mime string) string {
	for i := range len(mime) {
		if c := mime[i]; c <= ' ' || c == '"' || c == '\\' || c > '~' {
			return mime[:i]
		}
	}
	return mime
}

// said appends what the assistant said earlier. Reasoning is left out: this API
// does not take it back.
func (a *Adapter) said(b []byte, m *schemas.Message, i int) ([]byte, error) {
	calls := 0
	var refusal strings.Builder
	spoken := ""
	for j := range m.Parts {
		switch p := &m.Parts[j]; p.Kind {
		case schemas.PartText, schemas.PartReasoning, schemas.PartToolResult:
		case schemas.PartRefusal:
			refusal.WriteString(p.Text)
		case schemas.PartToolCall:
			if p.ToolCall.Type == "server" {
				return nil, wire.Unsupported(field(i, j), "is a tool call that a provider ran itself: this API does not take it back")
			}
			calls++
		case schemas.PartAudio:
			if p.Media.FileID == "" || p.Media.Provider != a.variant.Name {
				return nil, wire.Unsupported(field(i, j), "is sound of an assistant without this provider's id of it: give its text")
			}
			spoken = p.Media.FileID
		default:
			return nil, wire.Unsupported(field(i, j), "is of a kind that this provider does not take from an assistant")
		}
	}
	text := m.Text()
	if text != "" || calls == 0 && refusal.String() == "" && spoken == "" {
		b = jsontext.AppendString(jsontext.AppendField(b, "content"), text)
	}
	b = jsontext.AppendStringField(b, "refusal", refusal.String())
	if spoken != "" {
		b = append(jsontext.AppendField(b, "audio"), `{"id":`...)
		b = append(jsontext.AppendString(b, spoken), '}')
	}
	if calls > 0 {
		b = toolCalls(b, m)
	}
	return b, nil
}

func toolCalls(b []byte, m *schemas.Message) []byte {
	b = append(jsontext.AppendField(b, "tool_calls"), '[')
	for j := range m.Parts {
		c := m.Parts[j].ToolCall
		if m.Parts[j].Kind != schemas.PartToolCall || c == nil {
			continue
		}
		typ, input := "function", "arguments"
		if c.Type == "custom" {
			typ, input = "custom", "input"
		}
		b = append(jsontext.AppendItem(b), `{"type":"`+typ+`","id":`...)
		b = jsontext.AppendString(b, c.ID)
		b = append(jsontext.AppendField(b, typ), `{"name":`...)
		b = jsontext.AppendString(b, c.Name)
		b = jsontext.AppendString(jsontext.AppendField(b, input), c.Arguments)
		b = append(b, "}}"...)
	}
	return append(b, ']')
}

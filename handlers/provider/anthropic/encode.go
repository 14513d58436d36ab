package anthropic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// body returns the JSON of a messages request. It is written by hand: each
// request passes here.
func (a *adapter) body(call provider.Call) ([]byte, error) {
	req := call.Request
	b := make([]byte, 0, sizeOf(req))
	b = append(b, '{')
	b = wire.AppendString(wire.AppendField(b, "model"), call.Model)
	limit := a.config.DefaultMaxTokens
	if req.MaxTokens != nil {
		limit = *req.MaxTokens
	}
	b = strconv.AppendInt(wire.AppendField(b, "max_tokens"), limit, 10)
	b, err := system(b, req)
	if err != nil {
		return nil, err
	}
	if b, err = turns(b, req); err != nil {
		return nil, err
	}
	if b, err = options(b, req); err != nil {
		return nil, err
	}
	if req.Stream {
		b = append(wire.AppendField(b, "stream"), "true"...)
	}
	b = append(b, '}')
	if ext := req.Ext[vendor]; len(ext) > 0 {
		return wire.Overlay(b, "ext."+vendor, ext, "model", "messages", "stream")
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
			n += 64 + len(p.Text) + len(p.Text)/16
			if p.Media != nil {
				n += 96 + len(p.Media.URL) + len(p.Media.Data)*4/3
			}
			if p.ToolCall != nil {
				n += 96 + len(p.ToolCall.Arguments)
			}
			if p.Reasoning != nil {
				n += len(p.Reasoning.Text)*9/8 + len(p.Reasoning.Signature)
			}
			if p.ToolResult != nil {
				n += 128
				for k := range p.ToolResult.Parts {
					n += 48 + len(p.ToolResult.Parts[k].Text)*9/8
				}
			}
		}
	}
	for i := range req.Tools {
		n += 96 + len(req.Tools[i].Description) + len(req.Tools[i].Parameters)
	}
	return n
}

// system hoists what system and developer messages say: the API has no such
// role.
func system(b []byte, req *schemas.Request) ([]byte, error) {
	start := len(b)
	for i := range req.Messages {
		m := &req.Messages[i]
		if m.Role != schemas.RoleSystem && m.Role != schemas.RoleDeveloper {
			continue
		}
		for j := range m.Parts {
			p := &m.Parts[j]
			switch {
			case p.Kind != schemas.PartText:
				return nil, wire.Unsupported(field(i, j), "is in a system message but is not text")
			case p.Text == "":
				continue
			case len(b) == start:
				b = append(wire.AppendField(b, "system"), '[')
			}
			b = appendText(wire.AppendItem(b), p.Text, p.Ext[vendor])
		}
	}
	if len(b) > start {
		b = append(b, ']')
	}
	return b, nil
}

func field(message, part int) string { return fmt.Sprintf("messages[%d].parts[%d]", message, part) }

// turns appends the conversation. Tool messages become one user turn: the API
// wants all results together, directly behind the calls.
func turns(b []byte, req *schemas.Request) ([]byte, error) {
	b = append(wire.AppendField(b, "messages"), '[')
	var err error
	results := false // an open user turn holds tool results
	for i := range req.Messages {
		m := &req.Messages[i]
		switch m.Role {
		case schemas.RoleSystem, schemas.RoleDeveloper:
			continue
		case schemas.RoleTool:
			if !results {
				b = append(wire.AppendItem(b), `{"role":"user","content":[`...)
				results = true
			}
			if b, err = content(b, m, i); err != nil {
				return nil, err
			}
			continue
		}
		if results {
			b = append(b, "]}"...)
			results = false
		}
		role := "user"
		if m.Role == schemas.RoleAssistant {
			role = "assistant"
		}
		b = append(wire.AppendItem(b), `{"role":"`...)
		b = append(append(b, role...), `","content":`...)
		if len(m.Parts) == 1 && m.Parts[0].Kind == schemas.PartText && len(m.Parts[0].Ext) == 0 {
			b = append(wire.AppendString(b, m.Parts[0].Text), '}')
			continue
		}
		if b, err = content(append(b, '['), m, i); err != nil {
			return nil, err
		}
		b = append(b, "]}"...)
	}
	if results {
		b = append(b, "]}"...)
	}
	return append(b, ']'), nil
}

// content appends the content of a message, tool results first.
func content(b []byte, m *schemas.Message, i int) ([]byte, error) {
	var why string
	for j := range m.Parts {
		if p := &m.Parts[j]; p.Kind == schemas.PartToolResult && p.ToolResult != nil {
			if b, why = appendResult(wire.AppendItem(b), p); why != "" {
				return nil, wire.Unsupported(field(i, j), why)
			}
		}
	}
	for j := range m.Parts {
		p := &m.Parts[j]
		if p.Kind == schemas.PartToolResult || skipped(p) {
			continue
		}
		if b, why = appendPart(wire.AppendItem(b), p); why != "" {
			return nil, wire.Unsupported(field(i, j), why)
		}
	}
	return b, nil
}

// skipped reports what is not sent: empty text, which the API refuses, and
// reasoning without a signature, which came from another vendor.
func skipped(p *schemas.Part) bool {
	switch p.Kind {
	case schemas.PartText, schemas.PartRefusal:
		return p.Text == ""
	case schemas.PartReasoning:
		return p.Reasoning == nil || p.Reasoning.Signature == ""
	}
	return false
}

// appendPart appends one part, or says why it cannot.
func appendPart(b []byte, p *schemas.Part) ([]byte, string) {
	ext := p.Ext[vendor]
	switch p.Kind {
	case schemas.PartText, schemas.PartRefusal:
		return appendText(b, p.Text, ext), ""
	case schemas.PartImage:
		b, why := source(append(b, `{"type":"image","source":`...), p.Media)
		return append(wire.AppendFields(b, ext), '}'), why
	case schemas.PartFile:
		b, why := source(append(b, `{"type":"document","source":`...), p.Media)
		b = wire.AppendStringField(b, "title", p.Media.Name)
		return append(wire.AppendFields(b, ext), '}'), why
	case schemas.PartToolCall:
		return appendCall(b, p.ToolCall, ext)
	case schemas.PartReasoning:
		r := p.Reasoning
		if r.Redacted {
			b = wire.AppendString(append(b, `{"type":"redacted_thinking","data":`...), r.Signature)
			return append(b, '}'), ""
		}
		b = wire.AppendString(append(b, `{"type":"thinking","thinking":`...), r.Text)
		b = wire.AppendString(wire.AppendField(b, "signature"), r.Signature)
		return append(b, '}'), ""
	}
	return b, "is of a kind that this provider does not take"
}

func appendText(b []byte, s string, ext json.RawMessage) []byte {
	b = wire.AppendString(append(b, `{"type":"text","text":`...), s)
	return append(wire.AppendFields(b, ext), '}')
}

// source appends where an image or document comes from.
func source(b []byte, m *schemas.Media) ([]byte, string) {
	switch {
	case len(m.Data) > 0 && m.MIME == "":
		return b, "has data without a mime type"
	case len(m.Data) > 0 && strings.HasPrefix(m.MIME, "text/"):
		b = wire.AppendString(append(b, `{"type":"text","media_type":"text/plain","data":`...), string(m.Data))
	case len(m.Data) > 0:
		b = wire.AppendString(append(b, `{"type":"base64","media_type":`...), m.MIME)
		b = wire.AppendBase64(wire.AppendField(b, "data"), "", m.Data)
	case m.URL != "":
		return dataURL(b, m.URL)
	default:
		b = wire.AppendString(append(b, `{"type":"file","file_id":`...), m.FileID)
	}
	return append(b, '}'), ""
}

// dataURL appends a URL, or what a data URL holds: the API does not read those.
func dataURL(b []byte, u string) ([]byte, string) {
	rest, isData := strings.CutPrefix(u, "data:")
	if !isData {
		return append(wire.AppendString(append(b, `{"type":"url","url":`...), u), '}'), ""
	}
	mime, data, ok := strings.Cut(rest, ";base64,")
	if !ok {
		return b, "has a data URL that is not in base64"
	}
	b = wire.AppendString(append(b, `{"type":"base64","media_type":`...), mime)
	return append(wire.AppendString(wire.AppendField(b, "data"), data), '}'), ""
}

func appendCall(b []byte, c *schemas.ToolCall, ext json.RawMessage) ([]byte, string) {
	input := bytes.TrimSpace([]byte(c.Arguments))
	if len(input) == 0 {
		input = []byte("{}")
	}
	if input[0] != '{' || !json.Valid(input) {
		return b, "has arguments that are not a JSON object"
	}
	b = wire.AppendString(append(b, `{"type":"tool_use","id":`...), c.ID)
	b = wire.AppendString(wire.AppendField(b, "name"), c.Name)
	b = wire.AppendRawField(b, "input", input)
	return append(wire.AppendFields(b, ext), '}'), ""
}

func appendResult(b []byte, p *schemas.Part) ([]byte, string) {
	r := p.ToolResult
	b = wire.AppendString(append(b, `{"type":"tool_result","tool_use_id":`...), r.CallID)
	b = append(wire.AppendField(b, "content"), '[')
	for k := range r.Parts {
		inner := &r.Parts[k]
		if skipped(inner) {
			continue
		}
		var why string
		if b, why = appendPart(wire.AppendItem(b), inner); why != "" {
			return b, "holds a part that " + why
		}
	}
	b = append(b, ']')
	if r.IsError {
		b = append(wire.AppendField(b, "is_error"), "true"...)
	}
	return append(wire.AppendFields(b, p.Ext[vendor]), '}'), ""
}

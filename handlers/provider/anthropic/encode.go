package anthropic

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// body returns the JSON of a messages request. It is written by hand: each
// request passes here.
func (a *adapter) body(call provider.Call) ([]byte, error) {
	req := call.Request
	b := make([]byte, 0, sizeOf(req))
	b = append(b, '{')
	if a.vertex {
		b = jsontext.AppendString(jsontext.AppendField(b, "anthropic_version"), vertexVersion)
	} else {
		b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	}
	b = strconv.AppendInt(jsontext.AppendField(b, "max_tokens"), a.limit(req), 10)
	b, err := a.prompt(b, req)
	if err != nil {
		return nil, err
	}
	if b, err = sampling(b, req.Sampling); err != nil {
		return nil, err
	}
	b = serviceTier(endUser(b, req.EndUser), req.ServiceTier)
	if req.Stream {
		b = append(jsontext.AppendField(b, "stream"), "true"...)
	}
	b = append(b, '}')
	if ext := req.Ext[vendor]; len(ext) > 0 {
		return wire.Overlay(b, "ext."+vendor, ext, "model", "messages", "stream")
	}
	return b, nil
}

// limit returns the limit on output, of which the budget for thinking is a part.
func (a *adapter) limit(req *schemas.Request) int64 {
	switch {
	case req.MaxTokens != nil:
		return *req.MaxTokens
	case budgeted(req.Thinking):
		return a.config.DefaultMaxTokens + max(*req.Thinking.BudgetTokens, 0)
	}
	return a.config.DefaultMaxTokens
}

// prompt appends the fields that make up the prompt.
func (a *adapter) prompt(b []byte, req *schemas.Request) ([]byte, error) {
	b, err := system(b, req)
	if err != nil {
		return nil, err
	}
	if b, err = turns(b, req); err != nil {
		return nil, err
	}
	return options(b, req)
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
	for i := range req.Documents {
		n += 128 + len(req.Documents[i].Text)*9/8
	}
	if req.Output != nil {
		n += 64 + len(req.Output.Schema)
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
				b = append(jsontext.AppendField(b, "system"), '[')
			}
			b = appendText(jsontext.AppendItem(b), p)
		}
	}
	if len(b) > start {
		b = append(b, ']')
	}
	return b, nil
}

func field(message, part int) string { return fmt.Sprintf("messages[%d].parts[%d]", message, part) }

// turns appends the conversation. Tool messages become one user turn: the API
// wants all results together, directly behind the calls. Documents go to the first
// user turn, where they stay when the conversation goes on.
func turns(b []byte, req *schemas.Request) ([]byte, error) {
	b = append(jsontext.AppendField(b, "messages"), '[')
	var err error
	results := false // an open user turn holds tool results
	grounds := req.Documents
	for i := range req.Messages {
		m := &req.Messages[i]
		switch m.Role {
		case schemas.RoleSystem, schemas.RoleDeveloper:
			continue
		case schemas.RoleTool:
			if !results {
				b = append(jsontext.AppendItem(b), `{"role":"user","content":[`...)
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
		b = append(jsontext.AppendItem(b), `{"role":"`...)
		b = append(append(b, role...), `","content":`...)
		if plain(m) && (m.Role != schemas.RoleUser || len(grounds) == 0) {
			b = append(jsontext.AppendString(b, m.Parts[0].Text), '}')
			continue
		}
		b = append(b, '[')
		if m.Role == schemas.RoleUser {
			b, grounds = documents(b, grounds), nil
		}
		if b, err = content(b, m, i); err != nil {
			return nil, err
		}
		b = append(b, "]}"...)
	}
	if results {
		b = append(b, "]}"...)
	}
	if len(grounds) > 0 {
		return nil, wire.Unsupported("documents", "has no message of a user to go with")
	}
	return append(b, ']'), nil
}

// plain reports whether a message is nothing but a text.
func plain(m *schemas.Message) bool {
	if len(m.Parts) != 1 || len(m.Ext) > 0 {
		return false
	}
	p := &m.Parts[0]
	return p.Kind == schemas.PartText && p.Text != "" && len(p.Ext) == 0 && p.CacheBreak == "" && len(p.Citations) == 0
}

// documents appends texts to ground an answer in, as search results: the one form
// that the API cites by a name of ours.
func documents(b []byte, list []schemas.Document) []byte {
	for i := range list {
		d := &list[i]
		name := cmp.Or(d.ID, d.Title, "document-"+strconv.Itoa(i))
		b = jsontext.AppendString(append(jsontext.AppendItem(b), `{"type":"search_result","source":`...), name)
		b = jsontext.AppendString(jsontext.AppendField(b, "title"), cmp.Or(d.Title, name))
		b = append(jsontext.AppendField(b, "content"), '[')
		if d.Text != "" || len(d.Data) == 0 {
			b = append(jsontext.AppendString(append(b, `{"type":"text","text":`...), cmp.Or(d.Text, name)), '}')
		}
		for _, key := range slices.Sorted(maps.Keys(d.Data)) {
			b = jsontext.AppendString(append(jsontext.AppendItem(b), `{"type":"text","text":`...), key+": "+d.Data[key])
			b = append(b, '}')
		}
		b = append(b, `],"citations":{"enabled":true}}`...)
	}
	return b
}

// content appends the content of a message, tool results first, and what an
// earlier answer had that the schemas have no place for where it was.
func content(b []byte, m *schemas.Message, i int) ([]byte, error) {
	var why string
	for j := range m.Parts {
		if p := &m.Parts[j]; p.Kind == schemas.PartToolResult && p.ToolResult != nil {
			if b, why = appendResult(jsontext.AppendItem(b), p); why != "" {
				return nil, wire.Unsupported(field(i, j), why)
			}
		}
	}
	own := ownOf(m)
	for j := range m.Parts {
		b = own.blocks(b, j)
		p := &m.Parts[j]
		if p.Kind == schemas.PartToolResult || skipped(p) {
			continue
		}
		if b, why = appendPart(jsontext.AppendItem(b), p, own); why != "" {
			return nil, wire.Unsupported(field(i, j), why)
		}
	}
	return own.blocks(b, math.MaxInt), nil
}

// skipped reports what is not sent: empty text, which the API refuses, and what is
// another vendor's: reasoning with an id or without a signature, and tools that it
// ran itself.
func skipped(p *schemas.Part) bool {
	switch p.Kind {
	case schemas.PartText, schemas.PartRefusal:
		return p.Text == ""
	case schemas.PartReasoning:
		return p.Reasoning == nil || p.Reasoning.Signature == "" || p.Reasoning.ID != ""
	case schemas.PartToolCall:
		return p.ToolCall.Type == typeServer && !strings.HasPrefix(p.ToolCall.ID, "srvtoolu_")
	}
	return false
}

// typeServer is the Type of a call of a tool that the vendor ran itself.
const typeServer = "server"

// appendPart appends one part, or says why it cannot.
func appendPart(b []byte, p *schemas.Part, own *extras) ([]byte, string) {
	switch p.Kind {
	case schemas.PartText, schemas.PartRefusal:
		return appendText(b, p), ""
	case schemas.PartImage, schemas.PartFile:
		return appendMedia(b, p)
	case schemas.PartToolCall:
		return appendCall(b, p, own)
	case schemas.PartReasoning:
		r := p.Reasoning
		if r.Redacted {
			b = jsontext.AppendString(append(b, `{"type":"redacted_thinking","data":`...), r.Signature)
			return append(b, '}'), ""
		}
		b = jsontext.AppendString(append(b, `{"type":"thinking","thinking":`...), r.Text)
		b = jsontext.AppendString(jsontext.AppendField(b, "signature"), r.Signature)
		return append(b, '}'), ""
	}
	return b, "is of a kind that this provider does not take"
}

// finishBlock appends what any block may have, and its brace.
func finishBlock(b []byte, p *schemas.Part) []byte {
	ext := p.Ext[vendor]
	if p.CacheBreak != "" && !bytes.Contains(ext, []byte(`"cache_control"`)) {
		b = appendLifetime(jsontext.AppendField(b, "cache_control"), p.CacheBreak)
	}
	return append(jsontext.AppendFields(b, ext), '}')
}

func appendText(b []byte, p *schemas.Part) []byte {
	b = jsontext.AppendString(append(b, `{"type":"text","text":`...), p.Text)
	return finishBlock(appendCitations(b, p.Citations), p)
}

func appendCall(b []byte, p *schemas.Part, own *extras) ([]byte, string) {
	c := p.ToolCall
	input := bytes.TrimSpace([]byte(c.Arguments))
	if len(input) == 0 {
		input = []byte("{}")
	}
	if input[0] != '{' || !json.Valid(input) {
		return b, "has arguments that are not a JSON object"
	}
	kind := `{"type":"tool_use","id":`
	if c.Type == typeServer {
		kind = `{"type":"server_tool_use","id":`
	}
	b = jsontext.AppendString(append(b, kind...), callID(c.ID))
	b = jsontext.AppendString(jsontext.AppendField(b, "name"), c.Name)
	b = jsontext.AppendRawField(b, "input", input)
	b = jsontext.AppendRawField(b, "caller", own.caller(c.ID))
	return finishBlock(b, p), ""
}

// callID spells an id with the characters that the API allows: other vendors' ids
// have more.
func callID(id string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		}
		return '_'
	}, id)
}

func appendResult(b []byte, p *schemas.Part) ([]byte, string) {
	r := p.ToolResult
	b = jsontext.AppendString(append(b, `{"type":"tool_result","tool_use_id":`...), callID(r.CallID))
	b = append(jsontext.AppendField(b, "content"), '[')
	for k := range r.Parts {
		inner := &r.Parts[k]
		if skipped(inner) {
			continue
		}
		var why string
		if b, why = appendPart(jsontext.AppendItem(b), inner, nil); why != "" {
			return b, "holds a part that " + why
		}
	}
	b = append(b, ']')
	if r.IsError {
		b = append(jsontext.AppendField(b, "is_error"), "true"...)
	}
	return finishBlock(b, p), ""
}

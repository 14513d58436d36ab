package gemini

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/http"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// chat returns the request for an answer, whole or streamed.
func (a *adapter) chat(ctx context.Context, call provider.Call) (*http.Request, error) {
	return a.generate(ctx, call, call.Request, nil)
}

// generate asks for an answer to req, which may be another than the call's: some
// operations are chats in disguise. generation holds further fields of
// generationConfig.
func (a *adapter) generate(ctx context.Context, call provider.Call, req *schemas.Request, generation []byte) (*http.Request, error) {
	body, err := a.body(call.Model, req, generation)
	if err != nil {
		return nil, err
	}
	u := a.method(call.Model, "generateContent")
	if req.Stream {
		u = a.method(call.Model, "streamGenerateContent")
		u.RawQuery = "alt=sse"
	}
	r := a.post(ctx, u, call, body)
	if a.vertex && req.ServiceTier != "" {
		r.Header.Set("X-Vertex-AI-LLM-Shared-Request-Type", req.ServiceTier)
	}
	return r, nil
}

// countTokens asks how long a chat is.
func (a *adapter) countTokens(ctx context.Context, call provider.Call) (*http.Request, error) {
	body, err := a.body(call.Model, call.Request, nil)
	if err != nil {
		return nil, err
	}
	if !a.vertex { // AI Studio counts tools and system text in this form only
		b := append(make([]byte, 0, len(body)+96), `{"generateContentRequest":{"model":`...)
		b = jsontext.AppendFields(jsontext.AppendString(b, a.resource(call.Model)), body)
		body = append(b, "}}"...)
	}
	return a.post(ctx, a.method(call.Model, "countTokens"), call, body), nil
}

// body returns the JSON of a generateContent request. It is written by hand:
// each request passes here.
func (a *adapter) body(model string, req *schemas.Request, generation []byte) ([]byte, error) {
	w := writer{a: a, model: model, req: req, b: make([]byte, 0, sizeOf(req))}
	w.b = append(w.b, '{')
	if err := w.system(); err != nil {
		return nil, err
	}
	if err := w.contents(); err != nil {
		return nil, err
	}
	if err := w.options(generation); err != nil {
		return nil, err
	}
	w.b = append(w.b, '}')
	if ext := req.Ext[vendor]; len(ext) > 0 {
		return overlay(w.b, ext)
	}
	return w.b, nil
}

// sizeOf guesses the length of the body, so that it rarely has to grow.
func sizeOf(req *schemas.Request) int {
	n := 256
	for i := range req.Messages {
		n += 48
		for j := range req.Messages[i].Parts {
			p := &req.Messages[i].Parts[j]
			n += 48 + len(p.Text) + len(p.Text)/16
			if p.Media != nil {
				n += 96 + len(p.Media.URL) + len(p.Media.Data)*4/3
			}
			if p.ToolCall != nil {
				n += 96 + len(p.ToolCall.Arguments)
			}
			if p.Reasoning != nil {
				n += len(p.Reasoning.Text) + len(p.Reasoning.Signature)
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
	if req.Output != nil {
		n += 96 + len(req.Output.Schema)
	}
	return n
}

// writer writes a request.
type writer struct {
	a     *adapter
	model string
	req   *schemas.Request
	b     []byte
}

func field(message, part int) string { return fmt.Sprintf("messages[%d].parts[%d]", message, part) }

// system hoists what system and developer messages say: the API has no such
// role.
func (w *writer) system() error {
	start := len(w.b)
	for i := range w.req.Messages {
		m := &w.req.Messages[i]
		if m.Role != schemas.RoleSystem && m.Role != schemas.RoleDeveloper {
			continue
		}
		for j := range m.Parts {
			p := &m.Parts[j]
			switch {
			case p.Kind != schemas.PartText:
				return wire.Unsupported(field(i, j), "is in a system message but is not text")
			case p.Text == "":
				continue
			case len(w.b) == start:
				w.b = append(jsontext.AppendField(w.b, "systemInstruction"), `{"parts":[`...)
			}
			w.b = jsontext.AppendString(append(jsontext.AppendItem(w.b), `{"text":`...), p.Text)
			w.b = append(w.b, '}')
		}
	}
	if len(w.b) > start {
		w.b = append(w.b, "]}"...)
	}
	return nil
}

// contents appends the conversation. Tool messages become one turn: the API wants
// as many results in it as there were calls.
func (w *writer) contents() error {
	w.b = append(jsontext.AppendField(w.b, "contents"), '[')
	start, open := len(w.b), "" // the role of a turn that may go on
	for i := range w.req.Messages {
		m := &w.req.Messages[i]
		role := "user"
		switch m.Role {
		case schemas.RoleSystem, schemas.RoleDeveloper:
			continue
		case schemas.RoleAssistant:
			role = "model"
		}
		goesOn := open == "tool" && m.Role == schemas.RoleTool
		before := len(w.b)
		if goesOn {
			w.b = w.b[:len(w.b)-len("]}")]
		} else {
			w.b = append(jsontext.AppendItem(w.b), `{"role":"`...)
			w.b = append(append(w.b, role...), `","parts":[`...)
		}
		empty := len(w.b)
		if err := w.parts(m, i); err != nil {
			return err
		}
		if len(w.b) == empty && !goesOn { // the API refuses turns without parts
			w.b = w.b[:before]
			continue
		}
		w.b = append(w.b, "]}"...)
		open = string(m.Role)
	}
	if len(w.b) == start {
		return wire.Invalid("messages", "has nothing but system messages: add a user's")
	}
	w.b = append(w.b, ']')
	return nil
}

// parts appends the parts of a message. A signature goes with the part that it
// stands behind, as it came; one without a part before it, with the next.
func (w *writer) parts(m *schemas.Message, i int) error {
	own := ownParts(m)
	signed, pending := w.substitute(m), ""
	for j := range m.Parts {
		w.own(own, j, j+1)
		p := &m.Parts[j]
		if bare(p) {
			if j == 0 || !signable(&m.Parts[j-1]) {
				pending = p.Reasoning.Signature
			}
			continue
		}
		signature := pending
		if j+1 < len(m.Parts) && bare(&m.Parts[j+1]) {
			signature = m.Parts[j+1].Reasoning.Signature
		}
		if skipped(p, signature) {
			continue
		}
		if signature == "" && p.Kind == schemas.PartToolCall {
			signature, signed = signed, ""
		}
		if why := w.part(p, signature); why != "" {
			return wire.Unsupported(field(i, j), why)
		}
		if signable(p) {
			pending = ""
		}
	}
	w.own(own, len(m.Parts), math.MaxInt)
	if pending != "" {
		w.b = jsontext.AppendString(append(jsontext.AppendItem(w.b), `{"text":"","thoughtSignature":`...), pending)
		w.b = append(w.b, '}')
	}
	return nil
}

// bare reports whether p is only the signature of another part.
func bare(p *schemas.Part) bool {
	return p.Kind == schemas.PartReasoning && p.Reasoning != nil && p.Reasoning.Text == "" &&
		p.Reasoning.Signature != "" && !foreign(p.Reasoning)
}

// foreign reports whether reasoning is another vendor's for sure: this one knows
// neither ids nor redaction.
func foreign(r *schemas.Reasoning) bool { return r.ID != "" || r.Redacted }

func signable(p *schemas.Part) bool {
	return p.Kind != schemas.PartReasoning && p.Kind != schemas.PartToolResult
}

// skipped reports what is not sent: empty text, and thoughts without a signature,
// which tell the model nothing.
func skipped(p *schemas.Part, signature string) bool {
	switch p.Kind {
	case schemas.PartText, schemas.PartRefusal:
		return p.Text == "" && signature == ""
	case schemas.PartReasoning:
		return p.Reasoning == nil || p.Reasoning.Signature == "" || foreign(p.Reasoning)
	}
	return false
}

// substitute returns what stands for the signature of the first call in a
// message that has none, because another model wrote it. Gemini 3 and later
// refuse such a message otherwise (ai.google.dev/gemini-api/docs/thought-signatures).
func (w *writer) substitute(m *schemas.Message) string {
	if m.Role != schemas.RoleAssistant || legacyThinking(w.model) {
		return ""
	}
	for j := range m.Parts {
		if p := &m.Parts[j]; bare(p) || bytes.Contains(p.Ext[vendor], []byte("thoughtSignature")) {
			return ""
		}
	}
	return "skip_thought_signature_validator"
}

// part appends one part, or says why it cannot.
func (w *writer) part(p *schemas.Part, signature string) string {
	w.b = append(jsontext.AppendItem(w.b), '{')
	why := ""
	switch p.Kind {
	case schemas.PartText, schemas.PartRefusal:
		w.b = jsontext.AppendString(jsontext.AppendField(w.b, "text"), p.Text)
	case schemas.PartImage, schemas.PartAudio, schemas.PartVideo, schemas.PartFile:
		why = w.media(p.Media)
	case schemas.PartToolCall:
		why = w.call(p.ToolCall)
	case schemas.PartToolResult:
		why = w.result(p.ToolResult)
	case schemas.PartReasoning:
		w.b = jsontext.AppendString(jsontext.AppendField(w.b, "text"), p.Reasoning.Text)
		w.b = append(w.b, `,"thought":true`...)
		signature = p.Reasoning.Signature
	default:
		why = "is of a kind that this provider does not take"
	}
	w.b = jsontext.AppendStringField(w.b, "thoughtSignature", signature)
	w.b = append(jsontext.AppendFields(w.b, p.Ext[vendor]), '}')
	return why
}

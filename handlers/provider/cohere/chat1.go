package cohere

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// chat1 returns the JSON of a chat request, version 1: the last message stands
// apart from those before it, tool results go by the call and not by its id, and
// tools have no JSON schema.
func (a *adapter) chat1(call provider.Call) ([]byte, error) {
	req := call.Request
	if err := beyond(req); err != nil {
		return nil, err
	}
	turns, err := turns1(req)
	if err != nil {
		return nil, err
	}
	last := &turns[len(turns)-1]
	b := append(make([]byte, 0, sizeOf(req)), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	b = jsontext.AppendString(jsontext.AppendField(b, "message"), last.text)
	if len(turns) > 1 {
		b = append(jsontext.AppendField(b, "chat_history"), '[')
		for i := range turns[:len(turns)-1] {
			b = turns[i].append(jsontext.AppendItem(b))
		}
		b = append(b, ']')
	}
	b = jsontext.AppendRawField(b, "tool_results", last.results)
	if b, err = tools1(b, req); err != nil {
		return nil, err
	}
	if len(req.Documents) > 0 {
		b = append(jsontext.AppendField(b, "documents"), '[')
		for i := range req.Documents {
			b = append(jsontext.AppendItem(b), '{')
			b = jsontext.AppendStringField(b, "id", req.Documents[i].ID)
			b = append(documentFields(b, &req.Documents[i]), '}')
		}
		b = append(b, ']')
	}
	if o := req.Output; o != nil && (o.Format == "json" || o.Format == "json_schema") {
		b = append(jsontext.AppendField(b, "response_format"), `{"type":"json_object"`...)
		b = append(jsontext.AppendRawField(b, "schema", o.Schema), '}')
	}
	b = sampling(b, withoutLogProbs(req))
	b = jsontext.AppendStringField(b, "safety_mode", a.config.SafetyMode)
	b = jsontext.AppendBoolField(b, "stream", &req.Stream)
	return extended(append(b, '}'), req, "model", "message", "chat_history", "stream")
}

// withoutLogProbs returns req without a setting that version 1 refuses.
func withoutLogProbs(req *schemas.Request) *schemas.Request {
	if req.Sampling == nil || req.Sampling.LogProbs == nil {
		return req
	}
	r, s := *req, *req.Sampling
	s.LogProbs = nil
	r.Sampling = &s
	return &r
}

// turn is a message of version 1.
type turn struct {
	role, text     string
	calls, results []byte // JSON lists
}

func (t *turn) append(b []byte) []byte {
	b = append(b, '{')
	b = jsontext.AppendStringField(b, "role", t.role)
	b = jsontext.AppendString(jsontext.AppendField(b, "message"), t.text)
	b = jsontext.AppendRawField(b, "tool_calls", t.calls)
	b = jsontext.AppendRawField(b, "tool_results", t.results)
	return append(b, '}')
}

var roles1 = map[schemas.Role]string{
	schemas.RoleSystem: "SYSTEM", schemas.RoleDeveloper: "SYSTEM", schemas.RoleUser: "USER",
	schemas.RoleAssistant: "CHATBOT", schemas.RoleTool: "TOOL",
}

// turns1 returns the messages of req. The last is the user's or holds tool
// results.
func turns1(req *schemas.Request) ([]turn, error) {
	turns := make([]turn, 0, len(req.Messages))
	made := make(map[string][]byte) // the calls so far, by id
	for i := range req.Messages {
		m := &req.Messages[i]
		t := turn{role: roles1[m.Role], text: m.Text()}
		for j := range m.Parts {
			if err := t.part(&m.Parts[j], made, i, j); err != nil {
				return nil, err
			}
		}
		t.calls, t.results = closed(t.calls), closed(t.results)
		if n := len(turns); t.role == "TOOL" && n > 0 && turns[n-1].role == "TOOL" { // results of one step belong together
			all := append(turns[n-1].results[:len(turns[n-1].results)-1], ',')
			turns[n-1].results = append(all, t.results[1:]...)
			continue
		}
		turns = append(turns, t)
	}
	last := &turns[len(turns)-1]
	if last.role != "USER" && last.results == nil {
		return nil, wire.Unsupported(fmt.Sprintf("messages[%d]", len(req.Messages)-1),
			"is the last but not the user's: version 1 of the API answers a user")
	}
	return turns, nil
}

// part takes in what of a message is not its text.
func (t *turn) part(p *schemas.Part, made map[string][]byte, i, j int) error {
	switch p.Kind {
	case schemas.PartText, schemas.PartReasoning:
		return nil
	case schemas.PartToolCall:
		arguments := []byte(p.ToolCall.Arguments)
		if !json.Valid(arguments) {
			arguments = []byte("{}")
		}
		c := append([]byte(`{"name":`), jsontext.AppendString(nil, p.ToolCall.Name)...)
		c = append(jsontext.AppendRawField(c, "parameters", arguments), '}')
		made[p.ToolCall.ID] = c
		t.calls = append(listed(t.calls), c...)
		return nil
	case schemas.PartToolResult:
		text, err := resultText(p.ToolResult, i, j)
		if err != nil {
			return err
		}
		c, known := made[p.ToolResult.CallID]
		if !known {
			return wire.Invalid(field(i, j), "is the result of a tool call that is not among the messages before it")
		}
		t.role = "TOOL"
		t.results = append(append(listed(t.results), `{"call":`...), c...)
		t.results = append(append(append(t.results, `,"outputs":[`...), outputOf(text)...), `]}`...)
		return nil
	}
	return wire.Unsupported(field(i, j), "is of a kind that version 1 of the API does not take: it takes text")
}

// outputOf returns a tool's output as the object that the API wants.
func outputOf(text string) []byte {
	if raw := []byte(text); len(raw) > 0 && raw[0] == '{' && json.Valid(raw) {
		return raw
	}
	return append(jsontext.AppendString([]byte(`{"output":`), text), '}')
}

func listed(b []byte) []byte {
	if b == nil {
		return []byte{'['}
	}
	return append(b, ',')
}

func closed(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append(b, ']')
}

// tools1 appends the tools with the parameters' types by name. What a JSON schema
// says beyond that is lost: version 1 has no words for it.
func tools1(b []byte, req *schemas.Request) ([]byte, error) {
	list, err := offered(req)
	if err != nil || len(list) == 0 || req.ToolChoice != nil && req.ToolChoice.Mode == "none" {
		return b, err
	}
	b = append(jsontext.AppendField(b, "tools"), '[')
	for i := range list {
		b = append(jsontext.AppendItem(b), '{')
		b = jsontext.AppendString(jsontext.AppendField(b, "name"), list[i].Name)
		b = jsontext.AppendString(jsontext.AppendField(b, "description"), list[i].Description)
		if len(list[i].Parameters) > 0 {
			if b, err = definitions(b, &list[i]); err != nil {
				return nil, wire.Invalid(fmt.Sprintf("tools[%d].parameters", i), "is no JSON schema of an object")
			}
		}
		b = append(b, '}')
	}
	return append(b, ']'), nil
}

// types1 are the API's names, those of Python, of JSON schema's types.
var types1 = map[string]string{
	"string": "str", "integer": "int", "number": "float", "boolean": "bool", "array": "list", "object": "dict",
}

func definitions(b []byte, t *schemas.Tool) ([]byte, error) {
	var schema struct {
		Properties map[string]struct {
			Type        any    `json:"type"`
			Description string `json:"description"`
		} `json:"properties"`
		Required []string `json:"required"`
	}
	if err := json.Unmarshal(t.Parameters, &schema); err != nil {
		return nil, err
	}
	type definition struct {
		Description string `json:"description"`
		Type        string `json:"type"`
		Required    bool   `json:"required"`
	}
	all := make(map[string]definition, len(schema.Properties))
	for name, p := range schema.Properties {
		word, _ := p.Type.(string)
		d := definition{Description: p.Description, Type: types1[word], Required: slices.Contains(schema.Required, name)}
		if d.Type == "" {
			d.Type = "str"
		}
		all[name] = d
	}
	raw, err := json.Marshal(all)
	return jsontext.AppendRawField(b, "parameter_definitions", raw), err
}

// generate returns the JSON of a completion, which only version 1 has.
func generate(call provider.Call) ([]byte, error) {
	req := call.Request
	var prompt strings.Builder
	for i := range req.Messages {
		for j := range req.Messages[i].Parts {
			if k := req.Messages[i].Parts[j].Kind; k != schemas.PartText {
				return nil, wire.Unsupported(field(i, j), "is not text, which is all that a completion takes")
			}
		}
		prompt.WriteString(req.Messages[i].Text())
	}
	b := append(make([]byte, 0, sizeOf(req)), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	b = jsontext.AppendString(jsontext.AppendField(b, "prompt"), prompt.String())
	if s := req.Sampling; s != nil {
		b = jsontext.AppendIntField(b, "num_generations", s.N)
		if s.LogProbs != nil {
			b = jsontext.AppendStringField(b, "return_likelihoods", "GENERATION")
		}
	}
	b = sampling(b, withoutLogProbs(req))
	b = jsontext.AppendBoolField(b, "stream", &req.Stream)
	return extended(append(b, '}'), req, "model", "prompt", "stream")
}

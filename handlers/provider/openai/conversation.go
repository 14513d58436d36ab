package openai

import (
	"cmp"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// conversation returns the JSON of a request to the responses API, which has a
// list of items where chat completions has messages.
func (a *Adapter) conversation(call provider.Call) ([]byte, error) {
	req := call.Request
	b, err := a.items(call)
	if err != nil {
		return nil, err
	}
	if s := req.Sampling; s != nil {
		switch {
		case s.N != nil && *s.N != 1:
			return nil, wire.Unsupported("sampling.n", "is not 1: this API gives one answer")
		case len(s.Stop) > 0:
			return nil, wire.Unsupported("sampling.stop", "is not known to this API: use api: chat")
		}
		b = jsontext.AppendFloatField(b, "temperature", s.Temperature)
		b = jsontext.AppendFloatField(b, "top_p", s.TopP)
		b = jsontext.AppendIntField(b, "top_logprobs", s.LogProbs)
	}
	b = jsontext.AppendIntField(b, "max_output_tokens", req.MaxTokens)
	b = a.shared(b, req)
	b = a.include(b, req)
	if a.config.Background {
		b = append(jsontext.AppendField(b, "background"), "true"...)
	}
	store := a.config.Store || a.config.Background
	b = jsontext.AppendBoolField(b, "store", &store)
	if req.Stream {
		b = append(jsontext.AppendField(b, "stream"), "true"...)
	}
	return a.closed(b, call, "model", "input", "stream")
}

// countable is conversation without what only an answer needs.
func (a *Adapter) countable(call provider.Call) ([]byte, error) {
	b, err := a.items(call)
	if err != nil {
		return nil, err
	}
	return a.closed(b, call, "model", "input")
}

// items begins the body with what the model reads.
func (a *Adapter) items(call provider.Call) ([]byte, error) {
	req := call.Request
	switch {
	case len(req.Documents) > 0:
		return nil, wire.Unsupported("documents", "are not taken by this provider: put them into a message")
	case req.Output != nil && len(req.Output.Modalities) > 0 && (len(req.Output.Modalities) > 1 || req.Output.Modalities[0] != "text"):
		return nil, wire.Unsupported("output.modalities", "are not known to this API: use api: chat")
	}
	b := append(make([]byte, 0, sizeOf(req)), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	b = append(jsontext.AppendField(b, "input"), '[')
	w := itemWriter{a: a, types: outputTypes(req)}
	var err error
	for i := range req.Messages {
		if b, err = w.message(b, &req.Messages[i], i); err != nil {
			return nil, err
		}
	}
	b = append(b, ']')
	if b, err = a.flatTools(b, req); err != nil {
		return nil, err
	}
	b = textFormat(b, req.Output)
	if t := req.Thinking; t != nil && t.Effort != "" {
		b = append(jsontext.AppendField(b, "reasoning"), `{"effort":`...)
		b = append(jsontext.AppendString(b, t.Effort), '}')
	}
	return b, nil
}

// include asks for what is not in an answer by itself. Models that do not reason
// refuse the encrypted reasoning, so it is for requests that show they know.
func (a *Adapter) include(b []byte, req *schemas.Request) []byte {
	var fields []string
	if !a.config.Store && !a.config.Background && (req.Thinking != nil && req.Thinking.Effort != "none" || a.thoughtBefore(req)) {
		fields = append(fields, "reasoning.encrypted_content")
	}
	if req.Sampling != nil && req.Sampling.LogProbs != nil {
		fields = append(fields, "message.output_text.logprobs")
	}
	if len(fields) == 0 {
		return b
	}
	return jsontext.AppendStrings(jsontext.AppendField(b, "include"), fields)
}

func (a *Adapter) thoughtBefore(req *schemas.Request) bool {
	for i := range req.Messages {
		for j := range req.Messages[i].Parts {
			if p := &req.Messages[i].Parts[j]; p.Kind == schemas.PartReasoning && a.returns(p.Reasoning) {
				return true
			}
		}
	}
	return false
}

// returns reports whether reasoning goes back to the responses API: it has an id
// of that API and is encrypted, or kept there.
func (a *Adapter) returns(r *schemas.Reasoning) bool {
	return r.ID != "" && (r.Signature != "" || a.config.Store)
}

// flatTools appends tools in the form of the responses API, which takes strict
// for granted unless it is told otherwise.
func (a *Adapter) flatTools(b []byte, req *schemas.Request) ([]byte, error) {
	if len(req.Tools) > 0 {
		b = append(jsontext.AppendField(b, "tools"), '[')
		for i := range req.Tools {
			t := &req.Tools[i]
			own, err := a.ownTool(t, i)
			if err != nil {
				return nil, err
			}
			b = jsontext.AppendItem(b)
			if own.whole {
				b = append(b, own.fields...)
				continue
			}
			b = append(b, `{"type":"function","name":`...)
			b = jsontext.AppendString(b, t.Name)
			b = jsontext.AppendStringField(b, "description", t.Description)
			parameters := []byte(t.Parameters)
			if len(parameters) == 0 {
				parameters = []byte("null")
			}
			b = jsontext.AppendRawField(b, "parameters", parameters)
			strict := t.Strict != nil && *t.Strict
			b = jsontext.AppendBoolField(b, "strict", &strict)
			b = append(jsontext.AppendFields(b, own.fields), '}')
		}
		b = append(b, ']')
	}
	c := req.ToolChoice
	if c == nil {
		return b, nil
	}
	switch {
	case c.Mode == "":
	case c.Mode != "named":
		b = jsontext.AppendStringField(b, "tool_choice", c.Mode)
	case len(c.Names) == 1:
		b = append(jsontext.AppendField(b, "tool_choice"), `{"type":"function","name":`...)
		b = append(jsontext.AppendString(b, c.Names[0]), '}')
	default:
		b = append(jsontext.AppendField(b, "tool_choice"), `{"type":"allowed_tools","mode":"required","tools":[`...)
		for _, name := range c.Names {
			b = append(jsontext.AppendItem(b), `{"type":"function","name":`...)
			b = append(jsontext.AppendString(b, name), '}')
		}
		b = append(b, "]}"...)
	}
	if c.DisableParallel {
		b = append(jsontext.AppendField(b, "parallel_tool_calls"), "false"...)
	}
	return b, nil
}

func textFormat(b []byte, o *schemas.OutputSpec) []byte {
	if o == nil {
		return b
	}
	switch o.Format {
	case "json":
		b = append(jsontext.AppendField(b, "text"), `{"format":{"type":"json_object"}}`...)
	case "json_schema":
		b = append(jsontext.AppendField(b, "text"), `{"format":{"type":"json_schema"`...)
		b = jsontext.AppendStringField(b, "name", cmp.Or(o.Name, schemaName))
		b = jsontext.AppendRawField(b, "schema", o.Schema)
		b = jsontext.AppendBoolField(b, "strict", o.Strict)
		b = append(b, "}}"...)
	}
	return b
}

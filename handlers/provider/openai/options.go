package openai

import (
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

func tools(b []byte, req *schemas.Request) []byte {
	if len(req.Tools) > 0 {
		b = append(wire.AppendField(b, "tools"), '[')
		for i := range req.Tools {
			t := &req.Tools[i]
			b = append(wire.AppendItem(b), `{"type":"function","function":{"name":`...)
			b = wire.AppendString(b, t.Name)
			b = wire.AppendStringField(b, "description", t.Description)
			b = wire.AppendRawField(b, "parameters", t.Parameters)
			b = wire.AppendBoolField(b, "strict", t.Strict)
			b = append(b, "}}"...)
		}
		b = append(b, ']')
	}
	if req.ToolChoice == nil {
		return b
	}
	b = choice(b, req.ToolChoice)
	if req.ToolChoice.DisableParallel {
		b = append(wire.AppendField(b, "parallel_tool_calls"), "false"...)
	}
	return b
}

func choice(b []byte, c *schemas.ToolChoice) []byte {
	switch {
	case c.Mode == "":
		return b
	case c.Mode != "named":
		return wire.AppendStringField(b, "tool_choice", c.Mode)
	case len(c.Names) == 1:
		b = append(wire.AppendField(b, "tool_choice"), `{"type":"function","function":{"name":`...)
		return append(wire.AppendString(b, c.Names[0]), "}}"...)
	}
	b = append(wire.AppendField(b, "tool_choice"), `{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[`...)
	for _, name := range c.Names {
		b = append(wire.AppendItem(b), `{"type":"function","function":{"name":`...)
		b = append(wire.AppendString(b, name), "}}"...)
	}
	return append(b, "]}}"...)
}

// schemaName stands where the API wants a name for a schema and the requester
// gave none.
const schemaName = "answer"

func output(b []byte, o *schemas.OutputSpec) []byte {
	if o == nil {
		return b
	}
	switch o.Format {
	case "json":
		b = append(wire.AppendField(b, "response_format"), `{"type":"json_object"}`...)
	case "json_schema":
		name := o.Name
		if name == "" {
			name = schemaName
		}
		b = append(wire.AppendField(b, "response_format"), `{"type":"json_schema","json_schema":{`...)
		b = wire.AppendStringField(b, "name", name)
		b = wire.AppendRawField(b, "schema", o.Schema)
		b = wire.AppendBoolField(b, "strict", o.Strict)
		b = append(b, "}}"...)
	}
	return b
}

func (a *adapter) sampling(b []byte, req *schemas.Request) []byte {
	if s := req.Sampling; s != nil {
		b = wire.AppendFloatField(b, "temperature", s.Temperature)
		b = wire.AppendFloatField(b, "top_p", s.TopP)
		if a.config.TopK {
			b = wire.AppendIntField(b, "top_k", s.TopK)
		}
		b = wire.AppendFloatField(b, "frequency_penalty", s.FrequencyPenalty)
		b = wire.AppendFloatField(b, "presence_penalty", s.PresencePenalty)
		b = wire.AppendIntField(b, "seed", s.Seed)
		b = wire.AppendIntField(b, "n", s.N)
		if len(s.Stop) > 0 {
			b = wire.AppendStrings(wire.AppendField(b, "stop"), s.Stop)
		}
	}
	if req.Thinking != nil {
		b = wire.AppendStringField(b, "reasoning_effort", req.Thinking.Effort)
	}
	return b
}

// unsaid lists what of req this API has no words for, and what was therefore not
// sent.
func (a *adapter) unsaid(req *schemas.Request) []string {
	var w []string
	if s := req.Sampling; s != nil && s.TopK != nil && !a.config.TopK {
		w = append(w, "sampling.top_k was not sent: the provider has no such setting")
	}
	if t := req.Thinking; t != nil && t.BudgetTokens != nil {
		w = append(w, "thinking.budget_tokens was not sent: the provider has no such setting")
	}
	if t := req.Thinking; t != nil && t.Enabled != nil && t.Effort == "" {
		w = append(w, "thinking.enabled was not sent: set thinking.effort for this provider")
	}
	for i := range req.Messages {
		for j := range req.Messages[i].Parts {
			p := &req.Messages[i].Parts[j]
			if p.Kind == schemas.PartReasoning {
				w = append(w, field(i, j)+" was not sent: the provider does not take reasoning back")
			}
			if p.ToolResult != nil && p.ToolResult.IsError {
				w = append(w, field(i, j)+".tool_result.is_error was not sent: the provider has no such field")
			}
		}
	}
	return w
}

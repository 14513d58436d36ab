package anthropic

import (
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

func options(b []byte, req *schemas.Request) ([]byte, error) {
	b = tools(b, req.Tools)
	b, err := choice(b, req.ToolChoice)
	if err != nil {
		return nil, err
	}
	b = outputConfig(b, req)
	b = thinking(b, req.Thinking)
	if s := req.Sampling; s != nil {
		if s.N != nil && *s.N > 1 {
			return nil, wire.Unsupported("sampling.n", "is above 1: this provider gives one answer")
		}
		b = wire.AppendFloatField(b, "temperature", s.Temperature)
		b = wire.AppendFloatField(b, "top_p", s.TopP)
		b = wire.AppendIntField(b, "top_k", s.TopK)
		if len(s.Stop) > 0 {
			b = wire.AppendStrings(wire.AppendField(b, "stop_sequences"), s.Stop)
		}
	}
	if req.EndUser != "" {
		b = append(wire.AppendField(b, "metadata"), `{"user_id":`...)
		b = append(wire.AppendString(b, req.EndUser), '}')
	}
	return b, nil
}

func tools(b []byte, list []schemas.Tool) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(wire.AppendField(b, "tools"), '[')
	for i := range list {
		t := &list[i]
		b = wire.AppendString(append(wire.AppendItem(b), `{"name":`...), t.Name)
		b = wire.AppendStringField(b, "description", t.Description)
		if len(t.Parameters) == 0 {
			b = append(wire.AppendField(b, "input_schema"), `{"type":"object"}`...)
		}
		b = wire.AppendRawField(b, "input_schema", t.Parameters)
		b = wire.AppendBoolField(b, "strict", t.Strict)
		b = append(wire.AppendFields(b, t.Ext[vendor]), '}')
	}
	return append(b, ']')
}

func choice(b []byte, c *schemas.ToolChoice) ([]byte, error) {
	if c == nil || c.Mode == "" && !c.DisableParallel {
		return b, nil
	}
	b = append(wire.AppendField(b, "tool_choice"), '{')
	switch c.Mode {
	case "", "auto":
		b = wire.AppendStringField(b, "type", "auto")
	case "required":
		b = wire.AppendStringField(b, "type", "any")
	case "named":
		if len(c.Names) != 1 {
			return nil, wire.Unsupported("tool_choice.names", "is not one name: this provider takes one or none")
		}
		b = wire.AppendStringField(b, "type", "tool")
		b = wire.AppendStringField(b, "name", c.Names[0])
	case "none":
		return append(wire.AppendStringField(b, "type", "none"), '}'), nil
	default:
		return nil, wire.Invalid("tool_choice.mode", "is not one of: auto, none, required, named")
	}
	if c.DisableParallel {
		b = append(wire.AppendField(b, "disable_parallel_tool_use"), "true"...)
	}
	return append(b, '}'), nil
}

// effort returns the vendor's word, or "" where it has none.
func effort(t *schemas.ThinkingSpec) string {
	if t == nil {
		return ""
	}
	switch t.Effort {
	case "none":
		return ""
	case "minimal":
		return "low"
	}
	return t.Effort
}

func outputConfig(b []byte, req *schemas.Request) []byte {
	word := effort(req.Thinking)
	schema := req.Output != nil && req.Output.Format == "json_schema" && len(req.Output.Schema) > 0
	if word == "" && !schema {
		return b
	}
	b = append(wire.AppendField(b, "output_config"), '{')
	b = wire.AppendStringField(b, "effort", word)
	if schema {
		b = append(wire.AppendField(b, "format"), `{"type":"json_schema","schema":`...)
		b = append(append(b, req.Output.Schema...), '}')
	}
	return append(b, '}')
}

func thinking(b []byte, t *schemas.ThinkingSpec) []byte {
	switch {
	case t == nil:
		return b
	case t.Effort == "none" || t.Enabled != nil && !*t.Enabled:
		return append(wire.AppendField(b, "thinking"), `{"type":"disabled"}`...)
	case t.BudgetTokens != nil:
		b = append(wire.AppendField(b, "thinking"), `{"type":"enabled"`...)
		return append(wire.AppendIntField(b, "budget_tokens", t.BudgetTokens), '}')
	case t.Enabled != nil:
		return append(wire.AppendField(b, "thinking"), `{"type":"adaptive"}`...)
	}
	return b
}

// unsaid lists what of req this API has no words for, and what was therefore not
// sent.
func unsaid(req *schemas.Request) []string {
	var w []string
	if s := req.Sampling; s != nil {
		for _, knob := range []struct {
			name string
			set  bool
		}{
			{"frequency_penalty", s.FrequencyPenalty != nil},
			{"presence_penalty", s.PresencePenalty != nil},
			{"seed", s.Seed != nil},
		} {
			if knob.set {
				w = append(w, "sampling."+knob.name+" was not sent: the provider has no such setting")
			}
		}
	}
	if req.Output != nil && req.Output.Format == "json" {
		w = append(w, "output.format json was not sent: the provider has only json_schema")
	}
	for i := range req.Messages {
		if req.Messages[i].Name != "" {
			w = append(w, "messages.name was not sent: the provider has no such field")
			break
		}
	}
	for i := range req.Messages {
		for j := range req.Messages[i].Parts {
			if p := &req.Messages[i].Parts[j]; p.Kind == schemas.PartReasoning && skipped(p) {
				w = append(w, field(i, j)+" was not sent: it is another provider's reasoning")
			}
		}
	}
	return w
}

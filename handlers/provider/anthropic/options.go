package anthropic

import (
	"encoding/json"
	"time"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// options appends the options that are part of the prompt.
func options(b []byte, req *schemas.Request) ([]byte, error) {
	b = tools(b, req.Tools)
	b, err := choice(b, req.ToolChoice)
	if err != nil {
		return nil, err
	}
	if o := req.Output; o != nil {
		for _, word := range o.Modalities {
			if word != "text" {
				return nil, wire.Unsupported("output.modalities", "has "+word+": this provider answers with text")
			}
		}
	}
	b = thinking(outputConfig(b, req), req.Thinking)
	if c := req.Cache; c != nil && c.TTL != "" {
		b = appendLifetime(jsontext.AppendField(b, "cache_control"), c.TTL)
	}
	return b, nil
}

func sampling(b []byte, s *schemas.Sampling) ([]byte, error) {
	if s == nil {
		return b, nil
	}
	if s.N != nil && *s.N > 1 {
		return nil, wire.Unsupported("sampling.n", "is above 1: this provider gives one answer")
	}
	b = jsontext.AppendFloatField(b, "temperature", s.Temperature)
	b = jsontext.AppendFloatField(b, "top_p", s.TopP)
	b = jsontext.AppendIntField(b, "top_k", s.TopK)
	if len(s.Stop) > 0 {
		b = jsontext.AppendStrings(jsontext.AppendField(b, "stop_sequences"), s.Stop)
	}
	return b, nil
}

func endUser(b []byte, id string) []byte {
	if id == "" {
		return b
	}
	b = append(jsontext.AppendField(b, "metadata"), `{"user_id":`...)
	return append(jsontext.AppendString(b, id), '}')
}

// serviceTier appends a tier, also by the names that other vendors have for it.
func serviceTier(b []byte, tier string) []byte {
	switch tier {
	case "fast":
		return jsontext.AppendStringField(b, "speed", tier)
	case "priority":
		tier = "auto" // uses committed capacity, where there is any
	case "default", "standard":
		tier = "standard_only"
	}
	return jsontext.AppendStringField(b, "service_tier", tier)
}

// appendLifetime appends how long a prompt is cached.
func appendLifetime(b []byte, ttl string) []byte {
	word, _ := lifetime(ttl)
	b = jsontext.AppendString(append(b, `{"type":"ephemeral","ttl":`...), word)
	return append(b, '}')
}

// lifetime returns the vendor's step for a lifetime, of which it has two, and
// whether it is what was asked for.
func lifetime(ttl string) (word string, exact bool) {
	d, err := time.ParseDuration(ttl)
	switch {
	case err == nil && d >= time.Hour:
		return "1h", d == time.Hour
	default:
		return "5m", err == nil && d == 5*time.Minute
	}
}

// tools appends the tools. Those with a type of their own run at the vendor's: it
// knows what they take.
func tools(b []byte, list []schemas.Tool) []byte {
	if len(list) == 0 {
		return b
	}
	b = append(jsontext.AppendField(b, "tools"), '[')
	for i := range list {
		t := &list[i]
		ext := t.Ext[vendor]
		b = jsontext.AppendString(append(jsontext.AppendItem(b), `{"name":`...), t.Name)
		if len(ext) == 0 || !typed(ext) {
			b = jsontext.AppendStringField(b, "description", t.Description)
			if len(t.Parameters) == 0 {
				b = append(jsontext.AppendField(b, "input_schema"), `{"type":"object"}`...)
			}
			b = jsontext.AppendRawField(b, "input_schema", t.Parameters)
			b = jsontext.AppendBoolField(b, "strict", t.Strict)
		}
		b = append(jsontext.AppendFields(b, ext), '}')
	}
	return append(b, ']')
}

func typed(ext json.RawMessage) bool {
	var t struct {
		Type text `json:"type"`
	}
	return json.Unmarshal(ext, &t) == nil && t.Type != "" && t.Type != "custom"
}

func choice(b []byte, c *schemas.ToolChoice) ([]byte, error) {
	if c == nil || c.Mode == "" && !c.DisableParallel {
		return b, nil
	}
	b = append(jsontext.AppendField(b, "tool_choice"), '{')
	switch c.Mode {
	case "", "auto":
		b = jsontext.AppendStringField(b, "type", "auto")
	case "required":
		b = jsontext.AppendStringField(b, "type", "any")
	case "named":
		if len(c.Names) != 1 {
			return nil, wire.Unsupported("tool_choice.names", "is not one name: this provider takes one or none")
		}
		b = jsontext.AppendStringField(b, "type", "tool")
		b = jsontext.AppendStringField(b, "name", c.Names[0])
	case "none":
		return append(jsontext.AppendStringField(b, "type", "none"), '}'), nil
	default:
		return nil, wire.Invalid("tool_choice.mode", "is not one of: auto, none, required, named")
	}
	if c.DisableParallel {
		b = append(jsontext.AppendField(b, "disable_parallel_tool_use"), "true"...)
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
	b = append(jsontext.AppendField(b, "output_config"), '{')
	b = jsontext.AppendStringField(b, "effort", word)
	if schema {
		b = append(jsontext.AppendField(b, "format"), `{"type":"json_schema","schema":`...)
		b = append(append(b, req.Output.Schema...), '}')
	}
	return append(b, '}')
}

func budgeted(t *schemas.ThinkingSpec) bool {
	return t != nil && t.Effort != "none" && (t.Enabled == nil || *t.Enabled) && t.BudgetTokens != nil
}

func thinking(b []byte, t *schemas.ThinkingSpec) []byte {
	switch {
	case t == nil:
		return b
	case t.Effort == "none" || t.Enabled != nil && !*t.Enabled:
		return append(jsontext.AppendField(b, "thinking"), `{"type":"disabled"}`...)
	case budgeted(t):
		b = append(jsontext.AppendField(b, "thinking"), `{"type":"enabled"`...)
		return append(jsontext.AppendIntField(b, "budget_tokens", t.BudgetTokens), '}')
	case t.Enabled != nil:
		return append(jsontext.AppendField(b, "thinking"), `{"type":"adaptive"}`...)
	}
	return b
}

package openai

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

func (a *Adapter) tools(b []byte, req *schemas.Request) ([]byte, error) {
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
			b = append(b, `{"type":"function","function":{"name":`...)
			b = jsontext.AppendString(b, t.Name)
			b = jsontext.AppendStringField(b, "description", t.Description)
			b = jsontext.AppendRawField(b, "parameters", t.Parameters)
			b = jsontext.AppendBoolField(b, "strict", t.Strict)
			b = append(jsontext.AppendFields(b, own.fields), "}}"...)
		}
		b = append(b, ']')
	}
	if req.ToolChoice == nil {
		return b, nil
	}
	b = choice(b, req.ToolChoice)
	if req.ToolChoice.DisableParallel {
		b = append(jsontext.AppendField(b, "parallel_tool_calls"), "false"...)
	}
	return b, nil
}

// ownTool is what a requester says of a tool for this vendor only: further fields
// of a function, or, where it names another type, the tool as it is to be sent.
type ownTool struct {
	fields json.RawMessage
	whole  bool
}

func (a *Adapter) ownTool(t *schemas.Tool, i int) (ownTool, error) {
	raw := t.Ext[a.variant.Name]
	if len(raw) == 0 {
		return ownTool{}, nil
	}
	var is struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(raw, &is); err != nil {
		return ownTool{}, wire.Invalid(fmt.Sprintf("tools[%d].ext.%s", i, a.variant.Name), "is not a JSON object")
	}
	return ownTool{raw, is.Type != "" && is.Type != "function"}, nil
}

func choice(b []byte, c *schemas.ToolChoice) []byte {
	switch {
	case c.Mode == "":
		return b
	case c.Mode != "named":
		return jsontext.AppendStringField(b, "tool_choice", c.Mode)
	case len(c.Names) == 1:
		b = append(jsontext.AppendField(b, "tool_choice"), `{"type":"function","function":{"name":`...)
		return append(jsontext.AppendString(b, c.Names[0]), "}}"...)
	}
	b = append(jsontext.AppendField(b, "tool_choice"), `{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[`...)
	for _, name := range c.Names {
		b = append(jsontext.AppendItem(b), `{"type":"function","function":{"name":`...)
		b = append(jsontext.AppendString(b, name), "}}"...)
	}
	return append(b, "]}}"...)
}

// schemaName stands where the API wants a name for a schema and the requester
// gave none.
const schemaName = "answer"

func format(b []byte, o *schemas.OutputSpec) []byte {
	if o == nil {
		return b
	}
	switch o.Format {
	case "json":
		b = append(jsontext.AppendField(b, "response_format"), `{"type":"json_object"}`...)
	case "json_schema":
		name := o.Name
		if name == "" {
			name = schemaName
		}
		b = append(jsontext.AppendField(b, "response_format"), `{"type":"json_schema","json_schema":{`...)
		b = jsontext.AppendStringField(b, "name", name)
		b = jsontext.AppendRawField(b, "schema", o.Schema)
		b = jsontext.AppendBoolField(b, "strict", o.Strict)
		b = append(b, "}}"...)
	}
	return b
}

// audioFormat returns the form of the sound that o asks for. A stream takes
// pcm16 only.
func audioFormat(o *schemas.OutputSpec, stream bool) string {
	switch {
	case o != nil && o.Audio != "":
		return o.Audio
	case stream:
		return "pcm16"
	}
	return "wav"
}

// voice stands where the API wants a voice and the requester named none.
const voice = "alloy"

func modalities(b []byte, req *schemas.Request) []byte {
	o := req.Output
	if o == nil || len(o.Modalities) == 0 {
		return b
	}
	b = jsontext.AppendStrings(jsontext.AppendField(b, "modalities"), o.Modalities)
	if !slices.Contains(o.Modalities, "audio") {
		return b
	}
	b = append(jsontext.AppendField(b, "audio"), '{')
	b = jsontext.AppendStringField(b, "voice", cmp.Or(o.Voice, voice))
	b = jsontext.AppendStringField(b, "format", audioFormat(o, req.Stream))
	return append(b, '}')
}

func (a *Adapter) sampling(b []byte, req *schemas.Request) []byte {
	if s := req.Sampling; s != nil {
		b = jsontext.AppendFloatField(b, "temperature", s.Temperature)
		b = jsontext.AppendFloatField(b, "top_p", s.TopP)
		if a.config.TopK {
			b = jsontext.AppendIntField(b, "top_k", s.TopK)
			b = jsontext.AppendFloatField(b, "min_p", s.MinP)
			b = jsontext.AppendFloatField(b, "repetition_penalty", s.RepetitionPenalty)
		}
		b = jsontext.AppendFloatField(b, "frequency_penalty", s.FrequencyPenalty)
		b = jsontext.AppendFloatField(b, "presence_penalty", s.PresencePenalty)
		b = jsontext.AppendIntField(b, "seed", s.Seed)
		b = jsontext.AppendIntField(b, "n", s.N)
		if len(s.Stop) > 0 {
			b = jsontext.AppendStrings(jsontext.AppendField(b, "stop"), s.Stop)
		}
		b = bias(b, s.LogitBias)
	}
	return b
}

// logProbs asks for log probabilities as chat completions want them.
func logProbs(b []byte, s *schemas.Sampling) []byte {
	if s == nil || s.LogProbs == nil {
		return b
	}
	b = append(jsontext.AppendField(b, "logprobs"), "true"...)
	return jsontext.AppendIntField(b, "top_logprobs", s.LogProbs)
}

func bias(b []byte, of map[string]float64) []byte {
	if len(of) == 0 {
		return b
	}
	b = append(jsontext.AppendField(b, "logit_bias"), '{')
	for _, token := range sortedKeys(of) {
		value := of[token]
		b = append(jsontext.AppendString(comma(b), token), ':')
		b = strconv.AppendFloat(b, value, 'f', -1, 64)
	}
	return append(b, '}')
}

// comma appends one where it is due in an object.
func comma(b []byte) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	return b
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// shared appends the fields that chat completions and responses have in common.
func (a *Adapter) shared(b []byte, req *schemas.Request) []byte {
	if a.config.EndUserField != "" {
		b = jsontext.AppendStringField(b, a.config.EndUserField, req.EndUser)
	}
	b = jsontext.AppendStringField(b, "service_tier", req.ServiceTier)
	if req.Cache != nil && a.config.PromptCache {
		b = jsontext.AppendStringField(b, "prompt_cache_key", req.Cache.Key)
		if req.Cache.TTL != "" {
			b = append(jsontext.AppendField(b, "prompt_cache_options"), `{"ttl":`...)
			b = append(jsontext.AppendString(b, req.Cache.TTL), '}')
		}
	}
	return b
}

// unsaid lists what of req this API has no words for, and what was therefore not
// sent.
func (a *Adapter) unsaid(req *schemas.Request) []string {
	var w []string
	if s := req.Sampling; s != nil && !a.config.TopK {
		w = lacking(w, "sampling.top_k", s.TopK != nil)
		w = lacking(w, "sampling.min_p", s.MinP != nil)
		w = lacking(w, "sampling.repetition_penalty", s.RepetitionPenalty != nil)
	}
	if s := req.Sampling; s != nil && a.config.API == apiResponses {
		w = lacking(w, "sampling.seed", s.Seed != nil)
		w = lacking(w, "sampling.frequency_penalty", s.FrequencyPenalty != nil)
		w = lacking(w, "sampling.presence_penalty", s.PresencePenalty != nil)
		w = lacking(w, "sampling.logit_bias", len(s.LogitBias) > 0)
	}
	w = lacking(w, "cache", req.Cache != nil && !a.config.PromptCache)
	w = lacking(w, "end_user", req.EndUser != "" && a.config.EndUserField == "")
	if t := req.Thinking; t != nil {
		w = lacking(w, "thinking.budget_tokens", t.BudgetTokens != nil)
		if t.Enabled != nil && t.Effort == "" {
			w = append(w, "thinking.enabled was not sent: set thinking.effort for this provider")
		}
	}
	for i := range req.Messages {
		for j := range req.Messages[i].Parts {
			p := &req.Messages[i].Parts[j]
			if p.Kind == schemas.PartReasoning && (a.config.API != apiResponses || !a.returns(p.Reasoning)) {
				w = append(w, field(i, j)+" was not sent: the provider does not take reasoning back")
			}
			if p.ToolResult != nil && p.ToolResult.IsError {
				w = append(w, field(i, j)+".tool_result.is_error was not sent: the provider has no such field")
			}
		}
	}
	return w
}

// lacking appends a warning about a setting of the request, if it is set.
func lacking(w []string, name string, set bool) []string {
	if !set {
		return w
	}
	return append(w, name+" was not sent: the provider has no such setting")
}

package gemini

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas/jsontext"
)

func (w *writer) options(generation []byte) error {
	req := w.req
	if len(req.Documents) > 0 {
		return wire.Unsupported("documents", "has no place in this provider's API: put them into a message")
	}
	w.tools()
	if err := w.choice(); err != nil {
		return err
	}
	if err := w.generation(generation); err != nil {
		return err
	}
	if req.Cache != nil && cached(req.Cache.Key) {
		w.b = jsontext.AppendStringField(w.b, "cachedContent", req.Cache.Key)
	}
	if !w.a.vertex {
		w.b = jsontext.AppendStringField(w.b, "serviceTier", req.ServiceTier)
	} else if label(req.EndUser) {
		w.b = jsontext.AppendString(append(jsontext.AppendField(w.b, "labels"), `{"end_user":`...), req.EndUser)
		w.b = append(w.b, '}')
	}
	return nil
}

// cached reports whether a cache key is the name of a cached content.
func cached(key string) bool {
	return strings.HasPrefix(key, "cachedContents/") || strings.HasPrefix(key, "projects/")
}

// label reports whether s may be the value of a label
// (cloud.google.com/resource-manager/docs/labels-overview).
func label(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return s != "" && len(s) <= 63
}

func (w *writer) tools() {
	if len(w.req.Tools) == 0 {
		return
	}
	w.b = append(jsontext.AppendField(w.b, "tools"), `[{"functionDeclarations":[`...)
	for i := range w.req.Tools {
		t := &w.req.Tools[i]
		w.b = jsontext.AppendString(append(jsontext.AppendItem(w.b), `{"name":`...), t.Name)
		w.b = jsontext.AppendStringField(w.b, "description", t.Description)
		w.b = jsontext.AppendRawField(w.b, "parametersJsonSchema", t.Parameters)
		w.b = append(jsontext.AppendFields(w.b, t.Ext[vendor]), '}')
	}
	w.b = append(w.b, "]}]"...)
}

func (w *writer) choice() error {
	c := w.req.ToolChoice
	if c == nil || c.Mode == "" {
		return nil
	}
	mode := ""
	switch c.Mode {
	case "auto":
		mode = "AUTO"
	case "none":
		mode = "NONE"
	case "required", "named":
		mode = "ANY"
	default:
		return wire.Invalid("tool_choice.mode", "is not one of: auto, none, required, named")
	}
	w.b = append(jsontext.AppendField(w.b, "toolConfig"), `{"functionCallingConfig":{`...)
	w.b = jsontext.AppendStringField(w.b, "mode", mode)
	if c.Mode == "named" {
		if len(c.Names) == 0 {
			return wire.Invalid("tool_choice.names", "is empty: name a tool")
		}
		w.b = jsontext.AppendStrings(jsontext.AppendField(w.b, "allowedFunctionNames"), c.Names)
	}
	w.b = append(w.b, "}}"...)
	return nil
}

// generation appends generationConfig, with the fields of more in it.
func (w *writer) generation(more []byte) error {
	before := len(w.b)
	w.b = append(jsontext.AppendField(w.b, "generationConfig"), '{')
	start := len(w.b)
	if s := w.req.Sampling; s != nil {
		w.b = jsontext.AppendFloatField(w.b, "temperature", s.Temperature)
		w.b = jsontext.AppendFloatField(w.b, "topP", s.TopP)
		w.b = jsontext.AppendIntField(w.b, "topK", s.TopK)
		w.b = jsontext.AppendFloatField(w.b, "frequencyPenalty", s.FrequencyPenalty)
		w.b = jsontext.AppendFloatField(w.b, "presencePenalty", s.PresencePenalty)
		w.b = jsontext.AppendIntField(w.b, "seed", s.Seed)
		w.b = jsontext.AppendIntField(w.b, "candidateCount", s.N)
		if len(s.Stop) > 0 {
			w.b = jsontext.AppendStrings(jsontext.AppendField(w.b, "stopSequences"), s.Stop)
		}
		if s.LogProbs != nil {
			w.b = append(jsontext.AppendField(w.b, "responseLogprobs"), "true"...)
			if *s.LogProbs > 0 {
				w.b = jsontext.AppendIntField(w.b, "logprobs", s.LogProbs)
			}
		}
	}
	w.b = jsontext.AppendIntField(w.b, "maxOutputTokens", w.req.MaxTokens)
	if err := w.output(); err != nil {
		return err
	}
	w.thinking()
	w.b = jsontext.AppendFields(w.b, more)
	if len(w.b) == start {
		w.b = w.b[:before]
		return nil
	}
	w.b = append(w.b, '}')
	return nil
}

func (w *writer) output() error {
	o := w.req.Output
	if o == nil {
		return nil
	}
	switch o.Format {
	case "", "text":
	case "json", "json_schema":
		w.b = jsontext.AppendStringField(w.b, "responseMimeType", "application/json")
		w.b = jsontext.AppendRawField(w.b, "responseJsonSchema", o.Schema)
	default:
		return wire.Invalid("output.format", "is not one of: text, json, json_schema")
	}
	if len(o.Modalities) > 0 {
		w.b = append(jsontext.AppendField(w.b, "responseModalities"), '[')
		for _, m := range o.Modalities {
			w.b = jsontext.AppendString(jsontext.AppendItem(w.b), strings.ToUpper(m))
		}
		w.b = append(w.b, ']')
	}
	switch o.Audio {
	case "", "pcm", "pcm16":
	default:
		return wire.Unsupported("output.audio_format", "is not pcm: this provider speaks 16 bit PCM only")
	}
	if o.Voice != "" {
		w.b = append(jsontext.AppendField(w.b, "speechConfig"), `{"voiceConfig":{"prebuiltVoiceConfig":{"voiceName":`...)
		w.b = append(jsontext.AppendString(w.b, o.Voice), "}}}"...)
	}
	return nil
}

// legacyThinking reports whether a model has a thinking budget and no levels, as
// those before Gemini 3 do.
func legacyThinking(model string) bool {
	return strings.Contains(model, "gemini-1") || strings.Contains(model, "gemini-2") || !strings.Contains(model, "gemini")
}

// budgets are the thinking budgets that the vendor gives efforts in its own
// OpenAI-compatible API (ai.google.dev/gemini-api/docs/openai).
var budgets = map[string]int64{"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}

// thinking asks for thoughts to be told wherever thinking is asked for.
func (w *writer) thinking() {
	t := w.req.Thinking
	if t == nil || t.Effort == "" && t.BudgetTokens == nil && t.Enabled == nil {
		return
	}
	w.b = append(jsontext.AppendField(w.b, "thinkingConfig"), '{')
	budget, known := budgets[t.Effort]
	off := t.Effort == "none" || t.Enabled != nil && !*t.Enabled
	switch {
	case t.BudgetTokens != nil:
		w.b = jsontext.AppendIntField(w.b, "thinkingBudget", t.BudgetTokens)
		off = *t.BudgetTokens == 0
	case off:
		w.b = append(jsontext.AppendField(w.b, "thinkingBudget"), '0')
	case t.Effort == "":
	case legacyThinking(w.model) && known:
		w.b = strconv.AppendInt(jsontext.AppendField(w.b, "thinkingBudget"), budget, 10)
	case t.Effort == "xhigh" || t.Effort == "max":
		w.b = jsontext.AppendStringField(w.b, "thinkingLevel", "HIGH")
	default:
		w.b = jsontext.AppendStringField(w.b, "thinkingLevel", strings.ToUpper(t.Effort))
	}
	if !off {
		w.b = append(jsontext.AppendField(w.b, "includeThoughts"), "true"...)
	}
	w.b = append(w.b, '}')
}

// overlay lays what a requester gives for this vendor only over a body. Objects
// are merged, and tools such as googleSearch join the functions.
func overlay(body []byte, ext json.RawMessage) ([]byte, error) {
	const param = "ext." + vendor
	var more, all map[string]json.RawMessage
	if json.Unmarshal(ext, &more) != nil {
		return nil, wire.Invalid(param, "is not a JSON object")
	}
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, wire.Invalid(param, "cannot be laid over the request")
	}
	for key, v := range more {
		var err error
		switch key {
		case "contents", "content", "requests", "instances":
			return nil, wire.Invalid(param+"."+key, "is for the gateway to set: leave it out")
		case "generationConfig", "toolConfig", "parameters":
			if len(all[key]) > 0 {
				v, err = wire.Overlay(all[key], param+"."+key, v)
			}
		case "tools":
			v, err = joined(all[key], v)
		}
		if err != nil {
			return nil, err
		}
		all[key] = v
	}
	return json.Marshal(all)
}

func joined(have, more json.RawMessage) (json.RawMessage, error) {
	var a, b []json.RawMessage
	if json.Unmarshal(more, &b) != nil {
		return nil, wire.Invalid("ext."+vendor+".tools", "is not a list")
	}
	_ = json.Unmarshal(have, &a) // absent: an empty list
	return json.Marshal(append(a, b...))
}

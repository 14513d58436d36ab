package cohere

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// tools appends the tools and how to choose among them. The API cannot name one:
// then the others are left out and a call is required.
func tools(b []byte, req *schemas.Request) ([]byte, error) {
	list, err := offered(req)
	if err != nil || len(list) == 0 {
		return b, err
	}
	strict := false
	b = append(jsontext.AppendField(b, "tools"), '[')
	for i := range list {
		t := &list[i]
		b = append(jsontext.AppendItem(b), `{"type":"function","function":{"name":`...)
		b = jsontext.AppendString(b, t.Name)
		b = jsontext.AppendStringField(b, "description", t.Description)
		if len(t.Parameters) > 0 {
			b = jsontext.AppendRawField(b, "parameters", t.Parameters)
		} else { // which the API insists on
			b = append(jsontext.AppendField(b, "parameters"), `{"type":"object","properties":{}}`...)
		}
		b = append(jsontext.AppendFields(b, t.Ext[vendor]), "}}"...)
		strict = strict || t.Strict != nil && *t.Strict
	}
	b = append(b, ']')
	if strict { // for all tools or none
		b = jsontext.AppendBoolField(b, "strict_tools", &strict)
	}
	if c := req.ToolChoice; c != nil {
		switch c.Mode {
		case "none":
			b = jsontext.AppendStringField(b, "tool_choice", "NONE")
		case "required", "named":
			b = jsontext.AppendStringField(b, "tool_choice", "REQUIRED")
		}
	}
	return b, nil
}

// offered returns the tools that the model may choose from.
func offered(req *schemas.Request) ([]schemas.Tool, error) {
	c := req.ToolChoice
	if c == nil || c.Mode != "named" {
		return req.Tools, nil
	}
	var list []schemas.Tool
	for i := range req.Tools {
		if slices.Contains(c.Names, req.Tools[i].Name) {
			list = append(list, req.Tools[i])
		}
	}
	if len(list) == 0 {
		return nil, wire.Invalid("tool_choice.names", "names none of the tools")
	}
	return list, nil
}

// documents appends what the answer is to be grounded in.
func documents(b []byte, docs []schemas.Document) []byte {
	if len(docs) == 0 {
		return b
	}
	b = append(jsontext.AppendField(b, "documents"), '[')
	for i := range docs {
		b = append(jsontext.AppendItem(b), '{')
		b = jsontext.AppendStringField(b, "id", docs[i].ID)
		b = append(jsontext.AppendField(b, "data"), '{')
		b = append(documentFields(b, &docs[i]), "}}"...)
	}
	return append(b, ']')
}

// documentFields appends the fields of a document, in an order that is always
// the same.
func documentFields(b []byte, d *schemas.Document) []byte {
	b = jsontext.AppendStringField(b, "title", d.Title)
	b = jsontext.AppendStringField(b, "text", d.Text)
	for _, k := range slices.Sorted(maps.Keys(d.Data)) {
		if k == "text" && d.Text != "" || k == "title" && d.Title != "" {
			continue
		}
		if n := len(b); b[n-1] != '{' {
			b = append(b, ',')
		}
		b = append(jsontext.AppendString(b, k), ':')
		b = jsontext.AppendString(b, d.Data[k])
	}
	return b
}

func output(b []byte, o *schemas.OutputSpec) []byte {
	if o == nil {
		return b
	}
	switch o.Format {
	case "json":
		b = append(jsontext.AppendField(b, "response_format"), `{"type":"json_object"}`...)
	case "json_schema":
		b = append(jsontext.AppendField(b, "response_format"), `{"type":"json_object"`...)
		b = append(jsontext.AppendRawField(b, "json_schema", o.Schema), '}')
	}
	return b
}

// sampling appends what both versions call by the same names.
func sampling(b []byte, req *schemas.Request) []byte {
	b = jsontext.AppendIntField(b, "max_tokens", req.MaxTokens)
	if n, ok := priority(req.ServiceTier); ok {
		b = jsontext.AppendIntField(b, "priority", &n)
	}
	s := req.Sampling
	if s == nil {
		return b
	}
	if heat := s.Temperature; heat != nil {
		most := min(*heat, hottest)
		b = jsontext.AppendFloatField(b, "temperature", &most)
	}
	if s.TopP != nil {
		p := within(*s.TopP)
		b = jsontext.AppendFloatField(b, "p", &p)
	}
	b = jsontext.AppendIntField(b, "k", s.TopK)
	b = jsontext.AppendFloatField(b, "frequency_penalty", s.FrequencyPenalty)
	b = jsontext.AppendFloatField(b, "presence_penalty", s.PresencePenalty)
	b = jsontext.AppendIntField(b, "seed", s.Seed)
	if len(s.Stop) > 0 {
		b = jsontext.AppendStrings(jsontext.AppendField(b, "stop_sequences"), s.Stop)
	}
	if s.LogProbs != nil {
		b = append(jsontext.AppendField(b, "logprobs"), "true"...)
	}
	return b
}

// hottest is the highest temperature that the API takes.
const hottest = 1.0

// within returns a top_p that the API takes: the 1 of other vendors, which means
// all tokens, is none.
func within(p float64) float64 { return min(max(p, 0.01), 0.99) }

// priority reads a service tier as the API's priority, 0 (first) to 999.
func priority(tier string) (int64, bool) {
	n, err := strconv.ParseInt(tier, 10, 64)
	return n, err == nil && n >= 0 && n <= 999
}

func thinking(b []byte, t *schemas.ThinkingSpec) []byte {
	if t == nil || t.Effort == "" && t.Enabled == nil && t.BudgetTokens == nil {
		return b
	}
	if t.Effort == "none" || t.Enabled != nil && !*t.Enabled {
		return append(jsontext.AppendField(b, "thinking"), `{"type":"disabled"}`...)
	}
	b = append(jsontext.AppendField(b, "thinking"), `{"type":"enabled"`...)
	return append(jsontext.AppendIntField(b, "token_budget", t.BudgetTokens), '}')
}

// unsaid lists what of req this API has no words for, and what was therefore not
// sent.
func (a *adapter) unsaid(req *schemas.Request) []string {
	var w []string
	lacks := func(field string) { w = append(w, field+" was not sent: the provider has no such setting") }
	switch req.Operation() {
	case schemas.OpChat, schemas.OpComplete:
	case schemas.OpEmbed:
		if req.Embed.Task == "similarity" {
			w = append(w, "embed.task similarity was sent as clustering: the provider has no such task")
		}
		return w
	default:
		return nil
	}
	if s := req.Sampling; s != nil {
		if s.Temperature != nil && *s.Temperature > hottest {
			w = append(w, "sampling.temperature was sent as 1: the provider takes no more")
		}
		if s.TopP != nil && within(*s.TopP) != *s.TopP {
			w = append(w, fmt.Sprintf("sampling.top_p was sent as %v: the provider takes 0.01 to 0.99", within(*s.TopP)))
		}
		if s.LogProbs != nil && *s.LogProbs > 0 {
			w = append(w, "sampling.logprobs gives the chosen tokens only: the provider has no alternatives")
		}
		for field, set := range map[string]bool{
			"sampling.min_p": s.MinP != nil, "sampling.repetition_penalty": s.RepetitionPenalty != nil,
			"sampling.logit_bias": len(s.LogitBias) > 0,
		} {
			if set {
				lacks(field)
			}
		}
		slices.Sort(w)
	}
	if c := req.ToolChoice; c != nil && c.DisableParallel {
		lacks("tool_choice.disable_parallel")
	}
	if t := req.Thinking; t != nil && t.Effort != "" && t.Effort != "none" {
		w = append(w, "thinking.effort was sent as enabled: the provider has no degrees")
	}
	if _, ok := priority(req.ServiceTier); req.ServiceTier != "" && !ok {
		w = append(w, "service_tier was not sent: the provider takes a priority from 0 to 999")
	}
	if req.EndUser != "" {
		lacks("end_user")
	}
	return append(w, a.leftOut(req)...)
}

// leftOut lists the parts of messages that were not sent.
func (a *adapter) leftOut(req *schemas.Request) []string {
	var w []string
	old := a.config.API == v1
	for i := range req.Messages {
		for j := range req.Messages[i].Parts {
			p := &req.Messages[i].Parts[j]
			if p.Kind == schemas.PartReasoning && (old || !ours(p.Reasoning)) {
				w = append(w, field(i, j)+" was not sent: the provider does not take this reasoning back")
			}
			if p.ToolResult != nil && p.ToolResult.IsError {
				w = append(w, field(i, j)+".tool_result.is_error was not sent: the provider has no such field")
			}
		}
	}
	return w
}

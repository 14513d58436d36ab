package models

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// need is something that a request asks of a model.
type need struct {
	field  string
	what   string            // completes "the model …"
	lacked func(*Model) bool // whether a model is known not to do it
	met    func(*Model) bool // whether a model is known to do it
}

// must returns a need about which the catalogue is complete: what is not known to
// be there is not.
func must(field, what string, met func(*Model) bool) need {
	return need{field, what, func(m *Model) bool { return !met(m) }, met}
}

// Check reports what of the request the model of a target is known not to do: a
// *schemas.Failure with the code unsupported that names the part of the request and
// the models that can, or nil. t.Kind is the kind of its provider; where it is empty
// the provider's name stands for it. Of a model that is not in the catalogue nothing
// is known, so nothing is refused.
//
// Not checked is what adapters make up for: a vendor that does not stream, or not
// with tools, is asked for the whole answer. The context is for routing, which counts
// tokens.
func (c *Catalogue) Check(t schemas.Target, req *schemas.Request) error {
	m := c.Find(kindOf(t), t.Model)
	if m == nil || onlyText(req) && offers(m, req.Operation()) {
		return nil
	}
	all := needs(req)
	for _, n := range all {
		if n.lacked(m) {
			return c.refusal(schemas.Unsupported, m.Model, n, c.able(m, all))
		}
	}
	return nil
}

// onlyText reports whether a request asks for nothing but its operation. To list
// what it needs takes ten times as long.
func onlyText(req *schemas.Request) bool {
	for i := range req.Messages {
		for j := range req.Messages[i].Parts {
			if req.Messages[i].Parts[j].Kind != schemas.PartText {
				return false
			}
		}
	}
	return req.Embed == nil && len(req.Tools) == 0 && len(req.Documents) == 0 && req.Mode == "" && req.Output == nil && req.MaxTokens == nil
}

func kindOf(t schemas.Target) string {
	if t.Kind != "" {
		return t.Kind
	}
	return t.Provider
}

// named bounds the models that a refusal names.
const named = 5

func (c *Catalogue) refusal(code schemas.Code, model string, n need, able []string) *schemas.Failure {
	text := fmt.Sprintf("%s: %s %s", n.field, model, n.what)
	switch {
	case len(able) > named:
		text += fmt.Sprintf("; %s and %d more can do all that the request asks", strings.Join(able[:named], ", "), len(able)-named)
	case len(able) > 0:
		text += "; all that the request asks can do: " + strings.Join(able, ", ")
	default:
		text += "; no model of the catalogue is known to do all that the request asks"
	}
	return &schemas.Failure{Code: code, Param: n.field, Message: text, Phase: schemas.PhaseLocal}
}

// able lists the models that are known to do all, those of the same provider first.
// Models that have a day of their retirement are not recommended.
func (c *Catalogue) able(than *Model, all []need) []string {
	var near, far []string
	for i := range c.models {
		m := &c.models[i]
		if m.Retires != "" || m.Deprecated != "" || slices.ContainsFunc(all, func(n need) bool { return !n.met(m) }) {
			continue
		}
		if m.Provider == than.Provider {
			near = append(near, m.Provider+"/"+m.Model)
		} else {
			far = append(far, m.Provider+"/"+m.Model)
		}
	}
	return append(near, far...)
}

// needs lists what a request asks of a model.
func needs(req *schemas.Request) []need {
	op := req.Operation()
	switch op {
	case schemas.OpModels, schemas.OpFileUpload, schemas.OpFileGet, schemas.OpFileList, schemas.OpFileDelete:
		return nil // which are asked of the vendor and not of a model
	}
	all := []need{must("op", "does not do "+string(op), func(m *Model) bool { return offers(m, op) })}
	for i := range req.Messages {
		all = append(all, media(fmt.Sprintf("messages[%d].parts", i), req.Messages[i].Parts)...)
	}
	if req.Embed != nil {
		all = append(all, media("embed.inputs", req.Embed.Inputs)...)
	}
	lacks := func(field, what string, c Capability, there bool) {
		if there {
			all = append(all, need{field, what, func(m *Model) bool { return m.Lacks(c) }, func(m *Model) bool { return m.Does(c) }})
		}
	}
	lacks("tools", "takes no tools", Tools, len(req.Tools) > 0)
	lacks("documents", "takes no documents", Documents, len(req.Documents) > 0)
	lacks("mode", "has no batch API", Batch, req.Mode == schemas.ModeBatch)
	if o := req.Output; o != nil {
		lacks("output.format", "answers in no JSON schema", JSONSchema, o.Format == "json_schema")
		lacks("output.format", "answers in no JSON on demand", JSON, o.Format == "json")
		for _, kind := range o.Modalities {
			all = append(all, must("output.modalities", "gives no "+kind, func(m *Model) bool { return slices.Contains(m.Output, kind) }))
		}
	}
	if limit := req.MaxTokens; limit != nil {
		all = append(all, need{
			"max_output_tokens", fmt.Sprintf("gives no answers of %d tokens", *limit),
			func(m *Model) bool { return m.MaxOutput > 0 && *limit > m.MaxOutput },
			func(m *Model) bool { return *limit <= m.MaxOutput },
		})
	}
	return all
}

// offers reports whether a model is asked for an operation. A completion and a
// count of tokens are asked of models of chats, too: whether a vendor has those
// is its adapter's to say.
func offers(m *Model, op schemas.Operation) bool {
	if op == schemas.OpComplete || op == schemas.OpCountTokens {
		return slices.Contains(m.Operations, op) || slices.Contains(m.Operations, schemas.OpChat)
	}
	return slices.Contains(m.Operations, op)
}

// media lists the kinds of parts that not every model takes, each with its first
// place.
func media(field string, parts []schemas.Part) []need {
	var all []need
	var seen []string
	for j := range parts {
		p := &parts[j]
		if p.Kind == schemas.PartToolResult && p.ToolResult != nil {
			all = append(all, media(fmt.Sprintf("%s[%d].tool_result.parts", field, j), p.ToolResult.Parts)...)
			continue
		}
		kind := string(p.Kind)
		switch p.Kind {
		case schemas.PartImage, schemas.PartAudio, schemas.PartVideo, schemas.PartFile:
		default:
			continue
		}
		if !slices.Contains(seen, kind) {
			seen = append(seen, kind)
			all = append(all, must(fmt.Sprintf("%s[%d]", field, j), "takes no "+kind, func(m *Model) bool { return slices.Contains(m.Input, kind) }))
		}
	}
	return all
}

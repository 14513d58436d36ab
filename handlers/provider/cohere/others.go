package cohere

import (
	"context"
	"maps"
	"net/http"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// tokenize returns the JSON of a request that counts tokens. The count is of the
// messages' text: without the template of a chat, and without tools.
func tokenize(call provider.Call) ([]byte, error) {
	var text []byte
	for i := range call.Request.Messages {
		m := &call.Request.Messages[i]
		for j := range m.Parts {
			switch p := &m.Parts[j]; p.Kind {
			case schemas.PartText, schemas.PartRefusal:
				text = append(text, p.Text...)
			case schemas.PartReasoning:
				text = append(text, p.Reasoning.Text...)
			case schemas.PartToolCall:
				text = append(append(text, p.ToolCall.Name...), p.ToolCall.Arguments...)
			case schemas.PartToolResult:
				s, err := resultText(p.ToolResult, i, j)
				if err != nil {
					return nil, err
				}
				text = append(text, s...)
			default:
				return nil, wire.Unsupported(field(i, j), "is not text, which is all that this provider counts")
			}
		}
	}
	b := append(make([]byte, 0, len(text)+64), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	b = jsontext.AppendString(jsontext.AppendField(b, "text"), string(text))
	return append(b, '}'), nil
}

// transcribe returns the request for the words of a recording.
func (a *adapter) transcribe(ctx context.Context, call provider.Call) (*http.Request, error) {
	spec := call.Request.Transcribe
	switch {
	case len(spec.Audio.Data) == 0:
		return nil, wire.Unsupported("transcribe.audio", "is by reference: give its data")
	case spec.Translate:
		return nil, wire.Unsupported("transcribe.translate", "is not offered by this provider")
	case spec.Timestamps != "":
		return nil, wire.Unsupported("transcribe.timestamps", "are not offered by this provider")
	case spec.Language == "": // which the API insists on
		return nil, wire.Invalid("transcribe.language", "is missing: this provider needs it, such as en")
	}
	f := wire.NewForm()
	f.Field("model", call.Model)
	f.Field("language", spec.Language)
	if t := spec.Temperature; t != nil {
		f.Field("temperature", string(jsontext.AppendFloatField(nil, "t", t)[len(`"t":`):]))
	}
	f.File("file", &spec.Audio, "audio.wav")
	return f.Post(ctx, a.urls[pathTranscribe], maps.Clone(a.header)), nil
}

// atOnce reads an answer that never comes in pieces.
func (a *adapter) atOnce(op schemas.Operation, body []byte, call provider.Call) (*schemas.Response, error) {
	r := resource{op: op, call: call}
	if err := r.parse(body); err != nil {
		return nil, wire.Malformed("it is not JSON", err)
	}
	switch {
	case !r.seen && r.fault.Message != "":
		f := told(r.fault, "", a.config.APIKey.Reveal())
		f.Phase = schemas.PhaseBody
		return nil, f
	case !r.seen:
		return nil, wire.Malformed("it lacks what was asked for", nil)
	}
	out := &r.out
	switch {
	case op == schemas.OpModels:
		out.Usage = schemas.Usage{Source: schemas.UsageNone}
	case op == schemas.OpCountTokens: // counted, not used
		out.Usage = schemas.Usage{InputTokens: r.counted, Source: schemas.UsageNone}
	case out.Usage.Source == "":
		out.Model, out.Usage = call.Model, guess(op, call.Request)
	default:
		out.Model = call.Model
	}
	return out, nil
}

// resource is an answer of one of the smaller operations.
type resource struct {
	op      schemas.Operation
	call    provider.Call
	out     schemas.Response
	fault   wire.ErrorBody
	counted int64
	seen    bool // what was asked for is there
}

func (r *resource) parse(body []byte) error {
	c := jsontext.NewCursor(body)
	if c.Object() {
		for c.Key() {
			switch name := string(c.Name()); name {
			case "id":
				r.out.UpstreamID = c.Text()
			case "meta":
				r.out.Usage = units(c.Raw(), &r.out)
			case "message":
				r.fault.Message = c.Text()
			default:
				r.field(&c, name)
			}
		}
	}
	if err := c.End(); err != nil || r.seen || r.op != schemas.OpModels {
		return err
	}
	alone := jsontext.NewCursor(body) // one model, asked for by name
	if m := model(&alone); m.ID != "" {
		r.seen, r.out.Models = true, []schemas.ModelInfo{m}
	}
	return nil
}

// field reads what the operation is about.
func (r *resource) field(c *jsontext.Cursor, name string) {
	switch {
	case r.op == schemas.OpEmbed && name == "embeddings":
		r.out.Embeddings = vectors(c)
		r.seen = len(r.out.Embeddings) > 0
	case r.op == schemas.OpRerank && name == "results":
		spec := r.call.Request.Rerank
		r.seen, r.out.Ranks = true, ranks(c, spec.Documents, spec.ReturnDocuments)
	case r.op == schemas.OpCountTokens && name == "tokens":
		r.seen = true
		each(c, func(c *jsontext.Cursor) { c.Skip(); r.counted++ })
	case r.op == schemas.OpTranscribe && name == "text":
		r.seen, r.out.Transcript = true, &schemas.Transcript{Text: c.Text(), Language: r.call.Request.Transcribe.Language}
	case r.op == schemas.OpModels && name == "models":
		r.seen = true
		each(c, func(c *jsontext.Cursor) { r.out.Models = append(r.out.Models, model(c)) })
	default:
		c.Skip()
	}
}

// guess is the usage of an answer that tells none.
func guess(op schemas.Operation, req *schemas.Request) schemas.Usage {
	u := schemas.Usage{Source: schemas.UsageEstimated}
	const unit, perToken = 100, 4 // documents of a search unit; bytes of a token
	switch op {
	case schemas.OpEmbed:
		for i := range req.Embed.Inputs {
			u.InputTokens += int64(len(req.Embed.Inputs[i].Text)+perToken-1) / perToken
		}
	case schemas.OpRerank:
		n := int64(len(req.Rerank.Documents)+unit-1) / unit
		u.Units = map[string]decimal.Decimal{"search_units": decimal.NewFromInt(n)}
	case schemas.OpTranscribe:
		u.Units = map[string]decimal.Decimal{"requests": decimal.NewFromInt(1)}
	}
	return u
}

// units reads the meta object: usage and warnings.
func units(raw []byte, out *schemas.Response) schemas.Usage {
	u, counted := usage(raw)
	if !counted {
		u = schemas.Usage{}
	}
	c := jsontext.NewCursor(raw)
	if !c.Object() {
		return u
	}
	for c.Key() {
		if string(c.Name()) != "warnings" {
			c.Skip()
			continue
		}
		each(&c, func(c *jsontext.Cursor) { out.Warnings = append(out.Warnings, c.Text()) })
	}
	return u
}

// endpoints are the API's words for our operations.
var endpoints = map[string]schemas.Operation{
	"chat": schemas.OpChat, "generate": schemas.OpComplete, "embed": schemas.OpEmbed, "rerank": schemas.OpRerank,
	"transcriptions": schemas.OpTranscribe,
}

func model(c *jsontext.Cursor) schemas.ModelInfo {
	var m schemas.ModelInfo
	if !c.Object() {
		return m
	}
	for c.Key() {
		switch string(c.Name()) {
		case "name":
			m.ID = c.Text()
		case "context_length":
			m.ContextTokens = c.Count()
		case "endpoints":
			each(c, func(c *jsontext.Cursor) {
				if op := endpoints[c.Text()]; op != "" {
					m.Operations = append(m.Operations, string(op))
				}
			})
		default:
			c.Skip()
		}
	}
	m.Owner = vendor
	if m.ID == "" {
		return schemas.ModelInfo{}
	}
	return m
}

package huggingface

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// model returns the address of a model's pipeline: the model's own, or the one
// that is named.
func (a *Adapter) model(id, pipeline string) (*url.URL, error) {
	for step := range strings.SplitSeq(id, "/") {
		if step == "" || step == "." || step == ".." || strings.ContainsAny(step, "?#%\\") {
			return nil, wire.Invalid("model", "is not like organization/name")
		}
	}
	path := "models/" + id
	if pipeline != "" {
		path += "/pipeline/" + pipeline
	}
	return a.inference.JoinPath(path), nil
}

// encodePipeline returns the request for one of the vendor's own pipelines.
func (a *Adapter) encodePipeline(ctx context.Context, call provider.Call) (*http.Request, error) {
	req := call.Request
	pipeline, b := "", []byte(`{`)
	var err error
	switch req.Operation() {
	case schemas.OpEmbed:
		pipeline = "feature-extraction"
		b, err = embedding(b, req.Embed, false)
	case schemas.OpRerank:
		pipeline = "sentence-similarity"
		b = similarity(b, req.Rerank)
	case schemas.OpImage:
		b, err = picture(b, req.Image)
	case schemas.OpImageEdit:
		b, err = edit(b, req.Image)
	case schemas.OpSpeech:
		b = jsontext.AppendString(jsontext.AppendField(b, "inputs"), req.Speech.Text)
	case schemas.OpTranscribe:
		return a.encodeRecording(ctx, call)
	default:
		return nil, wire.Unsupported("op", "is not offered by this provider")
	}
	if err != nil {
		return nil, err
	}
	u, err := a.model(call.Model, pipeline)
	if err != nil {
		return nil, err
	}
	return a.post(ctx, call, u, append(b, '}'))
}

// embedding appends what is to be embedded: one text as it is, several as a list.
// TEI takes lists only where it is told so.
func embedding(b []byte, e *schemas.EmbedSpec, tei bool) ([]byte, error) {
	texts := make([]string, len(e.Inputs))
	for i := range e.Inputs {
		if e.Inputs[i].Kind != schemas.PartText {
			return nil, wire.Unsupported("embed.inputs["+strconv.Itoa(i)+"]", "is no text")
		}
		texts[i] = e.Inputs[i].Text
	}
	if e.Encoding != "" && e.Encoding != "float" {
		return nil, wire.Unsupported("embed.encoding", "is float with this provider")
	}
	if len(texts) == 1 && !tei {
		b = jsontext.AppendString(jsontext.AppendField(b, "inputs"), texts[0])
	} else {
		b = jsontext.AppendStrings(jsontext.AppendField(b, "inputs"), texts)
	}
	switch e.Truncate {
	case "":
	case "none":
		b = append(jsontext.AppendField(b, "truncate"), "false"...)
	case "start", "end":
		side := map[string]string{"start": "left", "end": "right"}[e.Truncate]
		if tei {
			side = map[string]string{"start": "Left", "end": "Right"}[e.Truncate]
		}
		b = append(jsontext.AppendField(b, "truncate"), "true"...)
		b = jsontext.AppendStringField(b, "truncation_direction", side)
	default:
		return nil, wire.Invalid("embed.truncate", "is not one of: none, start, end")
	}
	return b, nil
}

// similarity appends a query and what is to be compared with it.
func similarity(b []byte, r *schemas.RerankSpec) []byte {
	b = append(jsontext.AppendField(b, "inputs"), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "source_sentence"), r.Query)
	return append(jsontext.AppendStrings(jsontext.AppendField(b, "sentences"), documents(r)), '}')
}

func documents(r *schemas.RerankSpec) []string {
	all := make([]string, len(r.Documents))
	for i := range r.Documents {
		all[i] = r.Documents[i].Text
	}
	return all
}

func picture(b []byte, s *schemas.ImageSpec) ([]byte, error) {
	if err := oneImage(s); err != nil {
		return nil, err
	}
	b = jsontext.AppendString(jsontext.AppendField(b, "inputs"), s.Prompt)
	p, err := looks([]byte(`{`), s)
	if err != nil {
		return nil, err
	}
	return jsontext.AppendRawField(b, "parameters", append(p, '}')), nil
}

func edit(b []byte, s *schemas.ImageSpec) ([]byte, error) {
	switch {
	case len(s.Inputs) != 1:
		return nil, wire.Unsupported("image.inputs", "is one picture with this provider")
	case len(s.Inputs[0].Data) == 0:
		return nil, wire.Unsupported("image.inputs[0]", "has no data: this provider fetches no pictures")
	case s.Mask != nil:
		return nil, wire.Unsupported("image.mask", "is not known to this provider")
	}
	if err := oneImage(s); err != nil {
		return nil, err
	}
	b = jsontext.AppendBase64(jsontext.AppendField(b, "inputs"), "", s.Inputs[0].Data)
	p := jsontext.AppendStringField([]byte(`{`), "prompt", s.Prompt)
	p = jsontext.AppendFloatField(p, "strength", s.Strength)
	p, err := looks(p, s)
	if err != nil {
		return nil, err
	}
	return jsontext.AppendRawField(b, "parameters", append(p, '}')), nil
}

func oneImage(s *schemas.ImageSpec) error {
	if s.N != nil && *s.N > 1 {
		return wire.Unsupported("image.n", "is 1 with this provider")
	}
	if s.ReturnAs == "url" {
		return wire.Unsupported("image.return_as", "is data with this provider")
	}
	return nil
}

// looks appends what all pictures have.
func looks(b []byte, s *schemas.ImageSpec) ([]byte, error) {
	width, height := s.Width, s.Height
	if s.Size != "" && width == nil && height == nil {
		w, h, ok := strings.Cut(s.Size, "x")
		x, errW := strconv.ParseInt(w, 10, 32)
		y, errH := strconv.ParseInt(h, 10, 32)
		if !ok || errW != nil || errH != nil {
			return nil, wire.Unsupported("image.size", "is not like 1024x1024")
		}
		width, height = &x, &y
	}
	b = jsontext.AppendIntField(b, "width", width)
	b = jsontext.AppendIntField(b, "height", height)
	b = jsontext.AppendStringField(b, "negative_prompt", s.Negative)
	b = jsontext.AppendFloatField(b, "guidance_scale", s.Guidance)
	b = jsontext.AppendIntField(b, "num_inference_steps", s.Steps)
	return jsontext.AppendIntField(b, "seed", s.Seed), nil
}

// encodeRecording returns the request for the words of a recording: its bytes, or
// JSON where there is more to say.
func (a *Adapter) encodeRecording(ctx context.Context, call provider.Call) (*http.Request, error) {
	t := call.Request.Transcribe
	u, err := a.model(call.Model, "")
	if err != nil {
		return nil, err
	}
	if len(t.Audio.Data) == 0 {
		return nil, wire.Unsupported("transcribe.audio", "has no data: this provider fetches no recordings")
	}
	var p []byte
	if t.Timestamps == "word" {
		p = append(jsontext.AppendField(append(p, '{'), "return_timestamps"), `"word"`...)
	} else if t.Timestamps != "" {
		p = append(jsontext.AppendField(append(p, '{'), "return_timestamps"), "true"...)
	}
	if t.Language != "" || t.Translate || t.Temperature != nil {
		if len(p) == 0 {
			p = append(p, '{')
		}
		p = append(jsontext.AppendField(p, "generation_parameters"), '{')
		p = jsontext.AppendStringField(p, "language", t.Language)
		p = jsontext.AppendFloatField(p, "temperature", t.Temperature)
		if t.Translate {
			p = jsontext.AppendStringField(p, "task", "translate")
		}
		p = append(p, '}')
	}
	if len(p) == 0 && len(call.Request.Ext[vendor]) == 0 {
		h := maps.Clone(a.header)
		if call.IdempotencyKey != "" {
			h[wire.IdempotencyKey] = []string{call.IdempotencyKey}
		}
		h.Set("Content-Type", "application/octet-stream")
		if t.Audio.MIME != "" && !strings.ContainsAny(t.Audio.MIME, "\r\n") {
			h.Set("Content-Type", t.Audio.MIME)
		}
		return wire.Post(ctx, u, h, t.Audio.Data), nil
	}
	b := jsontext.AppendBase64(jsontext.AppendField([]byte(`{`), "inputs"), "", t.Audio.Data)
	if len(p) > 0 {
		b = jsontext.AppendRawField(b, "parameters", append(p, '}'))
	}
	return a.post(ctx, call, u, append(b, '}'))
}

// encodeTEI returns the request for an endpoint that runs TEI.
func (a *Adapter) encodeTEI(ctx context.Context, call provider.Call) (*http.Request, error) {
	req := call.Request
	b := []byte(`{`)
	var path string
	switch req.Operation() {
	case schemas.OpEmbed:
		path = "embed"
		var err error
		if b, err = embedding(b, req.Embed, true); err != nil {
			return nil, err
		}
		b = jsontext.AppendIntField(b, "dimensions", req.Embed.Dimensions)
	case schemas.OpRerank:
		path = "rerank"
		b = jsontext.AppendString(jsontext.AppendField(b, "query"), req.Rerank.Query)
		b = jsontext.AppendStrings(jsontext.AppendField(b, "texts"), documents(req.Rerank))
	default:
		return nil, wire.Unsupported("op", "is not offered by this endpoint: TEI only embeds and ranks")
	}
	return a.post(ctx, call, a.base.JoinPath(path), append(b, '}'))
}

package huggingface

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// encodeGenerate returns the request for a text to go on, in TGI's own form,
// which the vendor's pipelines speak too.
func (a *Adapter) encodeGenerate(ctx context.Context, call provider.Call) (*http.Request, error) {
	req := call.Request
	prompt, err := promptOf(req)
	if err != nil {
		return nil, err
	}
	tgi := a.config.Server == serverTGI
	b := append(make([]byte, 0, len(prompt)+len(prompt)/16+256), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "inputs"), prompt)
	b = append(jsontext.AppendField(b, "parameters"), `{"return_full_text":false`...)
	if tgi { // models outside of TGI refuse what they don't know
		b = append(jsontext.AppendField(b, "details"), "true"...)
	}
	b = parameters(b, req)
	if o := req.Output; o != nil && o.Format != "" && o.Format != "text" {
		if !tgi {
			return nil, wire.Unsupported("output.format", "is text with this provider's pipelines")
		}
		b = append(jsontext.AppendField(b, "grammar"), `{"type":"json","value":`...)
		b = append(append(b, schemaOf(o)...), '}')
	}
	b = append(b, '}')
	var u *url.URL
	switch {
	case !tgi:
		if u, err = a.model(call.Model, ""); err != nil {
			return nil, err
		}
		if req.Stream {
			b = append(jsontext.AppendField(b, "stream"), "true"...)
		}
	case req.Stream:
		u = a.base.JoinPath("generate_stream")
	default:
		u = a.base.JoinPath("generate")
	}
	return a.post(ctx, call, u, append(b, '}'))
}

func promptOf(req *schemas.Request) (string, error) {
	var text strings.Builder
	for i := range req.Messages {
		for j := range req.Messages[i].Parts {
			if p := &req.Messages[i].Parts[j]; p.Kind != schemas.PartText {
				return "", wire.Unsupported("messages", "have a part that is no text: only texts can be completed")
			}
		}
		text.WriteString(req.Messages[i].Text())
	}
	if len(req.Tools) > 0 {
		return "", wire.Unsupported("tools", "are not known to op complete: use chat")
	}
	if s := req.Sampling; s != nil && s.N != nil && *s.N > 1 {
		return "", wire.Unsupported("sampling.n", "is 1 for op complete with this provider")
	}
	return text.String(), nil
}

func parameters(b []byte, req *schemas.Request) []byte {
	b = jsontext.AppendIntField(b, "max_new_tokens", req.MaxTokens)
	s := req.Sampling
	if s == nil {
		return b
	}
	if s.Temperature != nil && *s.Temperature == 0 { // TGI takes no 0
		b = append(jsontext.AppendField(b, "do_sample"), "false"...)
	} else {
		b = jsontext.AppendFloatField(b, "temperature", s.Temperature)
	}
	b = jsontext.AppendFloatField(b, "top_p", s.TopP)
	b = jsontext.AppendIntField(b, "top_k", s.TopK)
	b = jsontext.AppendFloatField(b, "repetition_penalty", s.RepetitionPenalty)
	b = jsontext.AppendFloatField(b, "frequency_penalty", s.FrequencyPenalty)
	b = jsontext.AppendIntField(b, "seed", s.Seed)
	if len(s.Stop) > 0 {
		b = jsontext.AppendStrings(jsontext.AppendField(b, "stop"), s.Stop)
	}
	return b
}

// anyObject is the schema of op chat's format json.
const anyObject = `{"type":"object"}`

func schemaOf(o *schemas.OutputSpec) []byte {
	if o.Format == "json_schema" && len(o.Schema) > 0 {
		return o.Schema
	}
	return []byte(anyObject)
}

// TGI wants a schema under value, where OpenAI has it deeper. ungrammared hides
// the format from OpenAI's form, and grammarField adds it in TGI's.
func ungrammared(call provider.Call) provider.Call {
	o := call.Request.Output
	if o == nil || o.Format != "json" && o.Format != "json_schema" {
		return call
	}
	req, spec := *call.Request, *o
	spec.Schema, spec.Format = schemaOf(o), ""
	req.Output = &spec
	call.Request = &req
	return call
}

func grammarField(b []byte, call provider.Call) ([]byte, error) {
	o := call.Request.Output
	if o == nil || o.Format != "" || len(o.Schema) == 0 {
		return b, nil
	}
	b = append(jsontext.AppendField(b, "response_format"), `{"type":"json","value":`...)
	return append(append(b, o.Schema...), '}'), nil
}

// unsaid lists what of req has no words outside of OpenAI's form, and what was
// therefore not sent.
func unsaid(req *schemas.Request, server string) []string {
	var w []string
	say := func(given bool, param string) {
		if given {
			w = append(w, param+" was not sent: the provider has no such setting")
		}
	}
	switch req.Operation() {
	case schemas.OpComplete:
		if s := req.Sampling; s != nil {
			say(s.PresencePenalty != nil, "sampling.presence_penalty")
			say(s.MinP != nil, "sampling.min_p")
			say(len(s.LogitBias) > 0, "sampling.logit_bias")
			say(s.LogProbs != nil && *s.LogProbs > 0, "sampling.logprobs above 0")
		}
	case schemas.OpEmbed:
		say(req.Embed.Dimensions != nil && server == serverRouter, "embed.dimensions")
		say(req.Embed.Task != "", "embed.task")
	case schemas.OpRerank:
		say(req.Rerank.MaxTokens != nil, "rerank.max_tokens_per_document")
	case schemas.OpImage, schemas.OpImageEdit:
		i := req.Image
		say(i.AspectRatio != "", "image.aspect_ratio")
		say(i.Quality != "", "image.quality")
		say(i.Style != "", "image.style")
		say(i.Format != "", "image.format")
		say(i.Background != "", "image.background")
	case schemas.OpSpeech:
		say(req.Speech.Voice != "", "speech.voice")
		say(req.Speech.Format != "", "speech.format")
		say(req.Speech.Speed != nil, "speech.speed")
		say(req.Speech.Instructions != "", "speech.instructions")
		say(req.Speech.Language != "", "speech.language")
	case schemas.OpTranscribe:
		say(req.Transcribe.Prompt != "", "transcribe.prompt")
	}
	return w
}

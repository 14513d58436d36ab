package replicate

import (
	"strings"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// knob is a setting that a request has and a model may lack.
type knob struct {
	field, param string // our name in a template, and in the request
	value        []byte // JSON
}

type knobList []knob

func (l *knobList) text(field, param, s string) {
	if s != "" {
		*l = append(*l, knob{field, param, jsontext.AppendString(nil, s)})
	}
}

func (l *knobList) whole(field, param string, v *int64) {
	if v != nil {
		*l = append(*l, knob{field, param, jsontext.AppendIntField(nil, "", v)[len(`"":`):]})
	}
}

func (l *knobList) number(field, param string, v *float64) {
	if raw := jsontext.AppendFloatField(nil, "", v); len(raw) > 0 {
		*l = append(*l, knob{field, param, raw[len(`"":`):]})
	}
}

// knobs returns the settings that req has.
func knobs(req *schemas.Request) []knob {
	var l knobList
	switch req.Operation() {
	case schemas.OpChat, schemas.OpComplete:
		l.chat(req)
	case schemas.OpImage, schemas.OpImageEdit:
		l.image(req.Image)
	case schemas.OpVideo:
		v := req.Video
		l.text(fieldNegative, "video.negative_prompt", v.Negative)
		l.number(fieldSeconds, "video.seconds", v.Seconds)
		l.text(fieldSize, "video.size", v.Size)
		l.text(fieldAspect, "video.aspect_ratio", v.AspectRatio)
		l.whole(fieldSeed, "video.seed", v.Seed)
	case schemas.OpSpeech:
		s := req.Speech
		l.text(fieldVoice, "speech.voice", s.Voice)
		l.text(fieldFormat, "speech.format", s.Format)
		l.number(fieldSpeed, "speech.speed", s.Speed)
		l.text(fieldInstruct, "speech.instructions", s.Instructions)
		l.text(fieldLanguage, "speech.language", s.Language)
	case schemas.OpTranscribe:
		t := req.Transcribe
		l.text(fieldLanguage, "transcribe.language", t.Language)
		l.text(fieldPrompt, "transcribe.prompt", t.Prompt)
		l.text(fieldTimestamps, "transcribe.timestamps", t.Timestamps)
		l.number(fieldTemp, "transcribe.temperature", t.Temperature)
		if t.Translate {
			l = append(l, knob{fieldTranslate, "transcribe.translate", []byte("true")})
		}
	}
	return l
}

func (l *knobList) chat(req *schemas.Request) {
	l.whole(fieldMaxTokens, "max_output_tokens", req.MaxTokens)
	if s := req.Sampling; s != nil {
		l.number(fieldTemp, "sampling.temperature", s.Temperature)
		l.number(fieldTopP, "sampling.top_p", s.TopP)
		l.whole(fieldTopK, "sampling.top_k", s.TopK)
		l.number(fieldMinP, "sampling.min_p", s.MinP)
		l.number(fieldFrequency, "sampling.frequency_penalty", s.FrequencyPenalty)
		l.number(fieldPresence, "sampling.presence_penalty", s.PresencePenalty)
		l.number(fieldRepetition, "sampling.repetition_penalty", s.RepetitionPenalty)
		l.whole(fieldSeed, "sampling.seed", s.Seed)
		if len(s.Stop) > 0 {
			l.stop(s.Stop)
		}
	}
	if req.Thinking != nil {
		l.text(fieldEffort, "thinking.effort", req.Thinking.Effort)
	}
}

// stop takes stop sequences: by convention one string with commas between them.
func (l *knobList) stop(list []string) {
	l.text(fieldStop, "sampling.stop", strings.Join(list, ","))
}

func (l *knobList) image(s *schemas.ImageSpec) {
	l.text(fieldNegative, "image.negative_prompt", s.Negative)
	l.whole(fieldN, "image.n", s.N)
	l.whole(fieldWidth, "image.width", s.Width)
	l.whole(fieldHeight, "image.height", s.Height)
	l.text(fieldSize, "image.size", s.Size)
	l.text(fieldAspect, "image.aspect_ratio", s.AspectRatio)
	l.text(fieldQuality, "image.quality", s.Quality)
	l.text(fieldStyle, "image.style", s.Style)
	l.text(fieldFormat, "image.format", s.Format)
	l.text(fieldBackground, "image.background", s.Background)
	l.whole(fieldSteps, "image.steps", s.Steps)
	l.number(fieldGuidance, "image.guidance", s.Guidance)
	l.number(fieldStrength, "image.strength", s.Strength)
	l.whole(fieldSeed, "image.seed", s.Seed)
}

// unsaid lists what of req the model has no input for, and what was therefore
// not sent.
func unsaid(req *schemas.Request, t *Template) []string {
	var w []string
	for _, k := range knobs(req) {
		if t.name(k.field) == "" {
			w = append(w, k.param+" was not sent: this model's template names no input for it")
		}
	}
	if s := req.Sampling; s != nil {
		if s.LogProbs != nil {
			w = append(w, "sampling.logprobs was not sent: the provider has no such setting")
		}
		if len(s.LogitBias) > 0 {
			w = append(w, "sampling.logit_bias was not sent: the provider has no such setting")
		}
	}
	if e := req.Embed; e != nil && e.Dimensions != nil {
		w = append(w, "embed.dimensions was not sent: the provider has no such setting")
	}
	if t := req.Thinking; t != nil && (t.BudgetTokens != nil || t.Enabled != nil) {
		w = append(w, "thinking was sent as far as the model has an effort: the provider has no other setting")
	}
	return w
}

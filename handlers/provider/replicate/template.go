package replicate

import (
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// Template says how a model's input is filled.
type Template struct {
	// Fields maps our name of a value to the model's name for it; empty says that
	// the model has no such input. What is not named keeps its usual name.
	Fields map[string]string `json:"fields"`
	// Fixed are further inputs of every call, such as the choice of a voice.
	Fixed map[string]json.RawMessage `json:"fixed"`
}

// Our names for a model's inputs.
const (
	fieldPrompt    = "prompt"
	fieldSystem    = "system"
	fieldMessages  = "messages" // the whole conversation, for models that take one
	fieldImage     = "image"    // one picture
	fieldImages    = "images"   // a list of pictures
	fieldAudio     = "audio"
	fieldVideo     = "video"
	fieldFile      = "file"
	fieldMask      = "mask"
	fieldText      = "text"  // what is spoken or embedded
	fieldTexts     = "texts" // a list of texts to embed
	fieldTextsJSON = "texts_json"

	fieldMaxTokens  = "max_tokens"
	fieldTemp       = "temperature"
	fieldTopP       = "top_p"
	fieldTopK       = "top_k"
	fieldMinP       = "min_p"
	fieldFrequency  = "frequency_penalty"
	fieldPresence   = "presence_penalty"
	fieldRepetition = "repetition_penalty"
	fieldSeed       = "seed"
	fieldStop       = "stop"
	fieldEffort     = "reasoning_effort"
	fieldNegative   = "negative_prompt"
	fieldN          = "n"
	fieldWidth      = "width"
	fieldHeight     = "height"
	fieldSize       = "size"
	fieldAspect     = "aspect_ratio"
	fieldQuality    = "quality"
	fieldStyle      = "style"
	fieldFormat     = "format"
	fieldBackground = "background"
	fieldSteps      = "steps"
	fieldGuidance   = "guidance"
	fieldStrength   = "strength"
	fieldVoice      = "voice"
	fieldSpeed      = "speed"
	fieldInstruct   = "instructions"
	fieldLanguage   = "language"
	fieldTranslate  = "translate"
	fieldTimestamps = "timestamps"
	fieldSeconds    = "seconds"
)

// usual are the names by convention, which is all that the vendor's models have
// in common: no name, no convention.
var usual = map[string]string{
	fieldPrompt: "prompt", fieldSystem: "system_prompt", fieldMessages: "", fieldImage: "image", fieldImages: "",
	fieldAudio: "audio", fieldVideo: "video", fieldFile: "", fieldMask: "mask",
	fieldText: "text", fieldTexts: "", fieldTextsJSON: "",
	fieldMaxTokens: "max_tokens", fieldTemp: "temperature", fieldTopP: "top_p", fieldTopK: "top_k", fieldMinP: "",
	fieldFrequency: "frequency_penalty", fieldPresence: "presence_penalty", fieldRepetition: "",
	fieldSeed: "seed", fieldStop: "stop_sequences", fieldEffort: "",
	fieldNegative: "negative_prompt", fieldN: "num_outputs", fieldWidth: "width", fieldHeight: "height", fieldSize: "",
	fieldAspect: "aspect_ratio", fieldQuality: "", fieldStyle: "", fieldFormat: "output_format", fieldBackground: "",
	fieldSteps: "num_inference_steps", fieldGuidance: "guidance_scale", fieldStrength: "prompt_strength",
	fieldVoice: "voice", fieldSpeed: "speed", fieldInstruct: "", fieldLanguage: "language",
	fieldTranslate: "", fieldTimestamps: "", fieldSeconds: "duration",
}

// name returns the model's name of a field, "" where it has none.
func (t *Template) name(field string) string {
	if n, set := t.Fields[field]; set {
		return n
	}
	return usual[field]
}

func (t *Template) validate() error {
	for field, name := range t.Fields {
		if _, known := usual[field]; !known {
			return fmt.Errorf("fields: there is no %q: write one of %s", field,
				strings.Join(slices.Sorted(maps.Keys(usual)), ", "))
		}
		if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r > '~' }) {
			return fmt.Errorf("fields: %s: %q is no name of an input", field, name)
		}
	}
	return nil
}

// templates are found by model.
type templates struct {
	exact    map[string]*Template
	patterns []string // longest first
	none     Template
}

func newTemplates(models map[string]Template) templates {
	t := templates{exact: make(map[string]*Template, len(models))}
	for name, tpl := range models {
		t.exact[name] = &tpl
		if strings.ContainsAny(name, "*?[") {
			t.patterns = append(t.patterns, name)
		}
	}
	slices.SortFunc(t.patterns, func(a, b string) int {
		if d := len(b) - len(a); d != 0 {
			return d
		}
		return strings.Compare(a, b)
	})
	return t
}

// of returns the template of a model, with or without its version.
func (t *templates) of(model string) *Template {
	bare, _, _ := strings.Cut(model, ":")
	for _, name := range []string{model, bare} {
		if tpl, ok := t.exact[name]; ok {
			return tpl
		}
	}
	for _, p := range t.patterns {
		if ok, err := path.Match(p, bare); ok && err == nil {
			return t.exact[p]
		}
	}
	return &t.none
}

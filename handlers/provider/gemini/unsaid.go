package gemini

import (
	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

// knob is a field of a request that this API may have no words for.
type knob struct {
	name string
	set  bool
}

// unsaid lists what of the request this API has no words for, and what was
// therefore not sent.
func (a *adapter) unsaid(call provider.Call) []string {
	var w []string
	for _, k := range a.knobs(call) {
		if k.set {
			w = append(w, k.name+" was not sent: the provider has no such setting")
		}
	}
	req := call.Request
	for i := range req.Messages {
		for j := range req.Messages[i].Parts {
			if p := &req.Messages[i].Parts[j]; p.Kind == schemas.PartReasoning && !bare(p) && skipped(p, "") {
				w = append(w, field(i, j)+" was not sent: it is reasoning without this provider's signature")
			}
		}
	}
	return w
}

func (a *adapter) knobs(call provider.Call) []knob {
	req := call.Request
	var all []knob
	if s := req.Sampling; s != nil {
		all = append(all,
			knob{"sampling.min_p", s.MinP != nil},
			knob{"sampling.repetition_penalty", s.RepetitionPenalty != nil},
			knob{"sampling.logit_bias", len(s.LogitBias) > 0})
	}
	if c := req.Cache; c != nil {
		all = append(all, knob{"cache.key", c.Key != "" && !cached(c.Key)}, knob{"cache.ttl", c.TTL != ""})
	}
	if c := req.ToolChoice; c != nil {
		all = append(all, knob{"tool_choice.disable_parallel", c.DisableParallel})
	}
	all = append(all, knob{"end_user", req.EndUser != "" && (!a.vertex || !label(req.EndUser))})
	named, detailed := false, false
	for i := range req.Messages {
		named = named || req.Messages[i].Name != ""
		for j := range req.Messages[i].Parts {
			m := req.Messages[i].Parts[j].Media
			detailed = detailed || m != nil && m.Detail != "" && m.Detail != "auto"
		}
	}
	all = append(all, knob{"messages.name", named}, knob{"media.detail", detailed})
	switch req.Operation() {
	case schemas.OpImage, schemas.OpImageEdit:
		if s := req.Image; s != nil {
			all = append(all,
				knob{"image.quality", s.Quality != ""}, knob{"image.style", s.Style != ""},
				knob{"image.background", s.Background != ""}, knob{"image.steps", s.Steps != nil},
				knob{"image.strength", s.Strength != nil},
				knob{"image.guidance", s.Guidance != nil && !imagen(call.Model)},
				knob{"image.format", s.Format != "" && !imagen(call.Model)})
		}
	case schemas.OpSpeech:
		all = append(all, knob{"speech.speed", req.Speech != nil && req.Speech.Speed != nil})
	case schemas.OpEmbed:
		all = append(all, knob{"embed.truncate", req.Embed != nil && req.Embed.Truncate != "" && !a.vertex})
	}
	return all
}

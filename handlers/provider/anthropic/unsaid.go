package anthropic

import (
	"slices"

	"github.com/sira-ai/sira/schemas"
)

// knob is a field of a request that this API has no words for.
type knob struct {
	name string
	set  bool
}

// unsaid lists what of req this API has no words for, and what was therefore not
// sent.
func unsaid(req *schemas.Request) []string {
	var w []string
	for _, k := range knobs(req) {
		if k.set {
			w = append(w, k.name+" was not sent: the provider has no such setting")
		}
	}
	if req.Output != nil && req.Output.Format == "json" {
		w = append(w, "output.format json was not sent: the provider has only json_schema")
	}
	if c := req.Cache; c != nil && c.TTL != "" {
		if word, exact := lifetime(c.TTL); !exact {
			w = append(w, "cache.ttl was sent as "+word+": the provider has 5m and 1h")
		}
	}
	for i := range req.Messages {
		for j := range req.Messages[i].Parts {
			w = append(w, unsaidOf(&req.Messages[i].Parts[j], field(i, j))...)
		}
	}
	return w
}

func knobs(req *schemas.Request) []knob {
	var all []knob
	if s := req.Sampling; s != nil {
		all = append(all,
			knob{"sampling.frequency_penalty", s.FrequencyPenalty != nil},
			knob{"sampling.presence_penalty", s.PresencePenalty != nil},
			knob{"sampling.repetition_penalty", s.RepetitionPenalty != nil},
			knob{"sampling.min_p", s.MinP != nil},
			knob{"sampling.seed", s.Seed != nil},
			knob{"sampling.logprobs", s.LogProbs != nil},
			knob{"sampling.logit_bias", len(s.LogitBias) > 0})
	}
	named := slices.ContainsFunc(req.Messages, func(m schemas.Message) bool { return m.Name != "" })
	all = append(all, knob{"messages.name", named}, knob{"cache.key", req.Cache != nil && req.Cache.Key != ""})
	if req.Operation() == schemas.OpComplete {
		all = append(all, knob{"tools", len(req.Tools) > 0}, knob{"output", req.Output != nil}, knob{"documents", len(req.Documents) > 0})
	}
	return all
}

func unsaidOf(p *schemas.Part, name string) []string {
	switch {
	case p.Kind == schemas.PartReasoning && skipped(p):
		return []string{name + " was not sent: it is another provider's reasoning"}
	case p.Kind == schemas.PartToolCall && skipped(p):
		return []string{name + " was not sent: it is a call of another provider's own tool"}
	case p.CacheBreak == "":
		return nil
	case p.Kind == schemas.PartReasoning:
		return []string{name + ".cache_break was not sent: the provider caches no thinking by itself"}
	}
	if word, exact := lifetime(p.CacheBreak); !exact {
		return []string{name + ".cache_break was sent as " + word + ": the provider has 5m and 1h"}
	}
	return nil
}

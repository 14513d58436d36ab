package ai21

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// plain returns the call with a copy of its request that has nothing but what the
// API knows, and warnings about what was taken out.
func (a *adapter) plain(call provider.Call) (provider.Call, []string, error) {
	req := *call.Request
	if err := a.beyond(&req); err != nil {
		return call, nil, err
	}
	var w []string
	lacks := func(field string, set bool) {
		if set {
			w = append(w, field+" was not sent: the provider has no such setting")
		}
	}
	if limit := a.config.MaxTokens; limit > 0 && req.MaxTokens != nil && *req.MaxTokens > limit {
		req.MaxTokens = &limit
		w = append(w, fmt.Sprintf("max_output_tokens was sent as %d: the provider takes no more", limit))
	}
	if s := req.Sampling; s != nil {
		lacks("sampling.top_k", s.TopK != nil)
		lacks("sampling.min_p", s.MinP != nil)
		lacks("sampling.seed", s.Seed != nil)
		lacks("sampling.frequency_penalty", s.FrequencyPenalty != nil)
		lacks("sampling.presence_penalty", s.PresencePenalty != nil)
		lacks("sampling.repetition_penalty", s.RepetitionPenalty != nil)
		lacks("sampling.logprobs", s.LogProbs != nil)
		lacks("sampling.logit_bias", len(s.LogitBias) > 0)
		req.Sampling = &schemas.Sampling{Temperature: s.Temperature, TopP: s.TopP, N: s.N, Stop: s.Stop}
	}
	if c := req.ToolChoice; c != nil {
		lacks("tool_choice.disable_parallel", c.DisableParallel)
		if c.Mode == "none" {
			req.Tools = nil
		}
		req.ToolChoice = nil
	}
	lacks("thinking", req.Thinking != nil)
	lacks("service_tier", req.ServiceTier != "")
	lacks("cache", req.Cache != nil)
	lacks("end_user", req.EndUser != "")
	req.Thinking, req.ServiceTier, req.Cache, req.EndUser = nil, "", nil, ""
	if err := grounded(&req); err != nil {
		return call, nil, err
	}
	call.Request = &req
	return call, w, nil
}

// grounded moves the documents of req into what is laid over the body.
func grounded(req *schemas.Request) error {
	if len(req.Documents) == 0 {
		return nil
	}
	ext, err := wire.Overlay(documents(req.Documents), "ext."+vendor, extOf(req), "documents")
	if err != nil {
		return err
	}
	if req.Ext = maps.Clone(req.Ext); req.Ext == nil {
		req.Ext = make(map[string]json.RawMessage, 1)
	}
	req.Ext[vendor], req.Documents = ext, nil
	return nil
}

func extOf(req *schemas.Request) json.RawMessage {
	if ext := req.Ext[vendor]; len(ext) > 0 {
		return ext
	}
	return json.RawMessage("{}")
}

// documents returns what the answer is to be grounded in, as an object of the
// body's fields.
func documents(docs []schemas.Document) []byte {
	b := []byte(`{"documents":[`)
	for i := range docs {
		d := &docs[i]
		b = append(jsontext.AppendItem(b), '{')
		b = jsontext.AppendStringField(b, "id", d.ID)
		b = jsontext.AppendString(jsontext.AppendField(b, "content"), d.Text)
		metadata := maps.Clone(d.Data)
		if d.Title != "" {
			if metadata == nil {
				metadata = make(map[string]string, 1)
			}
			metadata["title"] = d.Title
		}
		if raw, err := json.Marshal(metadata); err == nil && len(metadata) > 0 {
			b = jsontext.AppendRawField(b, "metadata", raw)
		}
		b = append(b, '}')
	}
	return append(b, "]}"...)
}

// beyond says what of a chat the API cannot express.
func (a *adapter) beyond(req *schemas.Request) error {
	for i := range req.Messages {
		for j := range req.Messages[i].Parts {
			switch req.Messages[i].Parts[j].Kind {
			case schemas.PartImage, schemas.PartAudio, schemas.PartVideo, schemas.PartFile:
				return wire.Unsupported(fmt.Sprintf("messages[%d].parts[%d]", i, j), "is not text, which is all that this provider takes")
			}
		}
	}
	if c := req.ToolChoice; c != nil && (c.Mode == "required" || c.Mode == "named") {
		return wire.Unsupported("tool_choice.mode", "is "+c.Mode+": this provider leaves the choice to the model")
	}
	if o := req.Output; o != nil {
		if o.Format == "json_schema" && !a.config.JSONSchema {
			return wire.Unsupported("output.format", "is json_schema: this provider knows json, without a schema")
		}
		for _, m := range o.Modalities {
			if m != "text" {
				return wire.Unsupported("output.modalities", "has "+m+": this provider answers in text")
			}
		}
	}
	return nil
}

package openai

import (
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// prompt returns the JSON of a request to go on with a text. Its answer differs
// from that of a chat by a name.
func (a *Adapter) prompt(call provider.Call) ([]byte, error) {
	req := call.Request
	var text strings.Builder
	for i := range req.Messages {
		for j := range req.Messages[i].Parts {
			p := &req.Messages[i].Parts[j]
			if p.Kind != schemas.PartText {
				return nil, wire.Unsupported(field(i, j), "is no text: only texts can be completed")
			}
			text.WriteString(p.Text)
		}
	}
	switch {
	case len(req.Tools) > 0:
		return nil, wire.Unsupported("tools", "are not known to op complete: use chat")
	case req.Output != nil && req.Output.Format != "" && req.Output.Format != "text":
		return nil, wire.Unsupported("output.format", "is not known to op complete: use chat")
	}
	b := append(make([]byte, 0, 256+text.Len()), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	b = jsontext.AppendString(jsontext.AppendField(b, "prompt"), text.String())
	b = a.sampling(b, req)
	if s := req.Sampling; s != nil {
		b = jsontext.AppendIntField(b, "logprobs", s.LogProbs)
	}
	b = jsontext.AppendIntField(b, "max_tokens", req.MaxTokens)
	if a.config.EndUserField != "" {
		b = jsontext.AppendStringField(b, "user", req.EndUser)
	}
	if req.Stream {
		b = append(jsontext.AppendField(b, "stream"), "true"...)
		if !a.config.NoStreamUsage {
			b = append(jsontext.AppendField(b, "stream_options"), `{"include_usage":true}`...)
		}
	}
	return a.closed(b, call, "model", "prompt", "stream", "stream_options")
}

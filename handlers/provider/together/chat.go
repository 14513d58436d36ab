package together

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// plain returns the call with a copy of its request in which OpenAI's dialect has
// words for everything that is to be sent, and warnings about what was taken out.
func plain(call provider.Call) (provider.Call, []string, error) {
	req := *call.Request
	if err := beyond(&req); err != nil {
		return call, nil, err
	}
	var w []string
	lacks := func(field string, set bool) {
		if set {
			w = append(w, field+" was not sent: the provider has no such setting")
		}
	}
	lacks("service_tier", req.ServiceTier != "")
	req.ServiceTier = ""
	if c := req.ToolChoice; c != nil {
		own := *c
		lacks("tool_choice.disable_parallel", own.DisableParallel)
		own.DisableParallel = false
		if own.Mode == "named" && len(own.Names) != 1 { // one can be named; of several one is required
			req.Tools = slices.DeleteFunc(slices.Clone(req.Tools), func(t schemas.Tool) bool { return !slices.Contains(own.Names, t.Name) })
			own = schemas.ToolChoice{Mode: "required"}
			if len(req.Tools) == 0 {
				return call, nil, wire.Invalid("tool_choice.names", "names none of the tools")
			}
		}
		req.ToolChoice = &own
	}
	if s := req.Sampling; s != nil && s.LogProbs != nil { // a number here, in place of two fields
		own := *s
		own.LogProbs = nil
		req.Sampling = &own
		more := []byte(`{"logprobs":` + strconv.FormatInt(max(*s.LogProbs, 1), 10) + `}`)
		ext := req.Ext[vendor]
		if len(ext) == 0 {
			ext = []byte("{}")
		}
		ext, err := wire.Overlay(more, "ext."+vendor, ext)
		if err != nil {
			return call, nil, err
		}
		if req.Ext = maps.Clone(req.Ext); req.Ext == nil {
			req.Ext = make(map[string]json.RawMessage, 1)
		}
		req.Ext[vendor] = ext
	}
	call.Request = &req
	return call, w, nil
}

// beyond says what of a chat the API cannot express.
func beyond(req *schemas.Request) error {
	for i := range req.Messages {
		for j := range req.Messages[i].Parts {
			if req.Messages[i].Parts[j].Kind == schemas.PartFile {
				return wire.Unsupported(fmt.Sprintf("messages[%d].parts[%d]", i, j),
					"is a file: this provider takes text, pictures, sound and films")
			}
		}
	}
	if o := req.Output; o != nil {
		for _, m := range o.Modalities {
			if m != "text" {
				return wire.Unsupported("output.modalities", "has "+m+": this provider answers chats in text")
			}
		}
	}
	return nil
}

// fields appends what a chat has here beyond OpenAI's.
func fields(b []byte, call provider.Call) ([]byte, error) {
	if t := call.Request.Thinking; t != nil && t.Enabled != nil && call.Request.Operation() == schemas.OpChat {
		b = append(jsontext.AppendField(b, "reasoning"), '{')
		b = append(jsontext.AppendBoolField(b, "enabled", t.Enabled), '}')
	}
	return b, nil
}

// chat reads an answer in which some models think aloud.
func (a *adapter) chat(res *http.Response, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	sent, warnings, err := plain(call)
	if err != nil {
		return nil, err
	}
	thoughts := wire.NewThoughts((&lateFinish{emit: emit}).Emit)
	if emit != nil {
		emit = thoughts.Emit
	}
	out, err := a.Adapter.Decode(res, sent, emit)
	if err != nil {
		return nil, err
	}
	thoughts.Split(out)
	out.Warnings = append(out.Warnings, warnings...)
	if t := call.Request.Thinking; t != nil && t.Enabled != nil { // it was sent, see fields
		out.Warnings = slices.DeleteFunc(out.Warnings, func(w string) bool { return strings.HasPrefix(w, "thinking.enabled ") })
	}
	return out, nil
}

package openai

import (
	"encoding/json"
	"slices"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
)

// ownFields adds to a form what the requester gives for this vendor only: texts
// as they are, lists as a field for each item, anything else as JSON. Fields in
// fixed are not the requester's to set.
func (a *Adapter) ownFields(form *wire.FormWriter, call provider.Call, fixed ...string) error {
	ext := call.Request.Ext[a.variant.Name]
	if len(ext) == 0 {
		return nil
	}
	param := "ext." + a.variant.Name
	var fields map[string]json.RawMessage
	if json.Unmarshal(ext, &fields) != nil {
		return wire.Invalid(param, "is not a JSON object")
	}
	for _, name := range sortedKeys(fields) {
		if slices.Contains(fixed, name) {
			return wire.Invalid(param+"."+name, "is for the gateway to set: leave it out")
		}
		var list []json.RawMessage
		if json.Unmarshal(fields[name], &list) != nil {
			form.Field(name, plainValue(fields[name]))
			continue
		}
		for _, item := range list {
			form.Field(name+"[]", plainValue(item))
		}
	}
	return nil
}

func plainValue(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

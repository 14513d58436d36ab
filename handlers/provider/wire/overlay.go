package wire

import (
	"encoding/json"
	"fmt"
	"maps"
)

// Overlay returns body with the fields of ext laid over it. Fields in fixed are
// the gateway's and may not be named by ext. It is for fields that a requester
// gives for one vendor only, and is not fast.
func Overlay(body []byte, param string, ext json.RawMessage, fixed ...string) ([]byte, error) {
	var more, all map[string]json.RawMessage
	if err := json.Unmarshal(ext, &more); err != nil {
		return nil, Invalid(param, "is not a JSON object")
	}
	for _, key := range fixed {
		if _, there := more[key]; there {
			return nil, Invalid(param+"."+key, "is for the gateway to set: leave it out")
		}
	}
	if err := json.Unmarshal(body, &all); err != nil {
		return nil, fmt.Errorf("laying %s over the body: %w", param, err)
	}
	maps.Copy(all, more)
	return json.Marshal(all)
}
